"""Where aiohttp applications keep what `as_principal` stands in for."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from aiohttp.web_urldispatcher import PrefixedSubAppResource

from rpcguard.contrib._http import Source
from rpcguard.contrib.aiohttp import RPCAuthMiddleware


def sources(app: web.Application) -> Iterator[Source]:
    """Yield the sources of *app* and of its sub-applications."""
    for middleware in app.middlewares:
        if isinstance(middleware, RPCAuthMiddleware):
            yield middleware._source  # noqa: SLF001 - ours
    for resource in app.router.resources():
        if isinstance(resource, PrefixedSubAppResource):
            yield from sources(resource._app)  # noqa: SLF001 - nothing public gives it
