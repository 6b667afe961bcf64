"""
Wallet signatures per second of 1 to 4 processes that share one backend, on SQLite and on Redis.

What can be had depends on the number of cores: where there are two, a third process adds nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from bench.material import verifier
from bench.run import Figures, Run
from bench.sections.wallets import Feed, registry
from bench.timing import Candidate, medians, series
from rpcguard.backends.open import open_backend

SHARED = ("sqlite", "redis")
WORKERS = 4
REQUESTS = 200  # of each process in each round
STARTING, PATIENCE = 60, 120  # seconds
_READY, _GO, _DONE, _STOP = "ready", "go", "done", "stop"


def measure(run: Run) -> Figures:
    """Return requests per second by backend and number of processes."""
    folder = run.folder("workers")
    file = registry(folder)
    # A long patience: what is measured is how much gets through, not when a caller gives up
    urls = {
        "sqlite": f"sqlite:///{folder}/settle.db?timeout=10s",
        "redis": f"{run.redis}?timeout=10s&restart_guard=off",
    }
    figures: Figures = {}
    for kind in SHARED:
        # Opened "a minute ago": a store refuses proofs from before it was there
        open_backend(urls[kind], now=time.time() - 60, base=folder).close()
        with _processes(file, urls[kind], run.count(REQUESTS)) as pipes:
            candidates = {
                f"wallets_per_second_{kind}_{number}_processes": _together(pipes[:number], run)
                for number in range(1, WORKERS + 1)
            }
            taken = medians(series(candidates, run.rounds))
        figures |= {name: 1e6 / microseconds for name, microseconds in taken.items()}
    return figures


def _together(pipes: list[Connection], run: Run) -> Candidate:
    def prepare() -> None:
        _tell(pipes, _READY, _READY)

    return Candidate(
        lambda: _tell(pipes, _GO, _DONE), run.count(REQUESTS) * len(pipes), prepare
    )  # fmt: skip


def _tell(pipes: list[Connection], word: str, answer: str) -> None:
    """Say *word* to all of *pipes*, and wait until each has said *answer*."""
    for pipe in pipes:
        pipe.send(word)
    for pipe in pipes:
        if not pipe.poll(PATIENCE) or pipe.recv() != answer:
            raise AssertionError(f"a process did not come to {answer!r}")


@contextlib.contextmanager
def _processes(file: Path, url: str, requests: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(WORKERS)]
    processes = [
        context.Process(target=_work, args=(theirs, str(file), url, requests))
        for _, theirs in pairs
    ]
    ours = [pipe for pipe, _ in pairs]
    for process in processes:
        process.start()
    for _, theirs in pairs:
        theirs.close()
    try:
        yield ours
    finally:
        for pipe in ours:
            with contextlib.suppress(OSError):
                pipe.send(_STOP)
        for process in processes:
            process.join(STARTING)
            process.kill()


def _work(pipe: Connection, file: str, url: str, requests: int) -> None:
    feed = Feed(requests)
    with verifier(Path(file), backend=url) as guard:
        signed = feed.fresh()
        while (word := pipe.recv()) != _STOP:
            if word == _READY:
                signed = feed.fresh()
                pipe.send(_READY)
            else:
                for request in signed:
                    guard.verify(request)
                pipe.send(_DONE)
