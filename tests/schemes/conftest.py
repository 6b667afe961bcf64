"""One request as a scheme sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from minting import CALL, Headers

from rpcguard import Request
from rpcguard.schemes.base import Incoming


@pytest.fixture
def incoming() -> Callable[..., Incoming]:
    """Return a maker of requests with all of their header fields read."""

    def make(
        headers: Headers | None = None,
        target: str = "/rpc",
        body: bytes | None = CALL,
        *,
        method: str = "POST",
        rest: str = "",
        **facts: object,
    ) -> Incoming:
        request = Request(method, target, headers or [], body, **facts)
        names = frozenset(name.lower().replace("_", "-") for name, _ in request.headers)
        path = target.partition("?")[0]
        return Incoming(request, path, path, target, rest, request.fields(names))

    return make
