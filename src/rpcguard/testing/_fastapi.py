"""Where FastAPI applications keep what `as_principal` stands in for."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from starlette.routing import Mount

from rpcguard.contrib._asgi import Layer
from rpcguard.contrib._http import Source


def sources(app: FastAPI) -> Iterator[Source]:
    """Yield the sources of *app* and of the applications that it mounts."""
    for middleware in app.user_middleware:
        kind: object = middleware.cls
        if kind is Layer:
            source: object = middleware.kwargs["source"]
            assert isinstance(source, Source)
            yield source
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from sources(route.app)
