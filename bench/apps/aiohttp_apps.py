"""aiohttp: unguarded, rpcguard, aiohttp-jwt, and a middleware of one's own with PyJWT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jwt
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_jwt import JWTMiddleware

from bench.apps import REPLY, Given
from bench.material import AUDIENCE, TARGET
from rpcguard.contrib.aiohttp import rpc_auth_middleware

CLAIMS: Any = web.RequestKey("claims", dict)


async def _rpc(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=REPLY, content_type="application/json")


def _with(*middlewares: Any) -> web.Application:
    """Return the application with its endpoint behind *middlewares*."""
    app = web.Application(middlewares=middlewares)
    app.router.add_post(TARGET, _rpc)
    return app


def unguarded(_: Given) -> web.Application:
    """Return the endpoint alone."""
    return _with()


def rpcguard(given: Given) -> web.Application:
    """Return the endpoint behind `rpc_auth_middleware`."""
    return _with(rpc_auth_middleware(given.registry))


def aiohttp_jwt(given: Given) -> web.Application:
    """Return the endpoint behind aiohttp-jwt, which takes keys as text alone."""
    return _with(
        JWTMiddleware(given.text, algorithms=[given.algorithm], audience=AUDIENCE)
    )  # fmt: skip


def plain_pyjwt(given: Given) -> web.Application:
    """Return the endpoint behind the least that one can write with PyJWT."""
    key = given.key()

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise web.HTTPUnauthorized
        try:
            claims = jwt.decode(token, key, algorithms=[given.algorithm], audience=AUDIENCE)
        except jwt.InvalidTokenError:
            raise web.HTTPUnauthorized from None
        request[CLAIMS] = claims
        return await handler(request)

    return _with(authenticate)


APPS: Mapping[str, Callable[[Given], web.Application]] = {
    "unguarded": unguarded,
    "rpcguard": rpcguard,
    "aiohttp_jwt": aiohttp_jwt,
    "plain_pyjwt": plain_pyjwt,
}
