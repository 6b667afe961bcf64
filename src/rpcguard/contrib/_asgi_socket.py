"""A WebSocket connection between an ASGI server and the application: its subprotocol, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from rpcguard.contrib._http import Passed, Source
from rpcguard.contrib._openapi import Narrowing
from rpcguard.contrib._sockets import SUBPROTOCOL, Offer, Watch, offer
from rpcguard.principal import Principal
from rpcguard.request import Request

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]

_FIELD: Final = SUBPROTOCOL.lower().encode()
_FIELDS: Final = frozenset({SUBPROTOCOL.lower()})
_FAREWELL: Final = 1.0  # seconds that a close frame may take to leave


class Socket:
    """
    Stands between the server's channels of one connection and the application's.

    Attributes:
        scope: The handshake.
        verifier: Asked by all guards of the connection.
        passed: The principals that they have let in.
        read: There is no body to read.
        watch: Tells when to close; None while no guard has let the handshake in.
    """

    read: Final = None

    def __init__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        source: Source,
    ) -> None:
        """Take the handshake and the server's channels."""
        self.scope = scope
        self._receive = receive
        self._send = send
        self._offer: Offer | None = None  # as it came, with the token
        self._accepted = False
        self._closed = False  # by the application
        self._code: int | None = None  # of our own close
        self._task: asyncio.Task[None] | None = None
        self._recheck = source.recheck
        self.verifier = source.verifier
        self.passed: Passed = ()
        self.watch: Watch | None = None

    def admit(self, scope: Scope, request: Request, guard: Narrowing, principal: Principal) -> None:
        """
        A guard has let the handshake in: hide its token from the application, and watch it.

        Args:
            scope: The handshake, which the application sees.
            request: The handshake with all that it came with.
            guard: What the guard takes.
            principal: Who it has let in.
        """
        if self.watch is None:
            self.watch = Watch(request, self._recheck)
        self.watch.add(self.verifier, guard.project, guard.schemes, principal, frames=guard.frames)
        if self._offer is None:
            self._offer = offer(request.fields(_FIELDS).get(SUBPROTOCOL.lower(), ()))
        if self._offer.carries:
            _hide(scope, self._offer.plain)
        self._start()

    async def receive(self) -> Message:
        """Return the next message for the application."""
        message = None if self._code is not None else await self._receive()
        if message is None or self._code is not None:  # nothing that came after the end
            return {"type": "websocket.disconnect", "code": self._code, "reason": ""}
        return message

    async def send(self, message: Message) -> None:
        """
        Send a message of the application.

        Raises:
            ConnectionResetError: If the guard has closed the socket.
        """
        kind = message["type"]
        if self._code is not None:
            if kind == "websocket.close":
                return
            raise ConnectionResetError("the guard has closed this WebSocket")
        if kind == "websocket.accept":
            message = self._selecting(message)
        self._closed = self._closed or kind == "websocket.close"
        await self._send(message)
        if kind == "websocket.accept":
            self._accepted = True
            self._start()
        elif kind == "websocket.http.response.body" and not message.get("more_body"):
            # uvicorn (0.54) learns that a denial ends the handshake when the connection is gone; if
            # the application returns earlier, it logs an error (Kludex/uvicorn, pull request 3138)
            await asyncio.sleep(0)

    async def end(self) -> None:
        """End with the connection: leave no task behind."""
        task = self._task
        if task is not None:
            if self._code is not None:
                await asyncio.wait([task], timeout=_FAREWELL)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _selecting(self, message: Message) -> Message:
        offered = self._offer
        if offered is None or offered.carrier is None or message.get("subprotocol"):
            return message
        if any(name.lower() == _FIELD for name, _ in message.get("headers", ())):
            return message
        return {**message, "subprotocol": offered.carrier}

    def _start(self) -> None:
        if self._accepted and self.watch is not None and self._task is None:
            self._task = asyncio.create_task(self._run(self.watch))

    async def _run(self, watch: Watch) -> None:
        code = None
        while code is None:
            await asyncio.sleep(watch.wait())
            code = await watch.acheck()
        if not self._closed:
            self._code = code
            await self._send({"type": "websocket.close", "code": code, "reason": ""})


def _hide(scope: Scope, plain: tuple[str, ...]) -> None:
    """Leave *plain* as the offered subprotocols."""
    others = [pair for pair in scope["headers"] if pair[0] != _FIELD]
    if plain:
        others.append((_FIELD, ", ".join(plain).encode("latin-1")))
    if isinstance(scope["headers"], list):  # which Starlette's headers share
        scope["headers"][:] = others
    else:
        scope["headers"] = others
    scope["subprotocols"] = list(plain)  # a new one: the old one may be the server's own
