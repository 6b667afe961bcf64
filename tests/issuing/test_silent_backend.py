"""The issuing routes while a Redis says nothing: bounded, and no business of the application's."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from backends.redis_servers import Server, until
from contrib.servers import aio, asgi
from contrib.wire import Answer, request
from fastapi import FastAPI

from issuing.site import ALICE, SECRETS, registry
from rpcguard.contrib import aiohttp as of_aiohttp
from rpcguard.contrib import fastapi as of_fastapi
from rpcguard.own_threads import THREADS

BODY = f'{{"pubkey": "{ALICE.pubkey}"}}'.encode()
CROWD = 60  # more than FastAPI has threads for its plain views (40), or asyncio (at most 32)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server().start()
    try:
        yield server
    finally:
        server.clear_away()


def _fastapi(path: str) -> AbstractContextManager[int]:
    app = FastAPI(openapi_url=None)
    app.include_router(of_fastapi.RPCGuard(app, path).router())

    @app.get("/plain")
    def plain() -> int:  # in a thread that FastAPI has for such views
        return os.getpid()

    return asgi(app)


def _aiohttp(path: str) -> AbstractContextManager[int]:
    async def plain(_: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(os.getpid))

    def create() -> web.Application:
        guard = of_aiohttp.rpc_auth_middleware(path, exempt=["/plain"])
        app = web.Application(middlewares=[guard])
        of_aiohttp.add_auth_routes(app)
        app.router.add_get("/plain", plain)
        return app

    return aio(create)


Crowd = Callable[[], list[Future[Answer]]]


@pytest.fixture(params=[_fastapi, _aiohttp], ids=["fastapi", "aiohttp"])
def site(
    request: pytest.FixtureRequest,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], tuple[int, Crowd]]]:
    """Return what starts an application with such bounds: its port, and a crowd that signs in."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:

        def start(bounds: str) -> tuple[int, Crowd]:
            url = f"redis://127.0.0.1:{server.port}?timeout=10s"
            text = registry("wallets: open", "", f"bounds: {bounds}", f'backend: "{url}"')
            path = tmp_path / "registry.yaml"
            path.write_text(text)
            port = stack.enter_context(request.param(str(path)))
            callers = stack.enter_context(ThreadPoolExecutor(CROWD))
            until(lambda: _challenge(port).status == 200, "it serves, however short the bounds")

            def crowd() -> list[Future[Answer]]:
                return [callers.submit(_challenge, port) for _ in range(CROWD)]

            return port, crowd

        yield start


def _challenge(port: int) -> Answer:
    return request(port, "POST", "/auth/challenge", [], BODY)


@pytest.fixture
def at_work() -> Callable[[], int]:
    """Return what counts the threads that issue, without those of earlier tests."""
    before = set(threading.enumerate())

    def at_work() -> int:
        threads = set(threading.enumerate()) - before
        return sum(thread.name.startswith("rpcguard-issuing") for thread in threads)

    return at_work


def test_the_applications_threads_stay_free_and_the_crowd_is_served_in_the_end(
    at_work, site, server
):
    port, crowd = site("{issuing_timeout: 60s}")
    server.pause()
    callers = crowd()
    until(lambda: at_work() == THREADS, "all threads wait for the server")
    assert request(port, "GET", "/plain", [], b"").json == os.getpid()
    assert not any(caller.done() for caller in callers)
    assert at_work() == THREADS
    server.resume()
    assert {caller.result().status for caller in callers} == {200}


def test_a_crowd_is_refused_within_the_deadline_and_recorded_once_each(
    at_work, site, server, caplog
):
    caplog.set_level(logging.INFO, "rpcguard.audit")
    _, crowd = site("{issuing_timeout: 300ms}")
    caplog.clear()
    server.pause()
    answers = [caller.result() for caller in crowd()]
    assert {(answer.status, answer.reason) for answer in answers} == {(503, "backend_unavailable")}
    assert {answer.one("retry-after") for answer in answers} == {"1"}
    assert at_work() == THREADS
    server.resume()

    def trail() -> list[dict[str, Any]]:
        return [r.rpcguard for r in caplog.records if r.name == "rpcguard.audit"]

    until(lambda: len(trail()) >= CROWD, "those that were begun end")
    outcomes = [(found["outcome"], found["path"], found["project"]) for found in trail()]
    refused = ("refused", "/auth/challenge", "sol-1")
    assert outcomes.count(refused) == CROWD - THREADS
    assert outcomes.count(("accepted", "/auth/challenge", "solana")) == THREADS
    assert len(outcomes) == CROWD
    details = {found.get("detail") for found in trail()}
    assert details == {None, "issuing: no thread came free in time"}
