"""
Processes that use a backend at the same time: a script, and how a test runs several of it.

A racer says "ready", waits for a line on its standard input, does its part, and prints one line of
JSON. Nothing here sleeps, and a test that breaks off leaves no process behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a script has its own directory on the path, not that of the tests
    sys.path.insert(0, str(Path(__file__).parent.parent))

from backends.histories import timed
from backends.kinds import START, ask, issue, owe, present
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.owed import Answer, Verdict


class Race:
    """Some racers that are ready."""

    def __init__(self, racers: list[subprocess.Popen[str]]) -> None:
        self.racers = racers

    def each_says(self, word: str) -> None:
        for racer in self.racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == word + "\n"

    def tell(self, word: str) -> None:
        for racer in self.racers:
            assert racer.stdin is not None
            racer.stdin.write(word + "\n")
            racer.stdin.flush()

    def results(self) -> list[dict[str, Any]]:
        """Return what each one printed last; all have ended well then."""
        texts = [racer.communicate(timeout=60)[0] for racer in self.racers]
        assert [racer.returncode for racer in self.racers] == [0] * len(self.racers)
        return [json.loads(text) for text in texts]


@contextmanager
def racing(url: str, part: str, racers: int, *arguments: str) -> Iterator[Race]:
    """Start *racers* processes that do *part*, wait until all are ready, and let them go."""
    command = [sys.executable, __file__, url, part, *arguments]
    with ExitStack() as stack:
        started = []
        for _ in range(racers):
            racer = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(racer)
            stack.callback(racer.kill)
            started.append(racer)
        race = Race(started)
        race.each_says("ready")
        race.tell("go")
        yield race


def count(result: dict[str, Any]) -> int:
    """Return how many questions a racer asked."""
    return len(result["ok"]) + sum(
        number for key, number in result.items() if isinstance(number, int)
    )


def say(word: str) -> None:
    print(word, flush=True)


def _tally(answers: list[Answer]) -> dict[str, Any]:
    verdicts = [answer.verdict for answer in answers]
    found: dict[str, Any] = {verdict.value: verdicts.count(verdict) for verdict in Verdict}
    found["ok"] = [number for number, each in enumerate(verdicts) if each is Verdict.OK]
    return found


def _spend(backend: Backend, questions: int) -> dict[str, Any]:
    return _tally([backend.settle(owe(str(number)), START) for number in range(questions)])


def _fill(backend: Backend, questions: int, limit: int) -> dict[str, Any]:
    from os import getpid

    names = [f"{getpid()} {number}" for number in range(questions)]
    return _tally([backend.settle(owe(name, subject_limit=limit), START) for name in names])


def _fill_records(backend: Backend, records: int, limit: int) -> dict[str, Any]:
    from os import getpid

    names = [f"{getpid()} {number}" for number in range(records)]
    puts = [issue(name, name, lasts=90, subject_limit=limit) for name in names]
    return _tally([backend.put(each, START) for each in puts])


def _watch(backend: Backend) -> dict[str, Any]:
    from os import getpid
    from threading import Thread

    told = Thread(target=sys.stdin.readline)
    before = []
    number = 0
    while True:
        last = number > 0 and not told.is_alive()
        name = f"{getpid()} {number}"
        owed = owe(name, revocable=(b"t" * 16,)) if number % 2 else ask(b"t" * 16)
        answer = backend.settle(owed, START).verdict.value
        if last:
            return {"before": before, "after": answer}
        before.append(answer)
        if number == 0:
            told.start()
            say("asking")
        number += 1


def _lock(backend: Backend, path: str) -> dict[str, Any]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        say("locked")
        sys.stdin.readline()
        connection.execute("ROLLBACK")
    return {}


def _stream(backend: Backend) -> dict[str, Any]:
    number = 0
    while True:  # until it is killed
        if backend.settle(owe(str(number), lasts=number + 1), START) is Answer.OK:
            say(str(number))
        number += 1


def _share(backend: Backend) -> dict[str, Any]:
    """Spend what others spend too, at times of one's own: who begins later has a clock behind."""
    from itertools import count
    from os import getpid
    from random import Random

    numbers = Random(getpid())
    for step in count():  # until it is killed
        now = step * 0.15
        number = step // 3 + numbers.randrange(100)
        end = number * 0.5 + numbers.choice([60, 60, 60, 61, 75])  # of one name, several
        owed = owe(str(number), lasts=end, subject=f"s{number % 3}", subject_limit=60)
        verdict = backend.settle(owed, START + now).verdict
        say(f"{number} {end} {verdict.value}")
    return {}


def _number(backend: Backend) -> int:
    """Return the number of this racer: the first that no other has taken."""
    return next(n for n in range(99) if backend.settle(owe(f"racer {n}"), START) is Answer.OK)


def contend(backend: Backend, me: int, rounds: int, racers: int) -> list[list[Any]]:
    """Put records in one slot and show one's own and those of others; return the steps."""
    steps: list[list[Any]] = []
    for number in range(rounds):
        mine = f"{me} {number}"
        _, start, end = timed(lambda mine=mine: backend.put(issue(mine), START))
        steps.append(["put", mine, start, end])
        others = [f"{(me + number) % racers} {max(0, number - back)}" for back in (0, 1, 2)]
        for name in (mine, *others, f"{me} {max(0, number - 1)}", mine):
            answer, start, end = timed(lambda name=name: backend.settle(present(name), START))
            kind = "ok" if answer.verdict is Verdict.OK else "refused"
            steps.append([kind, name, start, end])
    return steps


def lead(backend: Backend, rounds: int) -> list[list[Any]]:
    """Put one record after the other in one slot; 0 is there."""
    steps = []
    for number in range(1, rounds):
        name = str(number)
        _, start, end = timed(lambda name=name: backend.put(issue(name), START))
        steps.append(["put", name, start, end])
    return steps


def follow(backend: Backend, rounds: int) -> list[list[Any]]:
    """Show what `lead` puts, until the last is there: the current one, the next, the previous."""
    steps = []
    current = 0
    while current < rounds - 1:
        for number in (current, current + 1, max(0, current - 1)):
            name = str(number)
            answer, start, end = timed(lambda name=name: backend.settle(present(name), START))
            kind = "ok" if answer.verdict is Verdict.OK else "refused"
            steps.append([kind, name, start, end])
        if steps[-3][0] == "refused" or steps[-2][0] == "ok":
            current += 1
    return steps


def _follow(backend: Backend, rounds: int) -> dict[str, Any]:
    part = lead if _number(backend) == 0 else follow
    return {"steps": part(backend, rounds)}


def _contend(backend: Backend, rounds: int, racers: int) -> dict[str, Any]:
    return {"steps": contend(backend, _number(backend), rounds, racers)}


def _rotate(backend: Backend, rounds: int) -> dict[str, Any]:
    """Rotate the same records as every other racer; the one who wins decides what comes next."""
    me = _number(backend)
    answers = []
    for number in range(rounds):
        slot = f"slot {number}"
        old = issue(f"old {number}", slot)
        answers.append(backend.rotate(old.name, issue(f"{me} {number}", slot), START))
    return _tally(answers) | {"me": me, "values": [each.record for each in answers]}


def _stream_records(backend: Backend) -> dict[str, Any]:
    first = issue("start 0", "rotated", lasts=1e9)
    backend.put(first, START)
    number = 0
    while True:  # until it is killed
        number += 1
        backend.put(issue(f"put {number}", "put"), START)
        name = issue(f"start {number - 1}").name
        following = issue(f"start {number}", "rotated", lasts=1e9)
        assert backend.rotate(name, following, START).verdict is Verdict.OK
        backend.put(issue(f"dropped {number}", f"dropped {number}"), START)
        dropped = issue("", f"dropped {number}")
        assert backend.drop(dropped.bucket, dropped.slot, START)
        say(str(number))


PARTS = {
    "spend": _spend,
    "fill": _fill,
    "fill_records": _fill_records,
    "watch": _watch,
    "lock": _lock,
    "stream": _stream,
    "share": _share,
    "contend": _contend,
    "follow": _follow,
    "rotate": _rotate,
    "stream_records": _stream_records,
}


def main(url: str, part: str, *arguments: str) -> None:
    # A racer reads its word to go before its backend makes any answer.
    backend = open_backend(url, now=START, base=Path())
    say("ready")
    sys.stdin.readline()
    numbers: list[Any] = [int(each) if each.isdecimal() else each for each in arguments]
    result = PARTS[part](backend, *numbers)
    backend.close()
    say(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
