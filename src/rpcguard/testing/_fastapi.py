"""`as_principal` for FastAPI: every guard overridden, the narrowed ones too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import cast

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from rpcguard.contrib._asgi import Layer
from rpcguard.contrib._asgi_request import request_of
from rpcguard.contrib._http import Source
from rpcguard.contrib.fastapi import RequireRPCAuth, _guards
from rpcguard.principal import Principal
from rpcguard.testing._stand_in import StandIn
from rpcguard.testing.impersonation import check, is_local, not_guarded


@contextmanager
def override(app: FastAPI, principal: Principal) -> Iterator[None]:
    """See `as_principal`."""
    sources: list[Source] = [
        middleware.kwargs["source"]  # type: ignore[misc]
        for middleware in app.user_middleware
        if cast("object", middleware.cls) is Layer
    ]
    if not sources:
        not_guarded()
    (source,) = sources
    stand_in = StandIn(source.verifier, principal)
    real, source.verifier = source.verifier, stand_in  # for messages of WebSockets
    overrides = [each.dependency_overrides for each in _with_mounted(app)]
    before = [dict(each) for each in overrides]
    known = list(_guards.values())
    for each in overrides:
        each.update({guard: _admitting(guard, principal) for guard in known})
    try:
        yield
    finally:
        if source.verifier is stand_in:  # else a test client has closed it and opened another
            source.verifier = real
        for each, was in zip(overrides, before, strict=True):
            for guard in known:
                each.pop(guard, None)
                if guard in was:
                    each[guard] = was[guard]


def _with_mounted(app: FastAPI) -> Iterator[FastAPI]:
    yield app
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from _with_mounted(route.app)


def _admitting(
    guard: RequireRPCAuth, principal: Principal
) -> Callable[[HTTPConnection], Awaitable[Principal]]:
    schemes, project, _ = guard.narrowing

    async def admitted(connection: HTTPConnection) -> Principal:
        if not is_local(request_of(connection.scope).client):
            return await guard(connection)
        check(principal, schemes, project)
        connection.state.principal = principal
        return principal

    return admitted
