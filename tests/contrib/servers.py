"""The suite's application behind every server that it runs on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from aiohttp import web
from gunicorn.config import make_settings
from werkzeug.serving import WSGIRequestHandler, make_server

from contrib import aiohttp_routes, fastapi_routes, flask_routes
from contrib.wire import request

EXAMPLES = Path(__file__).parents[2] / "examples"
FIELD_LIMIT = 16 * 1024  # bytes of one header field: room for a credential of 8 KiB


@dataclass(frozen=True)
class Served:
    """
    A running server.

    Attributes:
        name: The server's name.
        framework: The adapter behind it.
        port: Its port on 127.0.0.1.
        joined: Whether it joins repeated headers with commas.
    """

    name: str
    framework: str
    port: int
    joined: bool = False

    def __str__(self) -> str:
        return self.name


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=256)


@contextmanager
def asgi(app: Any, **options: Any) -> Iterator[int]:
    """
    Serve an ASGI application with uvicorn; gives the port.

    With h11, which gives the target as it was sent; httptools resolves an absolute form and drops a
    fragment before the application sees them.

    It keeps an idle connection for a minute, not for 5 s: a client that sends at the moment in which
    the server closes gets no answer, and a busy machine makes clients idle that long.
    """
    options = {"http": "h11", "loop": "asyncio", "timeout_keep_alive": 60} | options
    config = uvicorn.Config(app, proxy_headers=False, log_level="error", **options)
    server = uvicorn.Server(config)
    with _listener() as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "uvicorn did not stop"


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def make_environ(self) -> dict[str, Any]:
        environ = super().make_environ()
        environ["RAW_URI"] = self.requestline.split()[1]
        return environ

    def log(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def wsgi(app: Any, handler: type[WSGIRequestHandler] = _Handler) -> Iterator[int]:
    """Serve a WSGI application with werkzeug's threaded server; gives the port."""
    with _listener() as listener:
        port = listener.getsockname()[1]
        server = make_server(
            "127.0.0.1", port, app, threaded=True, request_handler=handler, fd=listener.fileno()
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield port
        finally:
            server.shutdown()
            server.server_close()
            thread.join(30)
            assert not thread.is_alive(), "werkzeug did not stop"


@contextmanager
def gunicorn(
    registry: Path,
    *options: str,
    app: str = "contrib.flask_routes:create()",
    environ: Mapping[str, str] | None = None,
    probe: str = "/open",
) -> Iterator[int]:
    """
    Serve a Flask application with gunicorn's threaded worker; gives the port.

    Args:
        registry: Path of its registry, in the environment.
        options: More of gunicorn's options.
        app: Where the application is.
        environ: More of the environment.
        probe: Path that is open.
    """
    tests = Path(__file__).parent.parent
    paths = {"RPCGUARD_REGISTRY": str(registry), "PYTHONPATH": str(tests)}
    environ = {**os.environ, **paths, "PYTHONFAULTHANDLER": "1", **(environ or {})}
    with _listener() as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"]
        command += ["--worker-class", "gthread", "--threads", "16", "--log-level", "error"]
        command += ["--limit-request-field_size", str(FIELD_LIMIT), *options]
        if (
            "control_socket_disable" in make_settings()
        ):  # new in gunicorn 25; it would be left behind
            command.append("--no-control-socket")
        process = subprocess.Popen(
            [*command, app],
            env=environ,
            pass_fds=[listener.fileno()],
            cwd=tests,
        )
        try:
            assert request(port, "GET", probe).status == 200
            yield port
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """
    End gunicorn; a worker that hangs says where (PYTHONFAULTHANDLER), and fails the test.

    A worker loses a SIGTERM that comes between its fork and its first steps: until then it has the
    handler of its parent (gunicorn 27.0), which keeps it for a loop that no worker has. On a busy
    machine that is not seldom; so each is told again.
    """
    process.terminate()
    for _ in range(10):  # 20 s: gunicorn kills what hangs after 30
        with suppress(subprocess.TimeoutExpired):
            assert process.wait(2) == 0
            return
        _tell_workers(process, signal.SIGTERM)
    _tell_workers(process, signal.SIGSEGV)  # SIGABRT has another meaning to them
    process.kill()
    process.wait()
    raise AssertionError("gunicorn did not stop")


def _tell_workers(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with suppress(OSError):  # they have ended
        for child in children.read_text().split():
            os.kill(int(child), number)


@contextmanager
def aio(
    create: Callable[[], web.Application],
    bound: socket.socket | None = None,
    *,
    access_log: logging.Logger | None = None,
    lingering_time: float = 10.0,
) -> Iterator[int]:
    """Serve an aiohttp application with its own server; gives the port."""
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    with bound or _listener() as listener:

        async def serve() -> None:
            runner = web.AppRunner(
                create(),
                access_log=access_log,
                max_line_size=FIELD_LIMIT,
                max_field_size=FIELD_LIMIT,
                shutdown_timeout=1.0,
                lingering_time=lingering_time,
            )
            await runner.setup()
            await web.SockSite(runner, listener).start()
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert started.wait(30), "aiohttp did not start"
            yield listener.getsockname()[1]
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join(30)
            assert not thread.is_alive(), "aiohttp did not stop"


@contextmanager
def serve(name: str, registry: Path) -> Iterator[Served]:
    """Run the suite's application behind the server of this name."""
    path = str(registry)
    if name == "uvicorn":
        with asgi(fastapi_routes.create(path)) as port:
            yield Served(name, "fastapi", port)
    elif name == "uvicorn-whole":
        with asgi(fastapi_routes.create(path, whole=True)) as port:
            yield Served(name, "fastapi", port)
    elif name == "werkzeug":
        with wsgi(flask_routes.create(path)) as port:
            yield Served(name, "flask", port, joined=True)
    elif name == "gunicorn":
        with gunicorn(registry) as port:
            yield Served(name, "flask", port, joined=True)
    else:
        with aio(lambda: aiohttp_routes.create(path)) as port:
            yield Served(name, "aiohttp", port)


@contextmanager
def example_app(
    name: str, registry: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run an example as its users do; gives the process and its port."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--port", "0", *options]
    with subprocess.Popen(
        [*command, "--registry", str(registry)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("ready http://127.0.0.1:"), line or process.stderr.read()
            yield process, int(line.rpartition(":")[2])
        finally:
            if process.poll() is None:
                process.terminate()
