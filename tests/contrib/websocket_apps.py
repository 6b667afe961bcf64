"""
One small application with WebSockets per framework, behind real servers, and its registry.

Every socket answers each text with what its handler sees: the subprotocols that the client offers,
the principal, and the text itself. The applications support the subprotocol `jsonrpc`, and have the
routes that issue credentials for the project `solana`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from aiohttp import WSMsgType, web
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from flask import Flask, request
from flask_sock import Sock
from websockets.sync.client import ClientConnection, connect

import rpcguard
from contrib import servers
from contrib.credentials import PUBKEY
from contrib.fastapi_routes import let_in
from contrib.wire import TIMEOUT
from contrib.wire import request as http
from rpcguard import Principal, Verifier
from rpcguard.contrib import aiohttp as for_aiohttp
from rpcguard.contrib import fastapi as for_fastapi
from rpcguard.contrib import flask as for_flask

RECHECK = 0.3  # seconds
FIELD = "Sec-WebSocket-Protocol"
SECRETS = {"SESSION_SECRET": "a session secret of more than 32 bytes"}

REGISTRY = """\
version: 1
backend: sqlite:///state.db?timeout=10s
projects:
  solana:
    preset: nodius
    match: {path: /ws/solana}
    wallets: open
    session: {secret: "${env:SESSION_SECRET}"}
  brief:
    preset: nodius
    match: {path: /ws/brief}
    wallets: open
    session: {secret: "${env:SESSION_SECRET}"}
  listed:
    preset: nodius
    match: {path: /ws/listed}
    wallets: [{pubkey: LISTED}]
    session: {secret: "${env:SESSION_SECRET}"}
  sited:
    preset: nodius
    match: {path: /ws/sited}
    wallets: open
    session: {secret: "${env:SESSION_SECRET}"}
    allow: {origins: ["https://good.example"]}
  bsc:
    preset: meganode
    match: {path: /ws/bsc}
    secrets: [{id: a, secret: "${env:SESSION_SECRET}"}]
"""


def fastapi_app(registry: str | Verifier, *, whole: bool = False) -> FastAPI:
    """Return the application in FastAPI, guarded as a *whole* or by its route."""
    app, judge = FastAPI(openapi_url=None), for_fastapi.require_rpc_auth
    if whole:
        guard = for_fastapi.RPCGuard(
            app, registry, everywhere=judge, exempt=["/open"], recheck=RECHECK
        )
        app.dependency_overrides[judge] = let_in
    else:
        guard = for_fastapi.RPCGuard(app, registry, recheck=RECHECK)
    app.include_router(guard.router(project="solana"))

    @app.get("/open")
    async def open_to_all() -> str:
        return "open"

    @app.websocket("/ws/{path:path}")
    async def ws(
        websocket: WebSocket, caller: Annotated[Principal, Depends(for_fastapi.require_rpc_auth)]
    ) -> None:
        offered = websocket.scope["subprotocols"]
        assert ", ".join(offered) == websocket.headers.get(FIELD, "")
        await websocket.accept("jsonrpc" if "jsonrpc" in offered else None)
        try:
            while True:
                text = await websocket.receive_text()
                await websocket.send_json([offered, caller.project, caller.scheme, text])
        except WebSocketDisconnect:
            pass

    return app


def flask_app(registry: str | Verifier | None = None) -> Flask:
    """Return the application in Flask."""
    app = Flask(__name__, static_folder=None)
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["jsonrpc"]}
    guard = for_flask.RPCGuard(app, registry, recheck=RECHECK)
    app.register_blueprint(guard.blueprint(project="solana"))
    sock = Sock(app)

    @app.get("/open")
    def open_to_all() -> str:
        return "open"

    @app.post("/silence")
    def silence() -> str:
        """From now on the backend gives no answer, in this process."""
        guard.verifier._backend.close()
        return "silent"

    @sock.route("/ws/<path:path>")
    @rpcguard.protect
    def ws(websocket: Any, path: str) -> None:
        offered = [name for name in request.headers.get(FIELD, "").split(", ") if name]
        caller = for_flask.current_principal
        while True:
            text = websocket.receive()
            websocket.send(json.dumps([offered, caller.project, caller.scheme, text]))

    return app


def aiohttp_app(registry: str | Verifier) -> web.Application:
    """Return the application in aiohttp."""
    guard = for_aiohttp.rpc_auth_middleware(registry, exempt=["/open"], recheck=RECHECK)
    app = web.Application(middlewares=[guard])
    for_aiohttp.add_auth_routes(app, project="solana")

    async def open_to_all(_: web.Request) -> web.Response:
        return web.Response(text="open")

    async def ws(request: web.Request) -> web.StreamResponse:
        offered = [name for name in request.headers.get(FIELD, "").split(", ") if name]
        assert all(b"auth." not in value for _, value in request.raw_headers)
        websocket = web.WebSocketResponse(protocols=["jsonrpc"])
        await websocket.prepare(request)
        caller = for_aiohttp.principal_of(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                seen = [offered, caller.project, caller.scheme, message.data]
                await websocket.send_json(seen)
        return websocket

    app.router.add_get("/open", open_to_all)
    app.router.add_get("/ws/{path:.*}", ws)
    return app


def write_registry(folder: Path, listed: str) -> Path:
    """Write the registry; `SECRETS` must be in the environment when it is loaded."""
    path = folder / "registry.yaml"
    path.write_text(REGISTRY.replace("LISTED", listed))
    return path


@dataclass
class Served:
    """A running server, and a verifier of this process on the same registry and backend."""

    name: str
    port: int
    verifier: Verifier
    registry: Path

    def token(self, project: str = "solana", subject: str = PUBKEY) -> str:
        """Return a new session token."""
        token: str = self.verifier.issue(project, subject)["token"]
        return token

    def brief(self, seconds: float) -> dict[str, Any]:
        """Return a new session of the project `brief` that ends within *seconds* from now."""
        lasts = 3600  # as issued; whoever issues it is so much behind
        with Verifier.from_yaml(
            self.registry, clock=lambda: time.time() - lasts + seconds, watch=False
        ) as earlier:
            issued: dict[str, Any] = earlier.issue("brief", PUBKEY)
        return issued

    def connect(
        self,
        path: str = "solana",
        *,
        bearer: str | None = None,
        offer: list[str] | None = None,
        headers: Any = (),
    ) -> ClientConnection:
        """Open a socket with the `websockets` library."""
        fields = [*headers, *([("Authorization", f"Bearer {bearer}")] if bearer else [])]
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/{path}",
            subprotocols=offer,  # type: ignore[arg-type]
            additional_headers=fields,
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            proxy=None,
        )


@contextmanager
def _uvicorn(app: Any, implementation: str) -> Iterator[int]:
    # With its own log level and handlers: what it logs must reach the tests
    config = uvicorn.Config(app, proxy_headers=False, log_config=None, ws=implementation)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    with servers._listener() as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "uvicorn did not stop"


@contextmanager
def _gunicorn(
    registry: Path, app: str = "contrib.websocket_apps:flask_app()", *options: str
) -> Iterator[int]:
    tests = Path(__file__).parent.parent
    environ = {**os.environ, "RPCGUARD_REGISTRY": str(registry), "PYTHONPATH": str(tests)}
    source = str(Path(rpcguard.__file__).parents[1])
    environ["PYTHONPATH"] = os.pathsep.join([str(tests), source])
    with servers._listener() as listener, (registry.parent / "log").open("wb") as log:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"]
        command += [
            "--worker-class",
            "gthread",
            "--threads",
            "64",
            "--graceful-timeout",
            "5",
            "--access-logfile",
            "-",
        ]
        if "control_socket_disable" in servers.make_settings():
            command.append("--no-control-socket")
        process = subprocess.Popen(
            [*command, *options, app],
            env=environ,
            pass_fds=[listener.fileno()],
            cwd=tests,
            stdout=log,
            stderr=log,
        )
        try:
            assert http(port, "GET", "/open").status == 200
            yield port
        finally:
            process.terminate()
            assert process.wait(TIMEOUT) == 0


@contextmanager
def serve(name: str, registry: Path, verifier: Verifier | None = None) -> Iterator[int]:
    """
    Run the application behind the server *name*; gives the port.

    Args:
        name: A server.
        registry: Path of the registry.
        verifier: What to give the application instead, where it runs in this process.
    """
    given = verifier or str(registry)
    if name == "gunicorn":
        with _gunicorn(registry) as port:
            yield port
    elif name == "werkzeug":
        with servers.wsgi(flask_app(given)) as port:
            yield port
    elif name == "aiohttp":
        with servers.aio(lambda: aiohttp_app(given)) as port:
            yield port
    elif name == "uvicorn-whole":
        with _uvicorn(fastapi_app(given, whole=True), "auto") as port:
            yield port
    else:
        with _uvicorn(fastapi_app(given), name.partition("-")[2]) as port:
            yield port


def until(condition: Any, seconds: float = TIMEOUT) -> bool:
    """Wait for *condition*, which other threads or processes bring about; return whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
