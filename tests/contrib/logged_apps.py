"""
One small application per framework, whose handlers may fail, behind servers that log all they can:
the loggers of servers and frameworks have rpcguard's filter, as the documentation says.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from aiohttp import web
from fastapi import Depends, FastAPI, Request, WebSocket
from flask import Flask, request
from flask_sock import Sock
from werkzeug.serving import WSGIRequestHandler

import rpcguard
from contrib import servers
from contrib.websocket_apps import _gunicorn, _uvicorn
from rpcguard import Principal, Verifier
from rpcguard.contrib import aiohttp as for_aiohttp
from rpcguard.contrib import fastapi as for_fastapi
from rpcguard.contrib import flask as for_flask
from rpcguard.contrib.redaction import redacting_filter

SERVERS = ["uvicorn-auto", "uvicorn-wsproto", "werkzeug", "gunicorn", "aiohttp"]
LOGGERS = [
    *("uvicorn.access", "uvicorn.error", "werkzeug", "gunicorn.access", "gunicorn.error"),
    *("aiohttp.access", "aiohttp.server", "aiohttp.web", "aiohttp.websocket", "logged"),
]
BOOM = "boom=1"
Caller = Annotated[Principal, Depends(for_fastapi.require_rpc_auth)]
STATIC = "0123456789abcdef0123456789abcdef"
STATIC_BEARER = "nod_fedcba9876543210fedcba9876543210"

REGISTRY = """\
version: 1
backend: "memory://?restart_guard=off"
projects:
  bsc:
    preset: meganode
    match: {path: [/v1/, /ws/v1/]}
    api_keys: [{id: ops, digest: "sha256:DIGEST"}]
  asked:
    preset: bearer
    match: {path: [/asked, /ws/asked]}
    api_key: {read: [bearer, header, query], prefix: nod_, header: X-Api-Key, query: key}
    api_keys:
      - {id: ops, digest: "sha256:DIGEST"}
      - {id: by-bearer, digest: "sha256:BEARER"}
"""


def write_registry(folder: Path) -> Path:
    """Write the registry; it knows `STATIC` and `STATIC_BEARER`."""
    text = REGISTRY.replace("DIGEST", hashlib.sha256(STATIC.encode()).hexdigest())
    text = text.replace("BEARER", hashlib.sha256(STATIC_BEARER.encode()).hexdigest())
    path = folder / "registry.yaml"
    path.write_text(text)
    return path


def guard_logs(verifier: Verifier) -> None:
    """Put the filter on every logger of `LOGGERS`."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(redacting_filter(verifier))


def fastapi_app(registry: str) -> FastAPI:
    """Return the application in FastAPI."""
    app = FastAPI(openapi_url=None)
    guard_logs(for_fastapi.RPCGuard(app, registry).verifier)

    @app.post("/{path:path}")
    async def rpc(request: Request, path: str, caller: Caller) -> str:
        if BOOM in request.url.query:
            raise RuntimeError(f"failed at {request.url}")
        return caller.subject

    @app.websocket("/ws/{path:path}")
    async def ws(websocket: WebSocket, caller: Caller) -> None:
        await websocket.accept()
        await websocket.send_text(caller.subject)
        if BOOM in websocket.url.query:
            raise RuntimeError(f"failed at {websocket.url}")
        await websocket.close()

    return app


def flask_app(registry: str | None = None) -> Flask:
    """Return the application in Flask."""
    app = Flask("logged", static_folder=None)
    app.url_map.merge_slashes = False
    guard_logs(for_flask.RPCGuard(app, registry).verifier)
    sock = Sock(app)

    @app.get("/open")
    def open_to_all() -> str:
        return "open"

    @app.post("/<path:path>")
    @rpcguard.protect
    def rpc(path: str) -> str:
        if BOOM.encode() in request.query_string:
            raise RuntimeError(f"failed at {request.url}")
        return for_flask.current_principal.subject

    @sock.route("/ws/<path:path>")
    @rpcguard.protect
    def ws(websocket: Any, path: str) -> None:
        websocket.send(for_flask.current_principal.subject)
        if BOOM.encode() in request.query_string:
            raise RuntimeError(f"failed at {request.url}")

    return app


def aiohttp_app(registry: str) -> web.Application:
    """Return the application in aiohttp."""
    guard = for_aiohttp.rpc_auth_middleware(registry)
    guard_logs(guard.verifier)
    app = web.Application(middlewares=[guard])

    async def rpc(request: web.Request) -> web.Response:
        if BOOM in request.query_string:
            raise RuntimeError(f"failed at {request.url}")
        return web.Response(text=for_aiohttp.principal_of(request).subject)

    async def ws(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await websocket.send_str(for_aiohttp.principal_of(request).subject)
        if BOOM in request.query_string:
            raise RuntimeError(f"failed at {request.url}")
        return websocket

    app.router.add_post("/{path:.*}", rpc)
    app.router.add_get("/ws/{path:.*}", ws)
    return app


class _Handler(servers._Handler):
    log = WSGIRequestHandler.log


@contextmanager
def serve(name: str, registry: Path) -> Iterator[int]:
    """Run the application behind the server *name*, which logs; gives the port."""
    if name == "gunicorn":
        with _gunicorn(registry, "contrib.logged_apps:flask_app()", "--log-level", "debug") as port:
            yield port
    elif name == "werkzeug":
        with servers.wsgi(flask_app(str(registry)), _Handler) as port:
            yield port
    elif name == "aiohttp":
        log = logging.getLogger("aiohttp.access")
        with servers.aio(lambda: aiohttp_app(str(registry)), access_log=log) as port:
            yield port
    else:
        with _uvicorn(fastapi_app(str(registry)), name.partition("-")[2]) as port:
            yield port
