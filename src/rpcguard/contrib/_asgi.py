"""
The guard's layer in an ASGI application: it lets the guard read the body and gives the application
the same bytes afterwards. It keeps nothing unless the guard reads, or the application reads first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from rpcguard.contrib._asgi_body import Body, Receive, Send
from rpcguard.contrib._asgi_request import request_of
from rpcguard.contrib._asgi_socket import Scope, Socket
from rpcguard.contrib._http import Passed, Source
from rpcguard.contrib._openapi import Narrowing
from rpcguard.contrib._sockets import Watch
from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request

App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: Final = "rpcguard"  # where the scope holds the Exchange; mounted applications inherit it


class Exchange:
    """
    What the guards of one connection share.

    Attributes:
        verifier: Asked by all of them.
        body: The request's body; None for a WebSocket handshake, which has none.
        passed: The principals that they have let in.
    """

    __slots__ = ("_recheck", "_socket", "body", "passed", "verifier")

    def __init__(self, source: Source, body: Body | None, socket: Socket | None) -> None:
        self.verifier = source.verifier
        self.body = body
        self.passed: Passed = ()
        self._socket = socket
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
        self.passed += ((self.verifier, principal),)
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
            body = Body(scope, receive, send, self._source.verifier, self._excess)
            scope[KEY] = Exchange(self._source, body, None)
            await self.app(scope, body.receive, body.send)
        elif scope["type"] == "websocket":
            socket = Socket(receive, send)
            scope[KEY] = Exchange(self._source, None, socket)
            try:
                await self.app(scope, socket.receive, socket.send)
            finally:
                await socket.end()
        else:
            await self.app(scope, receive, send)

    async def _excess(self, scope: Scope) -> AuthError | None:
        """Return the refusal of a too large body that the app reads and the guard will need."""
        guard, request = self._guard_of(scope), request_of(scope)
        verifier = self._source.verifier
        if guard is None or not verifier.wants_body(request, project=guard.project):
            return None
        try:
            await verifier.averify(
                request, _too_large, project=guard.project, schemes=guard.schemes
            )
        except AuthError as error:
            return error
        return None


async def _too_large(_: int) -> bytes:
    raise AuthError("body_too_large")
