"""A WebSocket in aiohttp, from the handshake to its end."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import EofStream, WSMsgType, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict, CIMultiDictProxy

from rpcguard.contrib._sockets import SUBPROTOCOL, Watch, offer

_FAREWELL: Final = 1.0  # seconds that the peer has to take a close frame, and to answer it


class _Keeper:
    """Watches one response, once it is a WebSocket, and closes it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self, socket: web.WebSocketResponse) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(socket))

    async def end(self) -> None:
        task = self._task
        if task is not None:
            if self._closing:
                await asyncio.wait([task], timeout=_FAREWELL)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, socket: web.WebSocketResponse) -> None:
        code = None
        while code is None:
            await asyncio.sleep(self._watch.wait())
            if socket.closed:
                return
            if socket.prepared:
                code = await self._watch.acheck()
        self._closing = True
        await _close(socket, code)


async def _close(socket: web.WebSocketResponse, code: int) -> None:
    """
    Close *socket*, and the connection when the peer has answered.

    Where a handler is receiving, aiohttp itself would close the connection right behind its close
    frame, and a browser that had no time to answer says that the socket was not closed cleanly.
    """
    reader, close_connection = socket._reader, socket._close_transport  # noqa: SLF001
    vars(socket)["_close_transport"] = lambda: None
    try:
        await socket.close(code=code)
        if socket._closing and reader is not None:  # noqa: SLF001 - the handler was receiving
            async with asyncio.timeout(_FAREWELL):
                while (await reader.read()).type is not WSMsgType.CLOSE:
                    pass  # what came after the end is nobody's
    except (TimeoutError, EofStream):
        pass
    finally:
        close_connection()


async def attend(request: web.Request, handler: Handler, watch: Watch) -> web.StreamResponse:
    """
    Let *handler* answer a handshake that was let in, and close its socket when *watch* says so.

    The handler never sees the subprotocol that carries the token, so that no log line of aiohttp
    does; it is selected if the handler selects no other.
    """
    offered = offer(request.headers.getall(SUBPROTOCOL, ()))
    if offered.carries:
        _hide(request, offered.plain)
    keeper = _Keeper(watch)
    prepare = request._prepare_hook  # noqa: SLF001 - the only place between answer and wire

    async def prepared(response: web.StreamResponse) -> None:
        await prepare(response)
        if isinstance(response, web.WebSocketResponse):
            if offered.carrier is not None:
                response.headers.setdefault(SUBPROTOCOL, offered.carrier)
            keeper.start(response)

    vars(request)["_prepare_hook"] = prepared
    try:
        return await handler(request)
    finally:
        await keeper.end()


def _hide(request: web.Request, plain: tuple[str, ...]) -> None:
    """Leave *plain* as the offered subprotocols, for everybody who holds *request*."""
    # Not by Request.clone: it fails on header bytes that are no UTF-8, and outer middlewares would
    # hold another request than the handler
    field, message = SUBPROTOCOL.lower().encode(), request._message  # noqa: SLF001
    headers = CIMultiDict(message.headers)
    headers.popall(SUBPROTOCOL, None)
    raw = [pair for pair in message.raw_headers if pair[0].lower() != field]
    if plain:
        headers[SUBPROTOCOL] = ", ".join(plain)
        raw.append((SUBPROTOCOL.encode(), headers[SUBPROTOCOL].encode("utf-8", "surrogateescape")))
    proxy = CIMultiDictProxy(headers)
    request._message = message._replace(headers=proxy, raw_headers=tuple(raw))  # noqa: SLF001
    request._headers = proxy  # noqa: SLF001
    for name in ("headers", "raw_headers"):
        request._cache.pop(name, None)  # noqa: SLF001
