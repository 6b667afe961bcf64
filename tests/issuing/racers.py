"""Processes that use one site at the same time: a script, and how a test runs several of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":  # a script has its own directory on the path, not that of the tests
    sys.path.insert(0, str(Path(__file__).parent.parent))

from backends.racers import Race, say

from issuing.site import ALICE, Site, proof
from rpcguard import AuthError


@contextmanager
def racing(text: str, backend: str, racers: int, part: str, *arguments: str) -> Iterator[Race]:
    """Start *racers* processes of the site *text* that do *part*, and let them go at once."""
    command = [sys.executable, __file__, text, backend, part]
    with ExitStack() as stack:
        started = []
        for number in range(racers):
            racer = subprocess.Popen(
                [*command, str(number), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(racer)
            stack.callback(racer.kill)
            started.append(racer)
        race = Race(started)
        race.each_says("ready")
        race.tell("go")
        yield race


def attempt(site: Site, route: str, *args: Any) -> dict[str, Any]:
    """Return the answer of *route*, or its refusal's reason."""
    try:
        return site.serve(route, *args)
    except AuthError as error:
        return {"reason": error.reason}


def verify(site: Site, _: int, challenge: str) -> Any:
    return attempt(site, "/auth/verify", proof(challenge))


def refresh(site: Site, _: int, text: str) -> Any:
    return attempt(site, "/auth/refresh", {"refreshToken": text})


def rotate(site: Site, number: int, rounds: str) -> Any:
    """Ask for keys again and again; return those that were given, and what an old one was worth."""
    given: list[str] = []
    wrong: list[str] = []
    for turn in range(int(rounds)):
        signed = site.asks_for_key(ALICE, number << 32 | turn)
        answer = attempt(site, "/account/api-key", b"", signed)
        if "apiKey" not in answer:
            continue
        for old in given:
            reason = site.denies(old)
            if reason != "invalid_credentials":
                wrong.append(reason)
        given.append(answer["apiKey"])
    return {"given": given, "wrong": wrong}


def leave_or_refresh(site: Site, number: int, token: str, text: str) -> Any:
    """The first logs out, the others refresh."""
    if number:
        return refresh(site, number, text)
    return attempt(site, "/auth/logout", b"", [("Authorization", f"Bearer {token}")])


def judge(site: Site, _: int) -> int:
    """Say what the old key of each line is worth and what the new one; return how many came."""
    for count, line in enumerate(sys.stdin):
        if line == "end\n":
            return count
        old, new = line.split()
        say(f"{site.denies(old)} {'admitted' if site.admits(new) else ''}")
    raise EOFError


PARTS = {
    "verify": verify,
    "refresh": refresh,
    "rotate": rotate,
    "leave_or_refresh": leave_or_refresh,
    "judge": judge,
}


def main(text: str, backend: str, part: str, number: str, *arguments: str) -> None:
    with TemporaryDirectory() as directory:
        site = Site(Path(directory), text, backend)
        with closing(site.verifier):
            say("ready")
            sys.stdin.readline()
            say(json.dumps(PARTS[part](site, int(number), *arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
