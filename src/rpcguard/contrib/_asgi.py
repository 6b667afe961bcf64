"""
The guard's layer in an ASGI application: it lets the guard read the body and gives the application
the same bytes afterwards. It keeps nothing unless the guard reads, or the application reads first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from rpcguard.contrib._asgi_body import Body, Receive, Send, answering
from rpcguard.contrib._asgi_request import request_of
from rpcguard.contrib._asgi_socket import Scope, Socket
from rpcguard.contrib._http import Source, Verdicts
from rpcguard.contrib._openapi import Narrowing
from rpcguard.contrib._sockets import Watch
from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: Final = "rpcguard"  # where the scope holds the Exchange; mounted applications inherit it


class Exchange:
    """
    What the guards of one connection share.

    Attributes:
        verifier: Asked by all of them.
        body: The request's body; None for a WebSocket handshake, which has none.
        verdicts: What they have found.
    """

    __slots__ = ("_recheck", "_socket", "body", "verdicts", "verifier")

    def __init__(self, source: Source, connection: Body | Socket) -> None:
        self.verifier = source.verifier
        self.body = connection if isinstance(connection, Body) else None
        self.verdicts = Verdicts()
        self._socket = connection if isinstance(connection, Socket) else None
        self._recheck = source.recheck

    def request_of(self, scope: Scope) -> Request:
        """Return the request or handshake that *scope* describes, with all that it came with."""
        if self._socket is None or self._socket.watch is None:
            return request_of(scope)
        return self._socket.watch.request  # the first guard's: its token is hidden since then

    def admit(
        self,
        scope: Scope,
        request: Request,
        guard: Narrowing,
        principal: Principal,
    ) -> None:
        """Remember that *guard* has let *principal* in."""
        self.verdicts.add(self.verifier, principal)
        if self.body is not None:
            self.body.release()
        if self._socket is not None:
            watch = self._socket.watch or Watch(request, self._recheck)
            watch.add(self.verifier, guard.project, guard.schemes, principal, frames=guard.frames)
            self._socket.admit(scope, watch)


class Layer:
    """Pure-ASGI middleware: puts an `Exchange` into each connection's scope."""

    def __init__(
        self, app: App, source: Source, guard_of: Callable[[Scope], Narrowing | None]
    ) -> None:
        """
        Args:
            app: The application below.
            source: Its verifier.
            guard_of: Tells what the guard of the matched route takes; None for an open route.
        """
        self.app = app
        self._source = source
        self._guard_of = guard_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            verifier = self._source.verifier
            body = Body(
                receive,
                _declared(scope),
                verifier.registry.bounds,
                lambda: _excess(verifier, request_of(scope), self._guard_of(scope)),
            )
            scope[KEY] = Exchange(self._source, body)
            await self.app(scope, body.receive, answering(scope, body, send))
        elif scope["type"] == "websocket":
            socket = Socket(receive, send)
            scope[KEY] = Exchange(self._source, socket)
            try:
                await self.app(scope, socket.receive, socket.send)
            finally:
                await socket.end()
        else:
            await self.app(scope, receive, send)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _excess(
    verifier: Verifier, request: Request, guard: Narrowing | None
) -> AuthError | None:
    """Return the refusal of a too large body that the application reads and the guard will need."""
    if guard is None:
        return None
    if not verifier.wants_body(request, project=guard.project):
        return None
    try:
        await verifier.averify(request, _too_large, project=guard.project, schemes=guard.schemes)
    except AuthError as error:
        return error
    return None


async def _too_large(_: int) -> bytes:
    raise AuthError("body_too_large")
