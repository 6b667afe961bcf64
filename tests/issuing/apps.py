"""One application with the issuing routes in each framework, and the servers that run them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from aiohttp import web
from contrib.servers import aio, asgi, wsgi
from fastapi import Depends, FastAPI
from flask import Flask, jsonify

import rpcguard
from rpcguard import Principal
from rpcguard.contrib import aiohttp as of_aiohttp
from rpcguard.contrib import fastapi as of_fastapi
from rpcguard.contrib import flask as of_flask

FRAMEWORKS = ["fastapi", "fastapi-whole", "flask", "aiohttp"]
Mount = dict[str, Any]


def _seen(principal: Principal) -> dict[str, str]:
    return {
        "subject": principal.subject,
        "project": principal.project,
        "scheme": principal.scheme,
    }


def create_fastapi(
    registry: Any, *mounts: Mount, everywhere: of_fastapi.RequireRPCAuth | None = None
) -> FastAPI:
    """Return an application with the routes of each of *mounts*."""
    app = FastAPI(openapi_url=None)
    guard = of_fastapi.RPCGuard(app, registry, everywhere=everywhere)
    for mount in mounts:
        app.include_router(guard.router(**mount))

    @app.post("/{path:path}")
    async def echo(
        path: str, caller: Annotated[Principal, Depends(of_fastapi.require_rpc_auth)]
    ) -> dict[str, str]:
        return _seen(caller)

    return app


def create_flask(registry: Any, *mounts: Mount) -> Flask:
    """Return an application with the routes of each of *mounts*."""
    app = Flask(__name__, static_folder=None)
    guard = of_flask.RPCGuard(app, registry)
    for mount in mounts:
        app.register_blueprint(guard.blueprint(**mount))

    @app.post("/", defaults={"path": ""})
    @app.post("/<path:path>")
    @rpcguard.protect
    def echo(path: str) -> Any:
        return jsonify(_seen(of_flask.current_principal))

    return app


def create_aiohttp(registry: Any, *mounts: Mount) -> web.Application:
    """Return an application with the routes of each of *mounts*."""
    app = web.Application(middlewares=[of_aiohttp.rpc_auth_middleware(registry)])
    for mount in mounts:
        of_aiohttp.add_auth_routes(app, **mount)

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(_seen(of_aiohttp.principal_of(request)))

    app.router.add_post("/{path:.*}", echo)
    return app


CREATE = {
    "fastapi": create_fastapi,
    "fastapi-whole": partial(create_fastapi, everywhere=of_fastapi.require_rpc_auth),
    "flask": create_flask,
    "aiohttp": create_aiohttp,
}


@contextmanager
def running(framework: str, registry: Path, *mounts: Mount) -> Iterator[int]:
    """Serve the application of *framework*; gives its port on 127.0.0.1."""
    create: Any = partial(CREATE[framework], str(registry), *mounts)
    if framework == "flask":
        server = wsgi(create())
    elif framework == "aiohttp":
        server = aio(create)
    else:
        server = asgi(create())
    with server as port:
        yield port
