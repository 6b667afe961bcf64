"""Fixtures of the backends' tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backends.kinds import DRIVERS, KINDS, Kind, Settle, opened
from backends.redis_servers import FAULTS, Server
from rpcguard.backends.base import Backend
from rpcguard.owed import Answer

BEGIN, END = "<!-- faults -->\n", "<!-- end of faults -->\n"
TABLE = Path(__file__).parents[2] / "docs" / "operators.md"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FAULTS] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what the tests of faults counted; write it into the docs where that is asked for."""
    if not config.stash[FAULTS]:
        return
    head = "| fault | sent | accepted | refused | 503 | accepted twice | longest wait |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, counted in config.stash[FAULTS]:
        numbers = (counted[n] for n in ("sent", "accepted", "refused", "unavailable", "twice"))
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} | {counted['longest']:.2f} s |")
    for line in lines:
        terminalreporter.line(line)
    if os.environ.get("RPCGUARD_FAULTS") == "write":
        before, _, rest = TABLE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        text = "".join(f"{line}\n" for line in lines)
        TABLE.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a store may be made."""
    return tmp_path / "store.db"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def backend(kind: Kind, tmp_path: Path) -> Iterator[Backend]:
    with opened(kind, tmp_path) as backend:
        yield backend


@pytest.fixture(params=DRIVERS)
def settle(request: pytest.FixtureRequest, backend: Backend) -> Settle:
    driver = DRIVERS[request.param]
    return lambda owed, now: driver(backend, owed, now)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a starter of servers of the test's own."""
    with ExitStack() as stack:

        def start(*options: str) -> Server:
            server = Server(options)
            stack.callback(server.clear_away)
            return server.start()

        yield start


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    return DRIVERS[request.param]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return "".join(each for each in str(tmp_path) if each.isalnum())[-64:]
