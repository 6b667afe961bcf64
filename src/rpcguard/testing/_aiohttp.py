"""`as_principal` for aiohttp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_urldispatcher import PrefixedSubAppResource

from rpcguard.contrib._http import Source
from rpcguard.contrib.aiohttp import RPCAuthMiddleware
from rpcguard.principal import Principal
from rpcguard.testing._stand_in import StandIn
from rpcguard.testing.impersonation import not_guarded


@contextmanager
def override(app: web.Application, principal: Principal) -> Iterator[None]:
    """See `as_principal`."""
    guards = [
        middleware
        for each in _with_mounted(app)
        for middleware in each.middlewares
        if isinstance(middleware, RPCAuthMiddleware)
    ]
    if not guards:
        not_guarded()
    before = [(guard, guard._source) for guard in guards]  # noqa: SLF001
    for guard, real in before:
        guard._source = Source(StandIn(real.verifier, principal), real.recheck)  # noqa: SLF001
    try:
        yield
    finally:
        for guard, real in before:
            guard._source = real  # noqa: SLF001


def _with_mounted(app: web.Application) -> Iterator[web.Application]:
    yield app
    for resource in app.router.resources():
        if isinstance(resource, PrefixedSubAppResource):
            yield from _with_mounted(resource._app)  # noqa: SLF001 - nothing public gives it
