"""`as_principal` for FastAPI: every guard overridden, the narrowed ones too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from rpcguard.contrib._asgi import Layer
from rpcguard.contrib._asgi_request import request_of
from rpcguard.contrib.fastapi import RequireRPCAuth, _guards
from rpcguard.principal import Principal
from rpcguard.testing.impersonation import check, is_local, not_guarded


@contextmanager
def override(app: FastAPI, principal: Principal) -> Iterator[None]:
    """See `as_principal`."""
    classes: list[object] = [middleware.cls for middleware in app.user_middleware]
    if Layer not in classes:
        not_guarded()
    overrides = [each.dependency_overrides for each in _with_mounted(app)]
    before = [dict(each) for each in overrides]
    known = list(_guards.values())
    for each in overrides:
        each.update({guard: _admitting(guard, principal) for guard in known})
    try:
        yield
    finally:
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
    schemes, project = guard.narrowing

    async def admitted(connection: HTTPConnection) -> Principal:
        if not is_local(request_of(connection.scope).client):
            return await guard(connection)
        check(principal, schemes, project)
        connection.state.principal = principal
        return principal

    return admitted
