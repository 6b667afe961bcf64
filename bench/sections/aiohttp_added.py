"""
What a guard adds to a request of aiohttp: bytes into the server's own protocol object and out of
it, no sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from bench.added import RefusedError, compare
from bench.apps.aiohttp_apps import APPS
from bench.material import BODY, TARGET, headers
from bench.run import Figures, Run
from bench.timing import Work


def measure(run: Run) -> Figures:
    """Return what rpcguard and its peers add."""
    with asyncio.Runner() as runner:
        connections: dict[int, Connection] = {}

        def way(app: Any, tokens: Sequence[str]) -> Work:
            if id(app) not in connections:
                connections[id(app)] = runner.run(_connect(app))
            connection, requests = connections[id(app)], [_request(token) for token in tokens]
            return lambda: runner.run(connection.send(requests))

        try:
            return compare(run, "aiohttp", APPS, way)
        finally:
            for connection in connections.values():
                runner.run(connection.close())


class Wire(asyncio.Transport):
    """What the protocol takes for its connection: an answer ends up in a future."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)})
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take an answer; aiohttp writes a small one whole."""
        self.answered.set_result(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """Take an answer in pieces."""
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        """Return that it is open."""
        return False

    def close(self) -> None:
        """Do nothing: there is no socket."""

    def pause_reading(self) -> None:
        """Do nothing: a request comes only after an answer."""

    def resume_reading(self) -> None:
        """Do nothing, likewise."""


class Connection:
    """A client's connection to one application, kept alive."""

    def __init__(self, runner: web.AppRunner) -> None:
        assert runner.server is not None
        self._runner = runner
        self._wire = Wire()
        self._protocol = runner.server()
        self._protocol.connection_made(self._wire)

    async def send(self, requests: Sequence[bytes]) -> None:
        """
        Send *requests* one after the other, each when the one before is answered.

        Raises:
            RefusedError: If one is not answered with 200.
        """
        loop = asyncio.get_running_loop()
        for request in requests:
            self._wire.answered = loop.create_future()
            self._protocol.data_received(request)
            answer = await self._wire.answered
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RefusedError(answer.partition(b"\r\n")[0].decode("latin-1"))

    async def close(self) -> None:
        """End the connection and the application."""
        self._protocol.connection_lost(None)
        await self._runner.cleanup()


async def _connect(app: web.Application) -> Connection:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    return Connection(runner)


def _request(token: str) -> bytes:
    lines = [f"POST {TARGET} HTTP/1.1"]
    pairs = headers({"Authorization": f"Bearer {token}"})
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join([*lines, "", ""]).encode() + BODY
