"""
The guard's layer in an ASGI application: it lets the guard read the body and gives the application
the same bytes afterwards. It keeps nothing unless the guard reads, or the application reads first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rpcguard.contrib._asgi_body import KEY, Body, Receive, Send
from rpcguard.contrib._asgi_request import request_of
from rpcguard.contrib._asgi_socket import Scope, Socket
from rpcguard.contrib._http import Source
from rpcguard.contrib._openapi import Narrowing
from rpcguard.errors import AuthError

App = Callable[[Scope, Receive, Send], Awaitable[None]]

Exchange = Body | Socket  # what the guards of one connection share


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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return the application's answer to one connection, to be awaited."""
        # A plain function: a coroutine of ours around the application's would be entered again at
        # every step of the request
        earlier: Exchange | None = scope.get(KEY)
        # Mounted in an application that has one; in a copy of the scope it may be another request's
        if (
            earlier is not None
            and earlier.scope is scope
            and earlier.verifier is self._source.verifier
        ):
            return self.app(scope, receive, send)
        if scope["type"] == "http":
            verifier = self._source.verifier
            body = Body(scope, receive, send, verifier, self._is_guarded, self._excess)
            scope[KEY] = body
            return self.app(scope, body.receive, body.send)
        if scope["type"] == "websocket":
            return self._attend(scope, Socket(scope, receive, send, self._source))
        return self.app(scope, receive, send)

    async def _attend(self, scope: Scope, socket: Socket) -> None:
        scope[KEY] = socket
        try:
            await self.app(scope, socket.receive, socket.send)
        finally:
            scope.pop(KEY, None)
            await socket.end()

    def _is_guarded(self, scope: Scope) -> bool:
        # What reads before a route with dependencies has matched may be a middleware, also of a
        # mounted application: the route may have a guard
        return not hasattr(scope.get("route"), "dependant") or self._guard_of(scope) is not None

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
