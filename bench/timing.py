"""
Interleaved timing: A B C, C B A, A B C …, each round of each timed alone, medians at the end.

A machine that is slow for a second is slow for all candidates of that round, so ratios of medians
stay true where single figures would not. Whoever comes first in one round comes last in the next.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], object]
Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Candidate:
    """
    Something to be timed.

    Attributes:
        work: Does it *items* times.
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


def each(one: Callable[..., object], over: Callable[[], Sequence[object]], items: int) -> Candidate:
    """Return *one*, called on each of what *over* gives for the round; giving it is untimed."""
    given: list[object] = []

    def prepare() -> None:
        given[:] = over()
        if len(given) != items:
            raise ValueError(f"{len(given)} operations instead of {items}")

    def work() -> None:
        for item in given:
            one(item)

    return Candidate(work, items, prepare)


def series(
    candidates: Mapping[str, Candidate], rounds: int, first: int = 0
) -> dict[str, list[float]]:
    """
    Return the microseconds of one operation of each of *candidates*, in each round.

    Args:
        candidates: By name.
        rounds: How many.
        first: Number of the first one, where others came before in the same comparison.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for candidate in candidates.values():  # once untimed: imports, caches, specialised bytecode
        candidate.prepare()
        candidate.work()
    with frozen():
        for number in range(first, first + rounds):
            order = list(candidates.items())
            for name, candidate in order if number % 2 else reversed(order):
                candidate.prepare()
                start = time.perf_counter()
                candidate.work()
                taken[name].append((time.perf_counter() - start) / candidate.items * 1e6)
    return taken


def medians(taken: Series) -> dict[str, float]:
    """Return the median of each candidate."""
    return {name: statistics.median(values) for name, values in taken.items()}


def added(taken: Series, guarded: str, plain: str) -> float:
    """Return the median over the rounds of what *guarded* took beyond *plain* in that round."""
    pairs = zip(taken[guarded], taken[plain], strict=True)
    return statistics.median(more - less for more, less in pairs)


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """
    Keep what is there now out of the collector's sight, as a server does that calls `gc.freeze`.

    The collector itself stays on: garbage that a candidate makes is part of what it costs.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
