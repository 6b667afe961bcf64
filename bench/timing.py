"""
Interleaved timing: A B A B …, each round timed alone, medians at the end.

A machine that slows down for a second slows all candidates of that round, so ratios of medians stay
true where single figures would not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 15
Work = Callable[[], object]


@dataclass(frozen=True)
class Candidate:
    """
    Something to be timed.

    Attributes:
        work: Does it once, *items* times within.
        items: How many operations one call of *work* is.
        prepare: Called before each round, untimed.
    """

    work: Work
    items: int = 1
    prepare: Work = lambda: None


def repeat(one: Work, times: int) -> Candidate:
    """Return *one* as a candidate that is called *times* times in each round."""

    def work() -> None:
        for _ in range(times):
            one()

    return Candidate(work, times)


def each(one: Callable[[object], object], over: Sequence[object], prepare: Work) -> Candidate:
    """Return *one*, called on each of *over* in each round, after *prepare*."""

    def work() -> None:
        for item in over:
            one(item)

    return Candidate(work, len(over), prepare)


def medians(candidates: Mapping[str, Candidate], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median microseconds of one operation of each of *candidates*."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for name, candidate in candidates.items():  # once for the caches, untimed
        candidate.prepare()
        candidate.work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, candidate in candidates.items():
                candidate.prepare()
                start = time.perf_counter()
                candidate.work()
                taken[name].append((time.perf_counter() - start) / candidate.items * 1e6)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in taken.items()}
