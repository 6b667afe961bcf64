"""The body of an ASGI request between the server, the guard and the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from rpcguard.contrib._asgi_request import encoded
from rpcguard.contrib._asgi_socket import Message, Scope
from rpcguard.contrib._http import refusal, slow_body
from rpcguard.errors import AuthError
from rpcguard.project import Bounds

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LINGER: Final = 5.0  # seconds that are spent on the rest of a body that was refused
_LINGER_SIZE: Final = 64 * 1024 * 1024  # and bytes
_CLOSE: Final = (b"connection", b"close")


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
        bounds: Bounds,
        excess: Callable[[], Awaitable[AuthError | None]],
    ) -> None:
        """
        Args:
            receive: The server's channel.
            declared: The length that the request declares, 0 if it declares none.
            bounds: How many bytes are kept of what the application reads before the guard, and
                how long the guard reads.
            excess: Gives the refusal of a body beyond the limit, None where no guard would read it.
        """
        self._receive = receive
        self._declared = declared
        self._limit = bounds.max_body
        self._patience = bounds.body_timeout
        self._excess = excess
        self._kept = bytearray()
        self._given = 0  # how much of _kept the application has got
        self._ended = False  # the server has no more
        self._told = False  # and the application knows it
        self._keeping = True
        self._lost = False  # some bytes passed that are not in _kept
        self._exceeded = False
        self.error: AuthError | None = None  # raised into the application, which may hide it
        self.refused = False  # with or without a look at it; `answering` reads the rest
        self.slow = False  # and refused for that, so that there is no rest to wait for

    @property
    def whole(self) -> bytes | None:
        """The body, where all of it was read and kept."""
        return bytes(self._kept) if self._ended and not self._lost else None

    @property
    def unread(self) -> bool:
        """Whether the request is refused and some of the body may still be on its way."""
        return self.refused and not self.slow and not self._ended

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
                    self.refused = True
                    raise self.error
        return message

    async def read(self, limit: int) -> bytes:
        """
        Return the whole body, for the guard.

        Raises:
            AuthError: `body_too_large`, if it exceeds *limit* bytes; `invalid_body`, if it does not
                come in time.
            DisconnectedError: If the client went away.
            RuntimeError: If the application consumed the body after a guard had decided without it.
        """
        if self._declared > limit:
            self.refused = True
            raise AuthError("body_too_large")
        self._keeping = True
        try:
            async with asyncio.timeout(self._patience):
                await self._fill(limit)
        except TimeoutError:
            self._drop()
            self.slow = True
            raise slow_body(self._patience) from None
        if self._exceeded or len(self._kept) > limit:
            self._drop()
            self.refused = True
            raise AuthError("body_too_large")
        if self._lost:
            raise RuntimeError("the body was consumed before this guard could read it")
        return bytes(self._kept)

    async def drain(self) -> None:
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

    async def _fill(self, limit: int) -> None:
        while not self._ended and not self._lost and len(self._kept) <= limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DisconnectedError
            self._take(message)

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


def answering(scope: Scope, body: Body, send: Send) -> Send:
    """
    Return *send*, but once the body has been refused, no answer but ours leaves, and behind every
    refusal the rest of the body is read: uvicorn closes a connection with bytes unread, the kernel
    resets it then, and the answer may be lost on its way to a client that is still sending.
    """
    started = False

    async def guarded(message: Message) -> None:
        nonlocal started
        if body.error is None or started:
            started = True
            await deliver(message)
        elif message["type"] == "http.response.start":
            status, headers, content = refusal(body.error)
            headers.append(("Content-Length", str(len(content))))
            await deliver({"type": message["type"], "status": status, "headers": encoded(headers)})
            await deliver({"type": "http.response.body", "body": content})

    async def deliver(message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and body.slow and scope["http_version"] < "2":
            message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        elif kind == "http.response.body" and body.unread and not message.get("more_body"):
            await send({**message, "more_body": True})
            await body.drain()
            message = {"type": kind}
        await send(message)

    return guarded
