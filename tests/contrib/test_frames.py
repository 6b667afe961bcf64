"""Routes that check the messages of their WebSockets, in each framework, on real servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import pytest
from aiohttp import WSMsgType, web
from fastapi import APIRouter, Depends, FastAPI, WebSocket, WebSocketDisconnect
from flask import Flask
from flask_sock import Sock

import rpcguard
from contrib import credentials as cred
from contrib import servers
from contrib.wire import handshake, websocket
from rpcguard import AuthError, Principal
from rpcguard.contrib import aiohttp as for_aiohttp
from rpcguard.contrib import fastapi as for_fastapi
from rpcguard.contrib import flask as for_flask

RECHECK = 0.1  # seconds
Checked = Annotated[Principal, Depends(for_fastapi.require_rpc_auth(frames=True))]
ALLOWED = '{"jsonrpc":"2.0","id":1,"method":"eth_call"}'
FORBIDDEN = '{"jsonrpc":"2.0","id":"x","method":"admin_peers"}'
BATCH = f"[{ALLOWED},{FORBIDDEN}]"


def fastapi_app(registry: str, *, whole: bool = False) -> FastAPI:
    """`/checked/…` checks messages, `/unchecked/…` does not; or a guard in front says that all do."""
    app = FastAPI()
    everywhere = for_fastapi.require_rpc_auth(frames=True) if whole else None
    guard = for_fastapi.RPCGuard(app, registry, everywhere=everywhere, recheck=RECHECK)

    @app.websocket("/checked/{path:path}")
    async def ws(websocket: WebSocket, caller: Checked) -> None:
        await websocket.accept()
        try:
            while True:
                text = await websocket.receive_text()
                try:
                    await guard.check_message(caller, text)
                    await websocket.send_text(f"answer to {caller.project}")
                except AuthError as error:
                    await websocket.send_text(guard.refusal_text(error, text))
        except WebSocketDisconnect:
            pass

    @app.websocket("/unchecked/{path:path}")
    async def unchecked(
        websocket: WebSocket, caller: Annotated[Principal, Depends(for_fastapi.require_rpc_auth)]
    ) -> None:
        raise AssertionError("opened")

    return app


def flask_app(registry: str) -> Flask:
    """The same in Flask."""
    app = Flask(__name__, static_folder=None)
    guard = for_flask.RPCGuard(app, registry, recheck=RECHECK)
    sock = Sock(app)

    @sock.route("/checked/<path:path>")
    @rpcguard.protect(frames=True)
    def ws(websocket: Any, path: str) -> None:
        while True:
            text = websocket.receive()
            try:
                guard.check_message(for_flask.current_principal, text)
                websocket.send(f"answer to {for_flask.current_principal.project}")
            except AuthError as error:
                websocket.send(guard.refusal_text(error, text))

    @sock.route("/unchecked/<path:path>")
    @rpcguard.protect
    def unchecked(websocket: Any, path: str) -> None:
        raise AssertionError("opened")

    return app


def aiohttp_app(registry: str) -> web.Application:
    """The same in aiohttp."""
    guard = for_aiohttp.rpc_auth_middleware(registry, recheck=RECHECK)
    app = web.Application(middlewares=[guard])

    @for_aiohttp.checks_frames
    async def ws(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        caller = for_aiohttp.principal_of(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                try:
                    await guard.check_message(caller, message.data)
                    await websocket.send_str(f"answer to {caller.project}")
                except AuthError as error:
                    await websocket.send_str(guard.refusal_text(error, message.data))
        return websocket

    async def unchecked(request: web.Request) -> web.StreamResponse:
        raise AssertionError("opened")

    app.router.add_get("/checked/{path:.*}", ws)
    app.router.add_get("/unchecked/{path:.*}", unchecked)
    return app


@pytest.fixture(scope="module", params=["uvicorn", "uvicorn-whole", "werkzeug", "aiohttp"])
def port(
    request: pytest.FixtureRequest, registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    path = cred.write_registry(tmp_path_factory.mktemp("frames"))
    text = path.read_text().replace("[/limited, /ws/limited]", "[/checked/m, /unchecked/m]")
    text = text.replace("path: /secure}", "path: [/checked/n, /unchecked/n]}")
    path.write_text(text.replace("require_https: true", "limits: {per_key: 4/day}"))
    with ExitStack() as stack:
        if request.param == "uvicorn":
            yield stack.enter_context(servers.asgi(fastapi_app(str(path))))
        elif request.param == "uvicorn-whole":
            yield stack.enter_context(servers.asgi(fastapi_app(str(path), whole=True)))
        elif request.param == "werkzeug":
            yield stack.enter_context(servers.wsgi(flask_app(str(path))))
        else:
            yield stack.enter_context(servers.aio(lambda: aiohttp_app(str(path))))


def test_a_route_that_does_not_check_messages_opens_no_socket_where_methods_are_restricted(
    port: int,
) -> None:
    answer = handshake(port, "/unchecked/m", cred.meganode())
    assert (answer.status, answer.reason) == (403, "forbidden_method")


@pytest.mark.parametrize("wallet", [False, True])
def test_a_router_that_checks_messages_does_not_speak_for_its_routes(
    registry: Path, wallet: bool
) -> None:
    app = FastAPI()
    for_fastapi.RPCGuard(app, str(registry))
    router = APIRouter(dependencies=[Depends(for_fastapi.require_rpc_auth(frames=True))])

    @router.websocket("/ws/{path:path}")
    async def unchecked(
        websocket: WebSocket, caller: Annotated[Principal, Depends(for_fastapi.require_rpc_auth)]
    ) -> None:
        await websocket.accept()
        await websocket.send_text(caller.project)

    app.include_router(router)
    with servers.asgi(app) as port:
        answer = handshake(port, "/ws/limited", cred.meganode())
        assert (answer.status, answer.reason) == (403, "forbidden_method")
        headers = cred.nodius(b"") if wallet else cred.meganode()
        path = "/ws/solana" if wallet else "/ws/v1/"
        with websocket(port, path, headers) as (socket, _):
            assert socket.receive() == ("solana" if wallet else "bsc")


def test_messages_are_judged_one_by_one_for_as_long_as_the_socket_is_open(port: int) -> None:
    with websocket(port, "/checked/m", cred.meganode()) as (socket, answer):
        assert answer.status == 101
        end = time.monotonic() + 4 * RECHECK  # a recheck must not ask for a body: there is none
        while time.monotonic() < end:
            socket.send(ALLOWED)
            assert socket.receive() == "answer to limited"
            for text in (FORBIDDEN, BATCH):
                socket.send(text)
                refused = json.loads(socket.receive())
                assert refused["id"] == ("x" if text == FORBIDDEN else None)
                assert refused["error"] == {
                    "code": -32003,
                    "message": "method not allowed",
                    "data": {
                        "reason": "forbidden_method",
                        "method": "admin_peers",
                        "project": "limited",
                    },
                }
            socket.send("{")
            assert json.loads(socket.receive())["error"]["data"]["reason"] == "invalid_body"


def test_a_message_counts_as_a_call(port: int) -> None:
    with websocket(port, "/checked/n", cred.meganode()) as (socket, answer):
        assert answer.status == 101
        seen = []
        for _ in range(4):  # the handshake was the first of four
            socket.send("anything")
            seen.append(socket.receive())
        assert seen[:3] == ["answer to secure"] * 3
        error = json.loads(seen[3])["error"]
        assert (error["code"], error["data"]["reason"]) == (-32005, "rate_limited")
    answer = handshake(port, "/checked/n", cred.meganode())
    assert (answer.status, answer.reason) == (429, "rate_limited")
    assert "ratelimit" in {name.lower() for name, _ in answer.headers}
