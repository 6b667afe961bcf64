"""A guarded service in memory, asked by requests that are made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from minting import CALL, NOW, Headers

from rpcguard import AuthError, Principal, Request
from rpcguard.verifier import Verifier


class Service:
    """
    What an application behind rpcguard sees.

    Attributes:
        verifier: The verifier itself.
        now: What its clock says; a test may set it.
    """

    def __init__(self, guard: Callable[..., Verifier], registry: str, **options: Any) -> None:
        self.now: float = NOW
        options = {"backend": "memory://?restart_guard=off"} | options
        self.verifier = guard(registry, clock=lambda: self.now, **options)

    def accepts(
        self,
        target: str,
        headers: Headers | None = None,
        body: bytes | None = CALL,
        *,
        method: str = "POST",
        **facts: Any,
    ) -> Principal:
        """Return the principal of a request that must be accepted."""
        narrowed = {name: facts.pop(name) for name in ("project", "schemes") if name in facts}
        request = Request(method, target, headers or [], body, **facts)
        return self.verifier.verify(request, **narrowed)

    def refuses(self, target: str, headers: Headers | None = None, *args: Any, **facts: Any):
        """Return the refusal of a request that must be refused."""
        with pytest.raises(AuthError) as caught:
            self.accepts(target, headers, *args, **facts)
        return caught.value


@pytest.fixture
def service(guard: Callable[..., Verifier]) -> Callable[..., Service]:
    """Return a maker of services from registry text."""

    def make(registry: str, **options: Any) -> Service:
        return Service(guard, registry, **options)

    return make
