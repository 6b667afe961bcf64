"""
Signed requests through a real `Verifier`, in a process of their own, while something breaks.

The script obeys its standard input, a word a line: `go` begins; `accepted` and `unavailable` answer
when some further requests were accepted, or met with a 503; `stop` ends, and prints the requests of
the last seconds as one line of JSON; it gets those of all processes as a line, and prints what was
counted. Each request is signed anew, and those of the last seconds are sent again, while all goes
on and once more at the end, then by every process: how many were accepted twice is what this is
about.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpcguard import AuthError, Request, Verifier
from rpcguard.client.signers import WalletSigner
from rpcguard.client.wallet import Wallet

BOUND = 0.25  # seconds, the default timeout
# Seconds by which a busy machine may delay whoever has been refused in time; not so many that
# nobody would notice who waited for a server that is stopped for five.
SLACK = 4.0
PROCESSES = 4
_AT_ONCE = 4  # threads or tasks of a process
_PACE = 0.01  # seconds between two requests of one of them
_ENOUGH = {"accepted": 40, "unavailable": 5}
_REMEMBERED = 300
_LIFETIME = 25  # seconds, a little less than what the protocol accepts
_BODY = b'{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
_PATIENCE = 60.0


@dataclass
class Sent:
    """One signed request."""

    request: Request
    made: float
    name: str


class Load:
    """What one process sends and counts."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._signer = WalletSigner(Wallet.generate())
        self._recent: deque[Sent] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._numbers = 0
        self._accepted: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.longest = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(_PACE):
            for sent in self._next():
                begun = time.monotonic()
                try:
                    self._verifier.verify(sent.request)
                except AuthError as error:
                    self._count(sent, begun, error)
                else:
                    self._count(sent, begun, None)

    async def arun(self) -> None:
        while not self.stopped.is_set():
            await asyncio.sleep(_PACE)
            for sent in self._next():
                begun = time.monotonic()
                try:
                    await self._verifier.averify(sent.request)
                except AuthError as error:
                    self._count(sent, begun, error)
                else:
                    self._count(sent, begun, None)

    def replay_all(self, others: Iterable[Sent] = ()) -> None:
        """Send all again that would still be accepted if it were new: one's own, or *others*."""
        for sent in list(others or self._recent):
            if time.time() - sent.made < _LIFETIME:
                begun = time.monotonic()
                try:
                    self._verifier.verify(sent.request)
                except AuthError as error:
                    self._count(sent, begun, error)
                else:
                    self._count(sent, begun, None)

    def recent(self) -> list[Any]:
        """Return the requests of the last seconds, for other processes."""
        return [[sent.name, sent.made, sent.request.headers] for sent in self._recent]

    def result(self) -> dict[str, Any]:
        return dict(self.counts) | {"by_name": self._accepted, "longest": self.longest}

    def _next(self) -> Iterator[Sent]:
        """Yield a new request, and one of the last seconds."""
        now = time.time()
        headers = self._signer.headers("POST", "/", _BODY, now)
        request = Request(method="POST", target="/", headers=list(headers.items()), body=_BODY)
        with self._lock:
            self._numbers += 1
            new = Sent(request, now, f"{os.getpid()} {self._numbers}")
        yield new
        with self._lock:
            self._recent.append(new)
            old = random.choice(self._recent)
        if now - old.made < _LIFETIME:
            yield old

    def _count(self, sent: Sent, begun: float, error: AuthError | None) -> None:
        waited = time.monotonic() - begun
        with self._lock:
            self.longest = max(self.longest, waited)
            self.counts["sent"] += 1
            if error is None:
                self.counts["accepted"] += 1
                self._accepted[sent.name] += 1
            else:
                self.counts["unavailable" if error.status == 503 else "refused"] += 1


async def _tasks(load: Load) -> None:
    await asyncio.gather(*[load.arun() for _ in range(_AT_ONCE)])


def _threads(load: Load, asynchronous: bool) -> list[threading.Thread]:
    if asynchronous:
        return [threading.Thread(target=lambda: asyncio.run(_tasks(load)))]
    return [threading.Thread(target=load.run) for _ in range(_AT_ONCE)]


def _wait_for_more(load: Load, name: str) -> None:
    wanted = load.counts[name] + _ENOUGH[name]
    ends = time.monotonic() + _PATIENCE
    while load.counts[name] < wanted:
        assert time.monotonic() < ends, f"no more are {name}"
        time.sleep(0.01)


def main(registry: str, driver: str) -> None:
    with Verifier.from_yaml(registry, watch=False) as verifier:
        load = Load(verifier)
        threads = _threads(load, driver == "async")
        print("ready", flush=True)
        for line in sys.stdin:
            word = line.strip()
            if word == "go":
                for thread in threads:
                    thread.start()
                word = "accepted"
            if word == "stop":
                load.stopped.set()
                for thread in threads:
                    thread.join(_PATIENCE)
                load.replay_all()
                print(json.dumps(load.recent()), flush=True)
                load.replay_all(_sent(json.loads(sys.stdin.readline())))
                break
            _wait_for_more(load, word)
            print("seen", flush=True)
    print(json.dumps(load.result()), flush=True)


def _sent(recent: list[Any]) -> list[Sent]:
    return [
        Sent(Request("POST", "/", [tuple(pair) for pair in headers], _BODY), made, name)
        for name, made, headers in recent
    ]


@dataclass
class Loaded:
    """Some processes that send."""

    processes: list[subprocess.Popen[str]]

    def begin(self) -> None:
        """Begin, and return when each process has had some requests accepted."""
        self._tell("go")
        self._each_says("seen")

    def accepted(self) -> None:
        """Return when each process has had some more requests accepted."""
        self._tell("accepted")
        self._each_says("seen")

    def unavailable(self) -> None:
        """Return when each process has met with some more 503."""
        self._tell("unavailable")
        self._each_says("seen")

    def _tell(self, word: str) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(word + "\n")
            process.stdin.flush()

    def _each_says(self, word: str) -> None:
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == word + "\n"

    def results(self) -> dict[str, Any]:
        """End all, and return what they counted together."""
        self._tell("stop")
        recent: list[Any] = []
        for process in self.processes:
            assert process.stdout is not None
            recent += json.loads(process.stdout.readline())
        self._tell(json.dumps(recent))
        texts = [process.communicate(timeout=_PATIENCE)[0] for process in self.processes]
        assert [process.returncode for process in self.processes] == [0] * len(self.processes)
        found = [json.loads(text) for text in texts]
        names = ("sent", "accepted", "refused", "unavailable")
        total: dict[str, Any] = {name: sum(each.get(name, 0) for each in found) for name in names}
        by_name: Counter[str] = sum((Counter(each["by_name"]) for each in found), Counter())
        twice = sum(1 for times in by_name.values() if times > 1)
        return total | {"twice": twice, "longest": max(each["longest"] for each in found)}


@contextmanager
def loaded(url: str, directory: Path) -> Iterator[Loaded]:
    """Have four processes send, two by threads and two by event loops; all is well at first."""
    registry = directory / "registry.yaml"
    registry.write_text(
        f"version: 1\nbackend: {url}\n"
        "projects:\n  wallets: {preset: nodius, wallets: open, match: {path: /}}\n"
    )
    with ExitStack() as stack:
        processes = []
        for number in range(PROCESSES):
            command = [sys.executable, __file__, str(registry), ("sync", "async")[number % 2]]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        load = Loaded(processes)
        load._each_says("ready")
        load.begin()
        yield load


if __name__ == "__main__":
    main(*sys.argv[1:])
