"""The body of an ASGI request between the server, the guard and the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from rpcguard.contrib._asgi_request import encoded, usual
from rpcguard.contrib._asgi_socket import Message, Scope
from rpcguard.contrib._http import Passed, refusal, slow_body
from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.project import Bounds
from rpcguard.verifier import Verifier

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KEY: Final = "rpcguard"  # where the scope holds what its guards share; mounted applications too

_LINGER: Final = 5.0  # seconds that are spent on the rest of a body that was refused
_LINGER_SIZE: Final = 64 * 1024 * 1024  # and bytes
_LENGTH_DIGITS: Final = 100
_CLOSE: Final = (b"connection", b"close")


class DisconnectedError(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


class Body:
    """
    A request's body on its way to the application, and the answer on its way back.

    Until the guard has decided, what the application reads is kept up to a limit, so that the guard
    can still hash it: FastAPI reads the body of a route with a body model before its dependencies.

    Once the body has been refused, no answer but ours leaves, and behind every refusal the rest of
    the body is read: uvicorn closes a connection with bytes unread, the kernel resets it then, and
    the answer may be lost on its way to a client that is still sending.

    Attributes:
        scope: The request.
        verifier: Asked by all guards of the request.
        passed: The principals that they have let in.
        keeping: What the application reads is kept: until a guard has decided.
        ahead: The guard that has decided stands in front of the routes, which may have their own.
        watch: A request is over when it is answered: nothing watches it.
        refused: The request is refused, whether or not its body was looked at.
    """

    # Slots: with so many attributes an object is made faster, and each is found in one step
    __slots__ = (
        *("_answered", "_ended", "_error", "_exceeded", "_excess", "_given", "_kept"),
        *("_guarded", "_lost", "_receive", "_send", "_slow", "_told", "ahead", "keeping"),
        *("passed", "refused", "scope", "verifier"),
    )

    watch: Final = None

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        verifier: Verifier,
        guarded: Callable[[Scope], bool],
        excess: Callable[[Scope], Awaitable[AuthError | None]],
    ) -> None:
        """
        Args:
            scope: The request.
            receive: The server's channel.
            send: The server's other channel.
            verifier: Its registry bounds how many bytes are kept of what the application reads
                before the guard, and how long the guard reads.
            guarded: Tells whether the route has a guard of its own, or may have one.
            excess: Gives the refusal of a body beyond the limit, None where no guard would read it.
        """
        self.scope = scope
        self._receive = receive
        self._send = send
        self.verifier = verifier
        self.passed: Passed = ()
        self._guarded = guarded
        self._excess = excess
        self._kept: bytes | bytearray = b""  # the first bytes make a `bytearray`
        self._given = 0  # how much of _kept the application has got
        self._ended = False  # the server has no more
        self._told = False  # and the application knows it
        self.keeping = True
        self.ahead = False
        self._lost = False  # some bytes passed that are not in _kept
        self._exceeded = False
        self._answered = False  # the application's own answer has begun
        self._error: AuthError | None = None  # raised into the application, which may hide it
        self.refused = False  # then `send` reads the rest
        self._slow = False  # and refused for that, so that there is no rest to wait for

    @property
    def whole(self) -> bytes | None:
        """The body, where all of it was read and kept."""
        return bytes(self._kept) if self._ended and not self._lost else None

    def known(self, scope: Scope, project: str | None) -> Principal | None:
        """
        Return who sent the request, if no guard has decided yet and its verifier knows it as usual.

        Args:
            scope: The request as the guard sees it.
            project: The project to use, or None for that of the target.

        Raises:
            AuthError: If the request is refused.
        """
        values = None if self.passed else usual(scope)
        if values is None:
            return None
        target, host, authorization = values  # a call with a star takes longer
        principal = self.verifier.known(target, host, authorization, project)
        if principal is not None:
            self.passed = ((self.verifier, principal),)
            self.keeping = False
        return principal

    async def aknown(self, scope: Scope, project: str | None) -> Principal | None:
        """`known` of a verifier that may have to wait; see there."""
        values = None if self.passed else usual(scope)
        if values is None:
            return None
        target, host, authorization = values
        principal = await self.verifier.aknown(target, host, authorization, project)
        if principal is not None:
            self.passed = ((self.verifier, principal),)
            self.keeping = False
        return principal

    async def receive(self) -> Message:
        """
        Return the next message for the application.

        Raises:
            AuthError: If the body exceeds the limit and a guard would have to read it.
        """
        if self._given < len(self._kept) or (self._ended and not self._told):
            return self._give()
        message = await self._receive()
        if message["type"] == "http.request":
            if self.ahead:
                self.ahead = False
                if not message.get("more_body", False):  # most: one message, which is kept as it is
                    self._kept = message.get("body", b"")
                    self._given = len(self._kept)
                    self._ended = self._told = True
                    return message
                self.keeping = self._guarded(self.scope)
            if self.keeping or self._kept:
                self._take(message)
            else:  # most: a guard has decided without the body
                self._ended = not message.get("more_body", False)
                self._lost = self._lost or bool(message.get("body"))
            self._told = self._ended
            if self._kept:
                self._given = len(self._kept)
                if self._given > self._bounds.max_body:
                    await self._exceed()
        return message

    def _give(self) -> Message:
        data = bytes(memoryview(self._kept)[self._given :])
        self._told = self._ended
        if self.keeping or self.ahead:
            self._given += len(data)
        else:
            self._drop()
        return {"type": "http.request", "body": data, "more_body": not self._ended}

    async def _exceed(self) -> None:
        self._drop()
        self._exceeded = True
        self._error = await self._excess(self.scope)
        if self._error is not None:
            self.refused = True
            raise self._error

    async def read(self, limit: int) -> bytes:
        """
        Return the whole body, for the guard.

        Raises:
            AuthError: `body_too_large`, if it exceeds *limit* bytes; `invalid_body`, if it does not
                come in time.
            DisconnectedError: If the client went away.
            RuntimeError: If the application consumed the body after a guard had decided without it.
        """
        if _declared(self.scope) > limit:
            self.refused = True
            raise AuthError("body_too_large")
        self.keeping = True
        patience = self._bounds.body_timeout
        try:
            async with asyncio.timeout(patience):
                await self._fill(limit)
        except TimeoutError:
            self._drop()
            self.refused = self._slow = True
            raise slow_body(patience) from None
        if self._exceeded or len(self._kept) > limit:
            self._drop()
            self.refused = True
            raise AuthError("body_too_large")
        if self._lost:
            raise RuntimeError("the body was consumed before this guard could read it")
        return bytes(self._kept)

    async def _fill(self, limit: int) -> None:
        while not self._ended and not self._lost and len(self._kept) <= limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DisconnectedError
            self._take(message)

    def _take(self, message: Message) -> None:
        chunk = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        if self.keeping:
            self._kept = self._kept or bytearray()
            self._kept += chunk
        elif chunk:
            self._drop()

    def _drop(self) -> None:
        self._kept = b""
        self._given = 0
        self.keeping = False
        self._lost = True

    @property
    def _bounds(self) -> Bounds:
        return self.verifier.registry.bounds

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the application, or what is to be sent in its place."""
        if message["type"] == "http.response.body" and not message.get("more_body"):
            # The scope, the server and we hold each other: unless one lets go, all that the request
            # has made waits for the garbage collector
            self.scope.pop(KEY, None)
        if self.refused:
            return self._send_refused(message)
        self._answered = True
        return self._send(message)  # no coroutine of ours around the server's

    async def _send_refused(self, message: Message) -> None:
        if self._error is None or self._answered:
            await self._deliver(message)
        elif message["type"] == "http.response.start":
            status, headers, content = refusal(self._error)
            headers.append(("Content-Length", str(len(content))))
            await self._deliver(
                {"type": message["type"], "status": status, "headers": encoded(headers)}
            )
            await self._deliver({"type": "http.response.body", "body": content})

    async def _deliver(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._slow and self.scope["http_version"] < "2":
            message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        elif kind == "http.response.body" and not message.get("more_body") and self._unread:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": kind}
        await self._send(message)

    @property
    def _unread(self) -> bool:
        """Whether some of the refused body may still be on its way."""
        return not self._slow and not self._ended

    async def _drain(self) -> None:
        """Read the rest and drop it, within bounds."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while not self._ended and size <= _LINGER_SIZE:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        return
                    size += len(message.get("body", b""))
                    self._ended = not message.get("more_body", False)


def _declared(scope: Scope) -> int:
    """Return the length of the body that the request declares, 0 if it declares none."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:_LENGTH_DIGITS])  # more are too much anyway, and too long for `int`
    return 0
