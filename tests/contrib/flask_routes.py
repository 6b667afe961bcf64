"""The suite's application in Flask."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response, request
from flask.typing import ResponseReturnValue
from flask_sock import Sock
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import rpcguard
from rpcguard.contrib.flask import RPCGuard, current_principal

METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS"]


class AsyncFlask(Flask):
    """Flask that runs async views by asyncio alone, through the hook that Flask has for it."""

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return *func* as a plain function."""

        @functools.wraps(func)
        def run(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run(func(*args, **kwargs))

        return run


def _seen(content: bytes) -> Response:
    headers = {
        "X-Subject": current_principal.subject,
        "X-Project": current_principal.project,
        "X-Scheme": current_principal.scheme,
    }
    return Response(content, headers=headers, mimetype="application/octet-stream")


def _routes(app: Flask) -> None:
    blueprint = Blueprint("rpc", __name__)

    @app.get("/open")
    def open_to_all() -> str:
        return "open"

    @app.post("/open-upload")
    def open_upload() -> str:
        return str(len(request.get_data()))

    @app.post("/narrow/<path:path>")
    @rpcguard.protect(schemes=["signature"], project="solana")
    def narrow(path: str) -> Response:
        return _seen(request.get_data())

    @app.post("/twice/<path:path>")
    @rpcguard.protect
    @rpcguard.protect(schemes=["signature"], project="solana")
    def twice(path: str) -> Response:
        return _seen(request.get_data())

    @app.post("/<path:path>/first")
    @rpcguard.protect
    def first(path: str) -> Response:
        return _seen(request.stream.read(1))

    @app.post("/<path:path>/stream")
    @rpcguard.protect()
    def stream(path: str) -> Response:
        digest = hashlib.sha256()
        while chunk := request.stream.read(65536):
            digest.update(chunk)
        return _seen(digest.hexdigest().encode())

    @app.post("/<path:path>/json")
    @rpcguard.protect
    async def as_json(path: str) -> Response:
        return _seen(request.get_json()["text"].encode())

    @blueprint.route("/<path:path>", methods=METHODS)
    @rpcguard.protect
    def echo(path: str) -> Response:
        return _seen(request.get_data())

    app.register_blueprint(blueprint)


def _websockets(app: Flask) -> None:
    sock = Sock(app)

    @rpcguard.protect
    def admitted() -> None:
        """Let the request go on."""

    @app.before_request
    def guard_handshake() -> ResponseReturnValue | None:
        return admitted() if request.url_rule and request.url_rule.websocket else None

    @sock.route("/<path:path>")
    def ws(websocket: Any, path: str) -> None:
        while True:
            text = websocket.receive()
            websocket.send(json.dumps([json.loads(text), current_principal.project]))


def create(registry: str | None = None) -> Flask:
    """Return the application, with the same routes again in an application mounted at /mnt."""
    app = AsyncFlask(__name__, static_folder=None)
    sub = AsyncFlask(__name__, static_folder=None)
    guard = RPCGuard(app, registry)
    RPCGuard(sub, guard.verifier)
    for each in (app, sub):
        each.url_map.merge_slashes = False
        _routes(each)
        _websockets(each)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mnt": sub})  # type: ignore[method-assign]
    return app
