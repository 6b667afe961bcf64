"""A peer on a Unix socket is "unix", and a trusted proxy only where the registry says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from aiohttp import web
from fastapi import Depends, FastAPI
from flask import Flask
from werkzeug.serving import make_server

import rpcguard
from contrib import credentials as cred
from contrib.servers import aio
from contrib.wire import TIMEOUT, head, read_answer
from rpcguard.contrib.aiohttp import rpc_auth_middleware
from rpcguard.contrib.fastapi import RPCGuard as FastAPIGuard
from rpcguard.contrib.fastapi import require_rpc_auth
from rpcguard.contrib.flask import RPCGuard as FlaskGuard

REGISTRY = """\
version: 1
backend: "memory://?restart_guard=off"
trusted_proxies: [%s]
projects:
  bsc:
    preset: meganode
    secrets: [{id: a, secret: "${env:MEGANODE_SECRET}"}]
    allow: {ips: [203.0.113.7/32]}
"""


@contextmanager
def _uvicorn(registry: Path, path: str) -> Iterator[None]:
    app = FastAPI()
    FastAPIGuard(app, registry)
    app.post("/", dependencies=[Depends(require_rpc_auth)])(lambda: "in")
    server = uvicorn.Server(uvicorn.Config(app, uds=path, proxy_headers=False, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def _werkzeug(registry: Path, path: str) -> Iterator[None]:
    app = Flask(__name__)
    FlaskGuard(app, registry)
    app.post("/")(rpcguard.protect(lambda: "in"))
    server = make_server(f"unix://{path}", 0, app, threaded=True)
    server.log = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


@contextmanager
def _aiohttp(registry: Path, path: str) -> Iterator[None]:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="in")

    def create() -> web.Application:
        app = web.Application(middlewares=[rpc_auth_middleware(registry)])
        app.router.add_post("/", handler)
        return app

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with aio(create, listener):
            yield


def _post(path: str, headers: Any) -> int:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(path)
        sock.sendall(head("POST", "/", [*headers, ("Content-Length", "0")]))
        return read_answer(sock).status


@pytest.mark.parametrize("run", [_uvicorn, _werkzeug, _aiohttp])
@pytest.mark.parametrize(("trusted", "status"), [("unix", 200), ("127.0.0.1/32", 403)])
@pytest.mark.usefixtures("registry")
def test_a_unix_peer_is_trusted_by_name(
    run: Any, trusted: str, status: int, tmp_path: Path
) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text(REGISTRY % trusted)
    path = str(tmp_path / "s")
    with run(registry, path):
        _wait_for(path)
        forwarded = ("X-Forwarded-For", "203.0.113.7")
        assert _post(path, [*cred.meganode(), forwarded]) == status
        assert _post(path, cred.meganode()) == 403


def _wait_for(path: str) -> None:
    for _ in range(20 * int(TIMEOUT)):
        with socket.socket(socket.AF_UNIX) as sock:
            if sock.connect_ex(path) == 0:
                return
        threading.Event().wait(0.05)
    raise AssertionError("the server did not start")
