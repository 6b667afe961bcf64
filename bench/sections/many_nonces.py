"""A settle with no live nonces, with 100 000 and with a million, on each backend."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from bench.material import BACKENDS
from bench.questions import Questions, accept, settle_all
from bench.run import Figures, Run, fresh
from bench.timing import Candidate, medians, series
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.owed import Owed

SIZES = {"0": 0, "100k": 100_000, "1m": 1_000_000}
LIVE = 900  # seconds that what is filled in lasts: longer than the measuring
TOGETHER = 200  # questions under way while a backend is filled


def measure(run: Run) -> Figures:
    """Return, by backend, microseconds, ratios to an empty store, and bytes per nonce."""
    figures: Figures = {}
    for kind in BACKENDS:  # each in a process of its own: the memory of one is not the others'
        figures |= fresh(__name__, "measure_one", run, kind)
    return figures


def measure_one(run: Run, kind: str) -> Figures:
    """Return the figures of one backend."""
    folder = run.folder(f"many-nonces-{kind}")
    figures: Figures = {}
    candidates: dict[str, Candidate] = {}
    with contextlib.ExitStack() as opened, asyncio.Runner() as runner:
        for number, (name, size) in enumerate(SIZES.items()):
            count = run.count(size, 0)
            url = _urls(run, folder, name, number)[kind]
            store = opened.enter_context(contextlib.closing(_open(url, folder)))
            weigh = _scales(kind, url, folder)
            before = weigh()
            runner.run(_fill(store, count))
            if name == "1m":
                figures[f"{kind}_nonce_bytes"] = (weigh() - before) / count
            candidates[name] = _settles(store, run.count(200))
        taken = medians(series(candidates, run.rounds))
    figures |= {f"settle_{name}_nonces_{kind}_us": value for name, value in taken.items()}
    for name in ("100k", "1m"):
        figures[f"settle_{name}_nonces_vs_0_{kind}"] = taken[name] / taken["0"]
    return figures


def _urls(run: Run, folder: Path, name: str, number: int) -> dict[str, str]:
    return {
        "memory": "memory://",
        "sqlite": f"sqlite:///{folder}/{name}.db?timeout=10s",
        "redis": f"{run.redis.rpartition('/')[0]}/{number + 1}?timeout=10s",  # a database for each
    }


def _open(url: str, folder: Path) -> Backend:
    return open_backend(url, now=time.time() - 60, base=folder)


async def _fill(store: Backend, count: int) -> None:
    supply = Questions()
    for start in range(0, count, TOGETHER):
        now = time.time()
        questions = supply.take(min(TOGETHER, count - start), now + LIVE)
        for answer in await asyncio.gather(*(store.asettle(owed, now) for owed in questions)):
            accept(answer)


def _settles(store: Backend, times: int) -> Candidate:
    supply = Questions()
    asked: list[tuple[list[Owed], float]] = []

    def prepare() -> None:
        now = time.time()
        asked[:] = [(supply.take(times, now), now)]

    return Candidate(lambda: settle_all(store, *asked[0]), times, prepare)


def _scales(kind: str, url: str, folder: Path) -> Callable[[], float]:
    """Return what weighs the store at *url*, in bytes."""
    if kind == "memory":
        return _resident
    if kind == "sqlite":
        name = Path(url.partition("?")[0]).name
        return lambda: sum(path.stat().st_size for path in folder.glob(f"{name}*"))
    client: Any = redis.Redis.from_url(url.partition("?")[0])
    return lambda: float(client.info("memory")["used_memory"])


def _resident() -> float:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return float(pages) * os.sysconf("SC_PAGE_SIZE")
