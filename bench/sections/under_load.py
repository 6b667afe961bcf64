"""
Requests per second over loopback with a hot RS256 token: unguarded, behind rpcguard, behind peers.

All servers of a framework run at once, on one core, and idle while another is measured; the
generator has the other core to itself. They are started anew several times: where a process's code
and data happen to lie moves a request by two microseconds, for as long as it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise

import uvloop

from bench.apps import Given
from bench.load import Load, post
from bench.material import BODY, TARGET, Keys, headers, write_registry
from bench.run import ROOT, Figures, Run
from bench.timing import Candidate, Work, medians, series

ALGORITHM = "RS256"
CONNECTIONS = 16
STOPPING = 30  # seconds
STARTS = 5  # of each server
RAW = "raw"

# What figures call an application of ours. One of FastAPI is guarded as a whole, as one of aiohttp
# is, or by a dependency; to call any takes FastAPI itself as long as all of the guard may
# (`unguarded_vs_nothing_rps_fastapi`)
NAMES = {"rpcguard": "guarded"}
NAMES_OF_FASTAPI = {"everywhere": "guarded", "rpcguard": "dependency"}

# Applications, and requests in each round: some tenths of a second
FRAMEWORKS: Mapping[str, tuple[tuple[str, ...], int]] = {
    RAW: ((RAW,), 20_000),
    "fastapi": (
        ("unguarded", "nothing", "rpcguard", "everywhere", "tutorial", "fastapi_users", "authx"),
        1200,
    ),
    "flask": (("unguarded", "rpcguard", "flask_jwt_extended", "flask_httpauth"), 800),
    "aiohttp": (("unguarded", "rpcguard", "aiohttp_jwt", "plain_pyjwt"), 1800),
}


def measure(run: Run) -> Figures:
    """Return requests per second, and how many times more the unguarded endpoint answers."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    keys = Keys()
    registry = write_registry(run.folder("load"), keys)
    given = Given(ALGORITHM, keys.text(ALGORITHM), str(registry))
    request = post(TARGET, headers({"Authorization": f"Bearer {keys.token(ALGORITHM)}"}), BODY)
    figures: Figures = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for framework, (apps, requests) in FRAMEWORKS.items():
            count = run.count(requests, CONNECTIONS)
            taken: dict[str, list[float]] = {app: [] for app in apps}
            for rounds in _shares(run.rounds):
                with serving(framework, apps, cores[0], given) as ports:
                    for app, values in _measure(rounds, runner, ports, request, count).items():
                        taken[app] += values
            figures |= _figures(framework, medians(taken))
    return figures


def _shares(rounds: int) -> list[range]:
    """Return which of *rounds* each start of the servers serves."""
    starts = min(STARTS, rounds)
    edges = [rounds * number // starts for number in range(starts + 1)]
    return [range(begin, end) for begin, end in pairwise(edges)]


def _measure(
    rounds: range, runner: asyncio.Runner, ports: Mapping[str, int], request: bytes, requests: int
) -> dict[str, list[float]]:
    loads = {
        app: runner.run(Load.connect(port, request, CONNECTIONS)) for app, port in ports.items()
    }
    try:
        candidates = {
            app: Candidate(_sending(runner, load, requests), requests)
            for app, load in loads.items()
        }
        return series(candidates, len(rounds), rounds.start)
    finally:
        for load in loads.values():
            runner.run(load.close())


def _sending(runner: asyncio.Runner, load: Load, requests: int) -> Work:
    return lambda: runner.run(load.send(requests))


def _figures(framework: str, taken: Figures) -> Figures:
    figures = {f"rps_{framework}_{app}": 1e6 / microseconds for app, microseconds in taken.items()}
    if framework == RAW:
        return {"rps_of_the_generator": 1e6 / taken[RAW]}
    plain = taken["unguarded"]
    names = NAMES_OF_FASTAPI if framework == "fastapi" else NAMES
    for app in taken:
        if app != "unguarded":
            figures[f"unguarded_vs_{names.get(app, app)}_rps_{framework}"] = taken[app] / plain
    return figures


@contextlib.contextmanager
def serving(
    framework: str, apps: Sequence[str], core: int, given: Given
) -> Iterator[Mapping[str, int]]:
    """Serve each of *apps* in a process of its own, pinned to *core*; give their ports."""
    servers = {app: _start(framework, app, core) for app in apps}
    try:
        for server in servers.values():
            assert server.stdin is not None
            server.stdin.write(json.dumps(asdict(given)) + "\n")
            server.stdin.flush()
        yield {app: _port(server) for app, server in servers.items()}
    finally:
        for server in servers.values():  # all at once: gunicorn takes two seconds
            server.terminate()
        for server in servers.values():
            with server:  # which closes its pipes
                server.wait(STOPPING)


def _start(framework: str, app: str, core: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.serve", framework, app, str(core)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    return int(server.stdout.readline())
