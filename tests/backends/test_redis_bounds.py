"""What happens while a server of Redis hangs, is down, or is busy: nobody waits for long."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest

from backends import redis_servers
from backends.kinds import START, owe, run_in_threads
from backends.redis_opened import answered, opened
from backends.redis_servers import Server, until
from rpcguard import AuthError, Request
from rpcguard.backends.base import Backend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

OK, REPLAYED = Answer.OK, Answer.REPLAYED


# Bounds


def test_a_server_that_hangs_is_a_refusal_and_is_used_again_when_it_goes_on(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve()
    with opened(server.port, timeout="250ms") as backend:
        until(lambda: driver(backend, owe("a"), START), "an answer")
        server.pause()
        for _ in range(2):  # over the connection that there is, and over a new one
            with pytest.raises(BackendError, match="no answer in time|no time is left"):
                driver(backend, owe("b"), START)
        server.resume()
        assert answered(lambda: driver(backend, owe("c"), START)) in (OK, REPLAYED)


def test_a_name_server_that_hangs_is_a_refusal_and_holds_one_thread_of_nobody_else(
    driver: Callable[..., Answer], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, asked, answering = socket.getaddrinfo, [], threading.Event()

    def resolver(host: str | bytes, *args: Any, **options: Any) -> Any:  # no test can have its own
        if host not in ("redis.test", b"redis.test"):
            return look_up(host, *args, **options)
        asked.append(threading.current_thread().name)
        answering.wait(60)
        return look_up("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    url = f"redis://redis.test:{redis_servers.single().port}"
    with opened(url, key_prefix=prefix, timeout="250ms") as backend:
        for _ in range(3):
            with pytest.raises(BackendError, match="where that is|no answer in time"):
                driver(backend, owe("n"), START)
        assert asked == ["rpcguard-names"]
        answering.set()
        owed = owe("n", issued_at=START + 1)
        assert answered(lambda: driver(backend, owed, START)) in (OK, REPLAYED)


def test_a_server_that_is_down_is_a_refusal_and_is_used_when_it_is_there(
    driver: Callable[..., Answer],
    serve: Callable[..., Server],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve()
    server.kill()
    with opened(server.port) as backend:
        assert "the connection failed" in caplog.text
        with pytest.raises(BackendError, match="the connection failed"):
            driver(backend, owe("n"), START)
        server.start()
        assert driver(backend, owe("n", issued_at=START + 1), START) is OK


def test_of_more_callers_than_may_wait_the_last_are_refused_at_once(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def crowd(backend: Backend) -> list[Any]:
        await backend.asettle(owe("first"), START)
        server.pause()
        try:
            tasks = [backend.asettle(owe(str(number)), START) for number in range(5)]
            waiting = [asyncio.ensure_future(each) for each in tasks[:3]]
            await asyncio.sleep(0)
            late = await asyncio.gather(*tasks[3:], return_exceptions=True)
            assert not any(task.done() for task in waiting)
        finally:
            server.resume()
        return [*late, *await asyncio.gather(*waiting)]

    with opened(server.port, timeout="10s", max_waiting=3) as backend:
        *late, one, two, three = asyncio.run(crowd(backend))
        assert [type(each) for each in late] == [BackendError] * 2
        assert (one, two, three) == (OK, OK, OK)
        assert "as may wait" in str(late[0])
        assert backend.settle(owe("last"), START) is OK


def test_more_threads_than_connections_take_turns(prefix: str) -> None:
    server = redis_servers.single()
    answers: list[Answer] = []
    names = iter(range(1000))
    with opened(server.port, max_connections=2, key_prefix=prefix, timeout="10s") as backend:
        run_in_threads(
            lambda: answers.extend(backend.settle(owe(str(next(names))), START) for _ in range(50)),
            12,
        )
    assert Counter(answers) == {OK: 600}


def test_a_thread_that_finds_no_connection_free_in_time_is_refused(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    refusals: list[str] = []
    with opened(server.port, max_connections=1, timeout="500ms") as backend:
        answered(lambda: backend.settle(owe("n"), START))
        server.pause()

        def run() -> None:
            with pytest.raises(BackendError) as caught:
                backend.settle(owe("m"), START)
            refusals.append(str(caught.value))

        run_in_threads(run, 3)
        server.resume()
        answered(lambda: backend.settle(owe("o"), START))
    assert all(" time" in each or "too many threads" in each for each in refusals), refusals
    assert len(refusals) == 3


def test_the_shortest_timeout_leaves_time_to_connect_again(serve: Callable[..., Server]) -> None:
    server = serve()
    with opened(server.port, timeout="10ms") as backend:
        answered(lambda: backend.settle(owe("a"), START))
        server.client.client_kill_filter(_type="normal", skipme=True)
        # made later than the start, which may have been too short to note in all buckets
        owed = owe("b", issued_at=START + 1)
        assert answered(lambda: backend.settle(owed, START)) in (OK, REPLAYED)


# Who needs no backend


def test_a_token_that_needs_no_backend_is_good_while_the_server_is_down(
    guard: Callable[..., Any], serve: Callable[..., Server]
) -> None:
    server = serve()
    server.kill()
    registry = f"""
        version: 1
        backend: redis://127.0.0.1:{server.port}
        projects:
          free: {{preset: bearer, match: {{path: /free}}, revocation: false, aud: ignore,
                  keys: [{{kid: a, alg: HS256, secret: {"s" * 32}}}]}}
          asked: {{preset: bearer, match: {{path: /asked}}, aud: ignore,
                   keys: [{{kid: a, alg: HS256, secret: {"s" * 32}}}]}}
    """
    verifier = guard(registry)
    claims = {"sub": "me", "exp": 1_760_000_060}
    text = jwt.encode(claims, "s" * 32, "HS256", headers={"kid": "a"})
    headers = [("Authorization", f"Bearer {text}")]
    free = Request(method="POST", target="/free", headers=headers, body=b"")
    assert verifier.verify(free).subject == "me"
    assert asyncio.run(verifier.averify(free)).subject == "me"
    asked = replace(free, target="/asked")
    for verify in (verifier.verify, lambda request: asyncio.run(verifier.averify(request))):
        with pytest.raises(AuthError) as caught:
            verify(asked)
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
