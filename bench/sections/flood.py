"""
What callers with known tokens pay after somebody with a good key has sent thousands of distinct
ones: a cache of tokens that never grows must forget some of them.
"""

from __future__ import annotations

import itertools

from bench.material import Keys, bearer, verifier, write_registry
from bench.run import Figures, Run
from bench.timing import Candidate, medians, series

ALGORITHM = "HS256"
FLOOD = 5000  # tokens between two requests of a known caller


def measure(run: Run) -> Figures:
    """Return microseconds of a known token, in quiet and after a flood, and their ratio."""
    keys, numbers = Keys(), itertools.count(1)
    known = [bearer(keys.token(ALGORITHM, next(numbers))) for _ in range(run.count(100))]
    size = run.count(FLOOD)
    with verifier(write_registry(run.folder("flood"), keys)) as guard:

        def ask() -> None:
            for request in known:
                guard.verify(request)

        def flood() -> None:
            for _ in range(size):
                guard.verify(bearer(keys.token(ALGORITHM, next(numbers))))

        taken = medians(
            series(
                {
                    "in_quiet": Candidate(ask, len(known), prepare=ask),
                    "after_flood": Candidate(ask, len(known), prepare=flood),
                },
                run.rounds,
            )
        )
    return {
        "known_hs256_in_quiet_us": taken["in_quiet"],
        "known_hs256_after_flood_us": taken["after_flood"],
        "known_hs256_after_flood_vs_in_quiet": taken["after_flood"] / taken["in_quiet"],
    }
