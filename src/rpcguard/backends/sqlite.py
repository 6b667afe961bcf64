"""
`sqlite://`: nonces and revocations of one machine, shared by its processes; the default.

The file is in WAL mode. A nonce is one short write transaction and waits for no disk; a revocation
is on the disk when `revoke` returns. SQLite lets one process write at a time, so there is one lane
for writing, and a few for reading, which never wait for a writer.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from rpcguard.backends import forking
from rpcguard.backends.sqlite_file import boot_id, prepare
from rpcguard.backends.sqlite_lane import Busy, Lane
from rpcguard.backends.sqlite_ledger import checkpoint, is_revoked, record, spend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Owed, Revocation

T = TypeVar("T")

DEFAULT_TIMEOUT = 0.25  # seconds
_READERS = 4
_PRUNE_EVERY = 32  # nonces; each time up to twice as many ended ones go
_CHECKPOINT_EVERY = 512  # nonces; a log of about 10 MiB
_CHECKPOINT_PATIENCE = 0.02  # seconds for which a checkpoint may hold writers off


class SqliteBackend:
    """The backend of one machine: safe across threads, processes, forks and killed processes."""

    def __init__(
        self,
        path: Path,
        *,
        now: float,
        timeout: float = DEFAULT_TIMEOUT,
        boot: Callable[[], str | None] = boot_id,
    ) -> None:
        """
        Open the file, or make it.

        Args:
            path: The file. Its directory must exist.
            now: Unix seconds. After a restart of the machine, proofs issued before it are refused.
            timeout: Seconds after which a question that finds the file locked is given up.
            boot: Names this boot of the machine; None where that cannot be known.

        Raises:
            ConfigError: If the file cannot be used.
        """
        self._timeout = timeout
        path = path.absolute()
        prepare(path, now, boot(), timeout)
        self._writer, self._keeper = Lane(path), Lane(path)
        self._readers = tuple(Lane(path) for _ in range(_READERS))
        self._lanes = (self._writer, self._keeper, *self._readers)
        self._spent = itertools.count()
        self._worker: ThreadPoolExecutor | None = None
        self._worker_lock = threading.Lock()
        self._closed = False
        forking.watch(self)

    def settle(self, owed: Owed, now: float) -> Answer:
        """
        Answer everything *owed* in one atomic step: revocations first, then the nonce is spent.

        Args:
            owed: The questions of one request.
            now: Unix seconds.

        Raises:
            BackendError: If the file stays locked, is full, or cannot be used.
        """
        if not owed:
            return Answer.OK
        lane = self._lane(owed)
        patience = lane.take(self._timeout)
        try:
            return self._answer(lane, patience, owed, now)
        finally:
            lane.give()

    async def asettle(self, owed: Owed, now: float) -> Answer:
        """
        `settle` without blocking the event loop: at once where the file is free, else in a thread.

        Raises:
            BackendError: As `settle`, and within the same time however many wait. The nonce may be
                spent nevertheless; it is never accepted twice.
        """
        if not owed:
            return Answer.OK
        lane = self._lane(owed)
        if lane.try_take():
            try:
                return self._answer(lane, 0, owed, now)
            except Busy:
                pass
            finally:
                lane.give()
        # A caller that gives up takes its question out of the queue, unless it is being put.
        waiting = asyncio.wrap_future(self._submit(lambda: self.settle(owed, now)))
        try:
            async with asyncio.timeout(self._timeout):
                return await waiting
        except TimeoutError:
            raise Busy("sqlite: the file is locked by another process") from None

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """
        Record *revocations*, on the disk, before returning; every process sees them at once.

        Raises:
            BackendError: If they could not be recorded.
        """
        patience = self._writer.take(self._timeout)
        try:
            self._check_open()
            self._writer.ask(patience, record, revocations, now)
        finally:
            self._writer.give()

    def close(self) -> None:
        """Write the log back into the file and close it. Closing twice is harmless."""
        with self._worker_lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(cancel_futures=True)
        for lane in self._lanes:
            # Whoever holds a lane gives it back within twice the timeout.
            try:
                lane.take(4 * self._timeout)
            except Busy:
                continue
            lane.drop()
            lane.give()

    def before_fork(self) -> None:
        """Close every connection: a fork must not carry one along."""
        for lane in self._lanes:
            lane.before_fork(2 * self._timeout + 1)

    def after_fork_in_parent(self) -> None:
        """Go on; connections are opened again at their first use."""
        for lane in self._lanes:
            lane.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Go on with connections and a thread of one's own."""
        self._worker_lock = threading.Lock()
        self._worker = None  # its thread stayed in the parent
        for lane in self._lanes:
            lane.after_fork_in_child()

    def _lane(self, owed: Owed) -> Lane:
        if owed.nonce is not None:
            return self._writer
        return self._readers[0]

    def _answer(self, lane: Lane, patience: float, owed: Owed, now: float) -> Answer:
        self._check_open()
        if owed.nonce is None:
            return lane.ask(patience, is_revoked, owed, now)
        count = next(self._spent)
        prune = count % _PRUNE_EVERY == 0
        answer = lane.ask(patience, spend, owed, owed.nonce, now, prune)
        if count % _CHECKPOINT_EVERY == _CHECKPOINT_EVERY - 1:
            self._submit(self._checkpoint)
        return answer
