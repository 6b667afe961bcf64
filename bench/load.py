"""
A load generator that is much faster than the servers: raw bytes over kept connections.

Each connection has one request under way; an answer is counted by its length, which is that of the
first, and by its status.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Self, cast

PATIENCE = 120  # seconds that one series of requests may take
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200"


class BadAnswerError(Exception):
    """A server answered something else than 200, or closed a connection."""


class _Client(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._seen = b""
        self._size = 0  # of an answer; 0 until the first is there
        self._got = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the request."""
        assert self._transport is not None
        self._got = 0
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        if self._got == 0 and not data.startswith(_OK):
            self._load.fail(BadAnswerError(data.partition(b"\r\n")[0].decode("latin-1")))
            return
        self._got += len(data)
        if not self._size:
            self._measure(data)
        if self._size and self._got >= self._size:
            self._load.answered(self)

    def _measure(self, data: bytes) -> None:
        self._seen += data
        head, end, _ = self._seen.partition(_HEAD_END)
        length = _LENGTH.search(head + b"\r\n")
        if end and length:
            self._size = len(head) + len(end) + int(length[1])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed.set_result(None)
        self._load.fail(BadAnswerError("the server closed a connection"))

    def close(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        self._transport.close()


class Load:
    """Connections to one server, and the request that goes over them."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self._clients: list[_Client] = []
        self._to_send = 0
        self._to_come = 0
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, port: int, request: bytes, connections: int) -> Self:
        """Return a load for the server at *port* of the loopback interface."""
        load = cls(request)
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, client = await loop.create_connection(lambda: _Client(load), "127.0.0.1", port)
            load._clients.append(client)
        return load

    async def send(self, requests: int) -> None:
        """
        Send *requests* in all, and return when all are answered.

        Raises:
            BadAnswerError: If one is not answered with 200.
            TimeoutError: If it takes too long.
        """
        self._to_send = self._to_come = requests
        self._done = asyncio.get_running_loop().create_future()
        for client in self._clients:
            self._next(client)
        await asyncio.wait_for(self._done, PATIENCE)
        self._done = None

    def answered(self, client: _Client) -> None:
        """Count one answer; *client* is free."""
        self._to_come -= 1
        if self._to_come:
            self._next(client)
        elif self._done is not None:
            self._done.set_result(None)

    def fail(self, error: BadAnswerError) -> None:
        """End the series with *error*, if one is under way."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        await asyncio.gather(*(client.closed for client in self._clients))

    def _next(self, client: _Client) -> None:
        if self._to_send:
            self._to_send -= 1
            client.send()


def post(target: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + body
