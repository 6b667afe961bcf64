"""
`python -m bench.serve FRAMEWORK APP CORE` serves one application on a free port of the loopback
interface, pinned to one core, and prints the port. A `Given` comes as a line of JSON on its input;
the end of the input is the end of the server, so that none is left behind.

FastAPI runs on uvicorn with uvloop and httptools, aiohttp on its own server with uvloop, Flask on
gunicorn with threads: one process each, as fast as they go.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import uvloop

from bench.apps import REPLY, Given

THREADS = 4
KEPT = 600  # seconds that a connection may idle while other servers are measured
BACKLOG = 256
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(REPLY),
    REPLY,
)


class _Raw(asyncio.Protocol):
    """Answers without reading: what the generator itself can do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(_ANSWER)  # type: ignore[attr-defined]


def _raw(listener: socket.socket, _: Callable[[], Any]) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Raw, sock=listener)
        await server.serve_forever()

    uvloop.run(serve())


def _fastapi(listener: socket.socket, make: Callable[[], Any]) -> None:
    import uvicorn  # noqa: PLC0415 - one server needs one of them

    config = uvicorn.Config(
        make(), loop="uvloop", http="httptools", access_log=False, log_level="warning",
        proxy_headers=False, timeout_keep_alive=KEPT,
    )  # fmt: skip
    uvicorn.Server(config).run([listener])


def _aiohttp(listener: socket.socket, make: Callable[[], Any]) -> None:
    from aiohttp import web  # noqa: PLC0415

    async def serve() -> None:
        runner = web.AppRunner(make(), access_log=None, keepalive_timeout=KEPT)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await asyncio.Event().wait()

    uvloop.run(serve())


def _flask(listener: socket.socket, make: Callable[[], Any]) -> None:
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415

    settings = {
        "bind": f"fd://{listener.fileno()}",
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": KEPT,
        "loglevel": "warning",
        "control_socket_disable": True,
    }

    class Application(BaseApplication):
        def load_config(self) -> None:
            for name, value in settings.items():
                if name in self.cfg.settings:  # the last one is new in gunicorn 25
                    self.cfg.set(name, value)

        def load(self) -> Any:
            return make()

    os.set_inheritable(listener.fileno(), True)
    Application().run()


_SERVERS = {"raw": _raw, "fastapi": _fastapi, "flask": _flask, "aiohttp": _aiohttp}


def main(framework: str, app: str, core: str) -> None:
    """Serve until terminated."""
    os.sched_setaffinity(0, {int(core)})
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()

    def make() -> Any:
        apps = importlib.import_module(f"bench.apps.{framework}_apps").APPS
        return apps[app](Given(**given))

    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    # Accepted connections inherit it. gunicorn sends head and body apart, and would wait for the
    # acknowledgement of the head, which comes after 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    _SERVERS[framework](listener, make)


def _end_with_input() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held when Python ends
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
