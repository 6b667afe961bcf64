"""
What threads and processes saw of one slot, and whether some order of single steps explains it.

A slot is a register: `put` writes a name, and a settled name that is OK was read. Where every name
is put once, Gibbons and Korach ("Testing Shared Memories", 1997, section 4) give the condition: the
time through which each name must have stood, from the first end of its steps to the last start, is
free of that of every other name.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from time import monotonic_ns
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """
    One step.

    Attributes:
        kind: "put", "ok" or "refused".
        name: Of the record.
        start: Nanoseconds of the machine's monotonic clock, before the backend was called.
        end: And after it had answered.
    """

    kind: str
    name: str
    start: int
    end: int


def timed(work: Callable[[], T]) -> tuple[T, int, int]:
    """Return what *work* gives, and when it began and ended."""
    start = monotonic_ns()
    result = work()
    return result, start, monotonic_ns()


def contradictions(steps: Iterable[Step]) -> list[tuple[Step | str, ...]]:
    """Return what cannot have been, whatever the order of steps that overlap."""
    by_name: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_name[step.name].append(step)
    put = {name: _only_put(known) for name, known in by_name.items()}
    stood = {name: _stood(known) for name, known in by_name.items()}
    found: list[tuple[Step | str, ...]] = []
    for (one, (a, b)), (other, (c, d)) in combinations(stood.items(), 2):
        overlap = a < b and c < d and a < d and c < b
        inside = (a < b and a < min(c, d) <= max(c, d) < b) or (
            c < d and c < min(a, b) <= max(a, b) < d
        )
        if overlap or inside:
            found.append(("both stood", one, other))
    for name, known in by_name.items():
        first, last = stood[name]
        for step in known:
            if step.kind == "ok" and step.end < put[name].start:
                found.append(("was there before it was put", step))
            if step.kind == "refused" and first < step.start and step.end < last:
                found.append(("went and came back", step))
            if step.kind == "refused" and put[name].end < step.start:
                rivals = (other for each, other in put.items() if each != name)
                if not any(r.end > put[name].start and r.start < step.end for r in rivals):
                    found.append(("went with nothing put after it", step))
    return found


def contradictions_of_one_who_puts(steps: Iterable[Step]) -> list[tuple[str, int]]:
    """
    Return the names, which are numbers, for whose taking effect there is no time.

    They were put in order from 1 on, 0 before all. Each took effect at one time; of that, every
    step tells something: also one that was refused, where it is known to be late, or early.
    """
    known = list(steps)
    earliest: dict[int, int] = defaultdict(int)
    latest: dict[int, int] = defaultdict(lambda: sys.maxsize)
    latest[0] = 0
    for step in known:
        number = int(step.name)
        latest[number] = min(latest[number], step.end if step.kind != "refused" else sys.maxsize)
        follower = number if step.kind == "put" else number + 1
        if step.kind != "refused":
            earliest[follower] = max(earliest[follower], step.start)
    for step in sorted(known, key=lambda step: step.start):
        number = int(step.name)
        if step.kind == "refused" and latest[number] < step.start:
            latest[number + 1] = min(latest[number + 1], step.end)
        elif step.kind == "refused" and step.end < earliest[number + 1]:
            earliest[number] = max(earliest[number], step.start)
    return [("no time", each) for each in sorted(latest) if earliest[each] > latest[each]]


def _only_put(steps: list[Step]) -> Step:
    (step,) = (step for step in steps if step.kind == "put")
    return step


def _stood(steps: list[Step]) -> tuple[int, int]:
    """Return the first end and the last start: in this order, the name stood between them."""
    shown = [step for step in steps if step.kind != "refused"]
    return min(step.end for step in shown), max(step.start for step in shown)
