"""
The guard's layer in an ASGI application: it lets the guard read the body and gives the application
the same bytes afterwards. It keeps nothing unless the guard reads, or the application reads first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from rpcguard.contrib._asgi_request import encoded, request_of
from rpcguard.contrib._asgi_socket import Message, Scope, Socket
from rpcguard.contrib._http import Source, Verdicts, refusal
from rpcguard.contrib._openapi import Narrowing
from rpcguard.contrib._sockets import Watch
from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: Final = "rpcguard"  # where the scope holds the Exchange; mounted applications inherit it


class DisconnectedError(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


class Body:
    """
    A request's body on its way to the application.

    Until the guard has decided, what the application reads is kept up to a limit, so that the guard
    can still hash it: FastAPI reads the body of a route with a body model before its dependencies.
    """

    def __init__(
        self,
        receive: Receive,
        declared: int,
        limit: int,
        excess: Callable[[], Awaitable[AuthError | None]],
    ) -> None:
        """
        Args:
            receive: The server's channel.
            declared: The length that the request declares, 0 if it declares none.
            limit: Bytes kept of what the application reads before the guard.
            excess: Gives the refusal of a body beyond the limit, None where no guard would read it.
        """
        self._receive = receive
        self._declared = declared
        self._limit = limit
        self._excess = excess
        self._kept = bytearray()
        self._given = 0  # how much of _kept the application has got
        self._ended = False  # the server has no more
        self._told = False  # and the application knows it
        self._keeping = True
        self._lost = False  # some bytes passed that are not in _kept
        self._exceeded = False
        self.error: AuthError | None = None  # raised into the application, which may hide it

    @property
    def whole(self) -> bytes | None:
        """The body, where all of it was read and kept."""
        return bytes(self._kept) if self._ended and not self._lost else None

    async def receive(self) -> Message:
        """
        Return the next message for the application.

        Raises:
            AuthError: If the body exceeds the limit and a guard would have to read it.
        """
        if self._given < len(self._kept) or (self._ended and not self._told):
            data = bytes(memoryview(self._kept)[self._given :])
            self._told = self._ended
            if self._keeping:
                self._given += len(data)
            else:
                self._drop()
            return {"type": "http.request", "body": data, "more_body": not self._ended}
        message = await self._receive()
        if message["type"] == "http.request":
            self._take(message)
            self._given, self._told = len(self._kept), self._ended
            if len(self._kept) > self._limit:
                self._drop()
                self._exceeded = True
                self.error = await self._excess()
                if self.error is not None:
                    raise self.error
        return message

    async def read(self, limit: int) -> bytes:
        """
        Return the whole body, for the guard.

        Raises:
            AuthError: `body_too_large`, if it exceeds *limit* bytes.
            DisconnectedError: If the client went away.
            RuntimeError: If the application consumed the body after a guard had decided without it.
        """
        if self._declared > limit:
            raise AuthError("body_too_large")
        self._keeping = True
        while not self._ended and not self._lost and len(self._kept) <= limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DisconnectedError
            self._take(message)
        if self._exceeded or len(self._kept) > limit:
            self._drop()
            raise AuthError("body_too_large")
        if self._lost:
            raise RuntimeError("the body was consumed before this guard could read it")
        return bytes(self._kept)

    def release(self) -> None:
        """Keep no further bytes: the guard has decided."""
        self._keeping = False

    def _take(self, message: Message) -> None:
        chunk = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        if self._keeping:
            self._kept += chunk
        elif chunk:
            self._drop()

    def _drop(self) -> None:
        self._kept = bytearray()
        self._given = 0
        self._keeping = False
        self._lost = True


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
            limit = verifier.registry.bounds.max_body
            body = Body(
                receive,
                _declared(scope),
                limit,
                lambda: _excess(verifier, request_of(scope), self._guard_of(scope)),
            )
            scope[KEY] = Exchange(self._source, body)
            await self.app(scope, body.receive, _refusing(body, send))
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


def _refusing(body: Body, send: Send) -> Send:
    """Return *send*, but once the body has been refused, no answer but ours leaves."""
    started = False

    async def guarded(message: Message) -> None:
        nonlocal started
        if body.error is None or started:
            started = True
            await send(message)
        elif message["type"] == "http.response.start":
            status, headers, content = refusal(body.error)
            headers.append(("Content-Length", str(len(content))))
            await send({"type": message["type"], "status": status, "headers": encoded(headers)})
            await send({"type": "http.response.body", "body": content})

    return guarded
