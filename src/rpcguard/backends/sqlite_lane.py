"""Lanes: connections of `sqlite://` that one thread at a time may use."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from rpcguard.backends.fair_lock import FairLock
from rpcguard.backends.sqlite_file import connect, is_busy
from rpcguard.errors import BackendError

P = ParamSpec("P")
T = TypeVar("T")

# Seconds between two tries. SQLite's own waiting sleeps longer each time, up to a tenth of a
# second: where many processes write, the one that has waited longest would try least.
_PAUSE = 0.002

# Connections that a fork has copied. Closing one here would drop files that the parent uses.
_inherited: list[sqlite3.Connection] = []


class BusyError(BackendError):
    """Other threads keep the lane, or another process the file."""


class Lane:
    """A connection, opened at its first use, and the lock that guards it."""

    __slots__ = ("_connection", "_fork_holds", "_lock", "_path", "give", "try_take")

    def __init__(self, path: Path) -> None:
        """
        Open nothing yet.

        `try_take()` takes the lane if it is free, and `give()` lets the next thread have it; both
        are the lock's own, since a call between would cost each question as much as the lock.
        """
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._begin(FairLock())

    def _begin(self, lock: FairLock) -> None:
        self._lock = lock
        self.try_take, self.give = lock.try_acquire, lock.release
        self._fork_holds = False

    def take(self, patience: float) -> bool:
        """Take the lane, waiting at most *patience* seconds for the thread that has it."""
        return self._lock.acquire(patience)

    def ask(
        self,
        patience: float,
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Put *question* to the connection; the caller has taken the lane.

        Args:
            patience: Seconds to wait for other processes; 0 for not at all.
            question: Leaves no transaction open, and can be put again after a `sqlite3.Error`.
            *args: Passed to *question* after the connection.
            **kwargs: Likewise.

        Raises:
            BusyError: If another process keeps the file locked.
            BackendError: If the file cannot be used.
        """
        waited = 0.0
        while True:
            try:
                return question(self._connection or self._open(), *args, **kwargs)
            except (sqlite3.Error, OverflowError, TypeError, ValueError) as error:
                # The last three: what stands in the file is not what was written.
                if waited + _PAUSE > patience or not is_busy(error):
                    raise self._failure(error) from error
            waited += _PAUSE
            threading.Event().wait(_PAUSE)

    def drop(self) -> None:
        """Close the connection; the caller has taken the lane. The next question opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def before_fork(self, patience: float) -> None:
        """
        Wait for the lane and close its connection.

        SQLite keeps its table of locks per process, and a fork copies the table without the locks:
        with an open connection at that moment, those that the child opens would not be protected.
        """
        self._fork_holds = self._lock.acquire(patience)
        if self._fork_holds:
            self.drop()

    def after_fork_in_parent(self) -> None:
        """Let the lane go."""
        if self._fork_holds:
            self._fork_holds = False
            self._lock.release()

    def after_fork_in_child(self) -> bool:
        """Start anew; return False if a connection came along, which must not be touched."""
        self._begin(FairLock())
        if self._connection is None:
            return True
        _inherited.append(self._connection)
        self._connection = None
        return False

    def _open(self) -> sqlite3.Connection:
        self._connection = connect(self._path)
        return self._connection

    def _failure(self, error: Exception) -> BackendError:
        connection = self._connection
        if is_busy(error) and not (connection and connection.in_transaction):
            return BusyError("sqlite: the file is locked by another process")
        self.drop()
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return BackendError(f"sqlite: the file cannot be used ({name})")


def free_one(lanes: tuple[Lane, ...]) -> Lane | None:
    """Take the first of *lanes* that is free."""
    for lane in lanes:
        if lane.try_take():
            return lane
    return None


def take_one(lanes: tuple[Lane, ...], timeout: float) -> tuple[Lane, float]:
    """
    Take one of *lanes*; return it and the seconds that may be spent waiting for the file.

    No clock is read: who finds a lane free has the whole *timeout* for other processes, who had to
    wait for one has spent at most one half of it and has the other. The sum is bounded.

    Raises:
        BusyError: If none came free in time.
    """
    lane = free_one(lanes)
    if lane is not None:
        return lane, timeout
    lane = lanes[0]
    if lane.take(timeout / 2):
        return lane, timeout / 2
    raise BusyError("sqlite: too many threads wait for the file")
