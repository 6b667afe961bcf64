"""What a guard adds to a request, in process: the guarded endpoint's time less the unguarded's."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.apps import OPEN, Given
from bench.material import Keys, write_registry
from bench.run import Figures, Run
from bench.timing import Candidate, Series, Work, added, medians, series

ALGORITHMS = ("HS256", "RS256")
REQUESTS = 100  # in each round of each candidate

Apps = Mapping[str, Callable[[Given], Any]]
Way = Callable[[Any, Sequence[str]], Work]


def compare(run: Run, framework: str, apps: Apps, way: Way) -> Figures:
    """
    Return what rpcguard and the peers add to a request of *framework*, and the ratios.

    Args:
        run: How much to do.
        framework: The first word of the names.
        apps: Makers of applications: `unguarded`, `rpcguard`, and the peers.
        way: Given an application and tokens, returns what sends one request with each of them and
            sees that it is answered with 200.
    """
    keys = Keys()
    registry = write_registry(run.folder(f"{framework}-added"), keys)
    figures: Figures = {}
    for algorithm in ALGORITHMS:
        given = Given(algorithm, keys.text(algorithm), str(registry))
        made = {name: make(given) for name, make in apps.items()}
        refuses_forgeries(made, way, keys, algorithm)
        taken = series(_candidates(run, made, way, keys, algorithm), run.rounds)
        figures |= _figures(framework, algorithm.lower(), taken)
    return figures


def _candidates(
    run: Run, apps: Mapping[str, Any], way: Way, keys: Keys, algorithm: str
) -> Mapping[str, Candidate]:
    items, numbers = run.count(REQUESTS), itertools.count(1)
    same = [keys.token(algorithm)] * items

    def fresh() -> Sequence[str]:
        return [keys.token(algorithm, next(numbers)) for _ in range(items)]

    candidates = {name: _sent(way, app, lambda: same, items) for name, app in apps.items()}
    candidates["rpcguard_cold"] = _sent(way, apps["rpcguard"], fresh, items)
    return candidates


def _sent(way: Way, app: Any, tokens: Callable[[], Sequence[str]], items: int) -> Candidate:
    ready: list[Work] = []

    def prepare() -> None:
        ready[:] = [way(app, tokens())]

    def work() -> None:
        ready[0]()

    return Candidate(work, items, prepare)


def _figures(framework: str, algorithm: str, taken: Series) -> Figures:
    plain = "unguarded"
    extra = {name: added(taken, name, plain) for name in taken if name != plain}
    hot, cold = extra.pop("rpcguard"), extra.pop("rpcguard_cold")
    figures = {
        f"{framework}_unguarded_{algorithm}_us": medians(taken)[plain],
        f"{framework}_added_hot_{algorithm}_us": hot,
        f"{framework}_added_cold_{algorithm}_us": cold,
    }
    for peer, value in extra.items():
        figures[f"{framework}_added_{algorithm}_by_{peer}_us"] = value
        figures[f"{framework}_added_hot_{algorithm}_vs_{peer}"] = hot / value
        figures[f"{framework}_added_cold_{algorithm}_vs_{peer}"] = cold / value
    return figures


def refuses_forgeries(apps: Mapping[str, Any], way: Way, keys: Keys, algorithm: str) -> None:
    """
    See that every guard lets a good token in and a forged one not, and that the endpoint is open.

    Raises:
        AssertionError: If one does not: it would be compared for what it does not do.
    """
    token = keys.token(algorithm)
    head, _, signature = token.rpartition(".")
    forged = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for name, app in apps.items():
        way(app, [token])()
        logging.disable()  # aiohttp-jwt logs each refusal with its traceback
        try:
            way(app, [forged])()
        except RefusedError:
            if name in OPEN:
                raise
        else:
            if name not in OPEN:
                raise AssertionError(f"{name} accepted a forged token: it is not used rightly")
        finally:
            logging.disable(logging.NOTSET)


class RefusedError(Exception):
    """An application did not answer 200."""
