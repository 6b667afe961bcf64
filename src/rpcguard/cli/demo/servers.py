"""Starting the example servers, waiting until they serve, and stopping them for certain."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rpcguard.cli.demo.interrupts import Interrupts

FRAMEWORKS = ("fastapi", "flask", "aiohttp")
READY_SECONDS = 60.0
STOP_SECONDS = 5.0
_LOG_LINES = 15
_RECHECK = "0.5"  # seconds; nobody waits half a minute to see a WebSocket closed
_READY = re.compile(r"ready http://127\.0\.0\.1:(\d+)\s*")


class ServerError(Exception):
    """A server did not start. Its arguments are lines for the user."""


def examples() -> Path:
    """
    Return the directory of the example servers: in the package, or beside it in a checkout.

    Raises:
        ServerError: If there is none.
    """
    package = Path(__file__).resolve().parents[2]
    for directory in (package / "_examples", package.parents[1] / "examples"):
        if all((directory / f"{name}_app.py").is_file() for name in FRAMEWORKS):
            return directory
    raise ServerError("the example servers are not installed with this package")


class Server:
    """One example server in a process group of its own."""

    def __init__(self, framework: str, registry: Path, port: int) -> None:
        self.framework = framework
        self.port = port
        self._log = registry.with_name(f"{framework}.log")
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        program = examples() / f"{framework}_app.py"
        options = ["--port", str(port), "--registry", str(registry), "--recheck", _RECHECK]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(program), *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop the whole group
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Reads to the end, so that a talkative server never blocks on a full pipe.
        with contextlib.suppress(ValueError):
            for line in self._process.stdout or ():
                self._lines.put(line)
        self._lines.put(None)

    def wait_ready(self, deadline: float) -> None:
        """
        Wait until the server says that it accepts, and learn its port.

        Args:
            deadline: By `time.monotonic`.

        Raises:
            ServerError: If it ends, or says nothing in time.
        """
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failure(f"did not start within {READY_SECONDS:.0f} s") from None
            if line is None:
                raise self._failure("ended before it served")
            if ready := _READY.fullmatch(line):
                self.port = int(ready[1])
                return

    def wait(self) -> None:
        """
        Wait until the server ends by itself, which it should not.

        Raises:
            ServerError: When it does.
        """
        self._process.wait()
        raise self._failure("ended")

    def _failure(self, what: str) -> ServerError:
        tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        lines = [f"the {self.framework} example {what}"]
        if any("ModuleNotFoundError" in line for line in tail):
            lines.append('it needs its framework: pip install "rpcguard[all]"')
        return ServerError(*lines, *(f"  {line}" for line in tail))

    def signal(self, name: str) -> None:
        """Send the signal called *name* to the server's whole group."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it
                os.killpg(self._process.pid, getattr(signal, name))
        elif name == "SIGTERM":
            self._process.terminate()
        else:
            self._process.kill()

    def ended(self, deadline: float) -> bool:
        """Wait until *deadline* (`time.monotonic`) at most; return whether the process is gone."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Release the pipe, once the process is gone."""
        self._reader.join(1.0)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()


@contextlib.contextmanager
def running(
    frameworks: Sequence[str], registry: Path, interrupts: Interrupts, *, port: int = 0
) -> Iterator[dict[str, Server]]:
    """
    Run the example servers of *frameworks*, all of them ready; at the end none of them is left.

    Raises:
        ServerError: If one does not start.
    """
    servers: dict[str, Server] = {}
    try:
        for framework in frameworks:
            with interrupts.held():
                servers[framework] = Server(framework, registry, port)
        deadline = time.monotonic() + READY_SECONDS
        for server in servers.values():
            server.wait_ready(deadline)
        yield servers
    finally:
        with interrupts.held():
            _stop(list(servers.values()))


def _stop(servers: Sequence[Server]) -> None:
    for name in ("SIGTERM", "SIGKILL"):
        for server in servers:
            server.signal(name)
        deadline = time.monotonic() + STOP_SECONDS
        left = [server for server in servers if not server.ended(deadline)]
        if not left:
            break
    for server in servers:
        server.close()
