"""A settle on each backend; on Redis against a bare `SET NX PX` of the same client."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import closing

import redis
import redis.asyncio

from bench.material import BACKENDS, backend
from bench.questions import Questions, accept, settle_all
from bench.run import Figures, Run
from bench.timing import Candidate, medians, series
from rpcguard.backends.base import Backend
from rpcguard.owed import Owed

TOGETHER = 16  # calls that wait in one event loop at a time
LIFE_MS = 90_000
PROTOCOL = 2  # as the backend's connections have it


def measure(run: Run) -> Figures:
    """Return microseconds of one settle alone, of one among 16 at a time, and the ratios."""
    folder = run.folder("settle")
    stores = {kind: backend(kind, folder, run.redis) for kind in BACKENDS}
    try:
        one = _one_by_one(run, stores)
        with asyncio.Runner() as runner:
            many = _together(run, stores, runner)
    finally:
        for store in stores.values():
            store.close()
    return {
        **{f"settle_{name}_us": value for name, value in one.items()},
        **{f"settle16_{name}_us": value for name, value in many.items()},
        "redis_settle_vs_set": one["redis"] / one["redis_set"],
        "redis_settle16_vs_set16": many["redis"] / many["redis_set"],
    }


def _one_by_one(run: Run, stores: dict[str, Backend]) -> Figures:
    times = run.count(300)
    names = (f"bare:{number}" for number in itertools.count())
    with closing(redis.Redis.from_url(run.redis, protocol=PROTOCOL)) as client:

        def bare() -> None:
            for _ in range(times):
                if not client.set(next(names), b"1", nx=True, px=LIFE_MS):
                    raise AssertionError("the name is taken")

        settles = {kind: _settles(store, times) for kind, store in stores.items()}
        return medians(series({"redis_set": Candidate(bare, times), **settles}, run.rounds))


def _settles(store: Backend, times: int) -> Candidate:
    supply, now = Questions(), time.time()
    questions = supply.take(times, now)

    def prepare() -> None:
        questions[:] = supply.take(times, now)

    return Candidate(lambda: settle_all(store, questions, now), times, prepare)


def _together(run: Run, stores: dict[str, Backend], runner: asyncio.Runner) -> Figures:
    batches = run.count(40)
    names = (f"bare16:{number}" for number in itertools.count())
    client = redis.asyncio.Redis.from_url(run.redis, protocol=PROTOCOL)

    async def bare() -> None:
        for _ in range(batches):
            calls = (client.set(next(names), b"1", nx=True, px=LIFE_MS) for _ in range(TOGETHER))
            if not all(await asyncio.gather(*calls)):
                raise AssertionError("the name is taken")

    candidates = {"redis_set": Candidate(lambda: runner.run(bare()), batches * TOGETHER)}
    for kind, store in stores.items():
        candidates[kind] = _settles_together(store, batches, runner)
    try:
        return medians(series(candidates, run.rounds))
    finally:
        runner.run(client.aclose())


def _settles_together(store: Backend, batches: int, runner: asyncio.Runner) -> Candidate:
    supply, now = Questions(), time.time()
    questions: list[Owed] = []

    async def settle() -> None:
        for start in range(0, len(questions), TOGETHER):
            calls = (store.asettle(owed, now) for owed in questions[start : start + TOGETHER])
            for answer in await asyncio.gather(*calls):
                accept(answer)

    def prepare() -> None:
        questions[:] = supply.take(batches * TOGETHER, now)

    return Candidate(lambda: runner.run(settle()), batches * TOGETHER, prepare)
