"""Sees what this process opens while something runs."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rpcguard.errors import AuthError


class Trap:
    """Counts what the process opens, while it is set: files, sockets, processes."""

    watched = (
        "open",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.bind",
        "subprocess.Popen",
        "sqlite3.connect",
        "urllib.Request",
    )

    def __init__(self) -> None:
        self.set = False
        self.sprung: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, _: tuple[object, ...]) -> None:
        if self.set and event in self.watched:
            self.sprung.append(event)

    def while_running(self, work: Callable[[], object]) -> list[str]:
        """Return what *work* opened."""
        self.sprung, self.set = [], True
        try:
            work()
        except AuthError:
            pass
        finally:
            self.set = False
        return self.sprung


TRAP = Trap()
