"""What the counters of the limits tell, where they are in a Redis."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from backends.redis_servers import Server

from rpcguard import AuthError
from rpcguard.limiter import Limiter
from rpcguard.observer import Consulted, Event
from rpcguard.rates import Charge, Rate

CHARGE = Charge("per_project", (Rate(86400, 1),), ("p",))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server().start()
    try:
        yield server
    finally:
        server.clear_away()


def spend(limiter: Limiter, *, loop: bool, charges: tuple[Charge, ...] = (CHARGE,)) -> str:
    try:
        if loop:
            asyncio.run(limiter.aspend(charges, lambda error: error))
        else:
            limiter.spend(charges, lambda error: error)
    except AuthError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("loop", [False, True], ids=["spend", "aspend"])
def test_each_count_is_told_once_and_too_many_is_an_answer(server: Server, loop: bool) -> None:
    events: list[Event] = []
    limiter = Limiter(f"redis://127.0.0.1:{server.port}/0?timeout=5s", observer=events.append)
    assert [spend(limiter, loop=loop) for _ in range(2)] == ["", "rate_limited"]
    assert spend(limiter, loop=loop, charges=()) == ""  # nothing to count, nothing to tell
    told = [(event.operation, event.failed) for event in events if isinstance(event, Consulted)]
    assert told == [("count", False)] * 2
    limiter.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", [False, True], ids=["spend", "aspend"])
def test_a_silent_server_is_a_failure(loop: bool) -> None:
    events: list[Event] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts and says nothing
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        limiter = Limiter(url, observer=events.append)
        assert spend(limiter, loop=loop) == "backend_unavailable"
    told = [(event.operation, event.failed) for event in events if isinstance(event, Consulted)]
    assert told == [("count", True)]
