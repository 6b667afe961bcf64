"""One guarded application in each framework, with its metrics at /metrics/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from aiohttp import WSMsgType, web
from contrib.servers import aio, asgi, wsgi
from fastapi import Depends, FastAPI, WebSocket
from flask import Flask, Response
from flask_sock import Sock
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    generate_latest,
    make_asgi_app,
    make_wsgi_app,
)
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import rpcguard
from rpcguard import AuthError, Principal
from rpcguard.contrib.aiohttp import (
    add_auth_routes,
    checks_frames,
    principal_of,
    rpc_auth_middleware,
)
from rpcguard.contrib.fastapi import RPCGuard as FastAPIGuard
from rpcguard.contrib.fastapi import require_rpc_auth
from rpcguard.contrib.flask import RPCGuard as FlaskGuard
from rpcguard.contrib.flask import current_principal
from rpcguard.observer import Observer

FRAMEWORKS = ["fastapi", "flask", "aiohttp"]


def fastapi_app(path: str, observers: Iterable[Observer], metrics: CollectorRegistry) -> FastAPI:
    """FastAPI."""
    app = FastAPI()
    guard = FastAPIGuard(app, path, observers=observers)
    app.include_router(guard.router(project="solana"))
    app.mount("/metrics", make_asgi_app(metrics))

    @app.post("/{rest:path}")
    async def rpc(rest: str, principal: Annotated[Principal, Depends(require_rpc_auth)]) -> str:
        return principal.subject

    @app.websocket("/ws/{rest:path}")
    async def ws(
        websocket: WebSocket,
        rest: str,
        principal: Annotated[Principal, Depends(require_rpc_auth(frames=True))],
    ) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            try:
                await guard.check_message(principal, text)
                answer = "{}"
            except AuthError as error:
                answer = guard.refusal_text(error, text)
            await websocket.send_text(answer)

    return app


def flask_app(path: str, observers: Iterable[Observer], metrics: CollectorRegistry) -> Flask:
    """Flask."""
    app = Flask(__name__, static_folder=None)
    guard = FlaskGuard(app, path, observers=observers)
    app.register_blueprint(guard.blueprint(project="solana"))
    sock = Sock(app)

    @app.post("/<path:rest>")
    @rpcguard.protect
    def rpc(rest: str) -> Response:
        return Response(current_principal.subject)

    @sock.route("/ws/<path:rest>")
    @rpcguard.protect(frames=True)
    def ws(websocket: Any, rest: str) -> None:
        while True:
            text = websocket.receive()
            try:
                guard.check_message(current_principal, text)
                answer = "{}"
            except AuthError as error:
                answer = guard.refusal_text(error, text)
            websocket.send(answer)

    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"/metrics": make_wsgi_app(metrics)}
    )
    return app


def aiohttp_app(
    path: str, observers: Iterable[Observer], metrics: CollectorRegistry
) -> web.Application:
    """aiohttp."""
    guard = rpc_auth_middleware(path, exempt=["/metrics/"], observers=observers)
    app = web.Application(middlewares=[guard])

    async def exposed(_: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(metrics), headers=headers)

    async def rpc(request: web.Request) -> web.Response:
        return web.Response(text=principal_of(request).subject)

    @checks_frames
    async def ws(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                try:
                    await guard.check_message(principal_of(request), message.data)
                    answer = "{}"
                except AuthError as error:
                    answer = guard.refusal_text(error, message.data)
                await websocket.send_str(answer)
        return websocket

    add_auth_routes(app, project="solana")
    app.router.add_get("/metrics/", exposed)
    app.router.add_get("/ws/{rest:.*}", ws)
    app.router.add_post("/{rest:.*}", rpc)
    return app


@contextmanager
def serve(
    framework: str, path: Path, observers: Iterable[Observer], metrics: CollectorRegistry
) -> Iterator[int]:
    """Run the application of *framework* on a server in this process; gives the port."""
    if framework == "fastapi":
        with asgi(fastapi_app(str(path), observers, metrics)) as port:
            yield port
    elif framework == "flask":
        with wsgi(flask_app(str(path), observers, metrics)) as port:
            yield port
    else:
        with aio(lambda: aiohttp_app(str(path), observers, metrics)) as port:
            yield port
