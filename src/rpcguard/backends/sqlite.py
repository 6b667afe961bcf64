"""
`sqlite://`: nonces, revocations and records of one machine, shared by its processes; the default.

The file is in WAL mode. A nonce is one short write transaction and waits for no disk; a revocation
is on the disk when `revoke` returns, and a record when `put` does. SQLite lets one process write at
a time, so there is one lane for writing, and a few for reading, which never wait for a writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from rpcguard.backends import forking, sqlite_ledger, sqlite_nonces, sqlite_records
from rpcguard.backends.sqlite_file import boot_id, identity, prepare
from rpcguard.backends.sqlite_lane import BusyError, Lane, free_one, take_one
from rpcguard.backends.sqlite_ledger import copy_log, look, restart_log
from rpcguard.backends.sqlite_nonces import spend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Nonce, Owed, Record, Revocation

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_TIMEOUT = 0.25  # seconds
_READERS = 4
_CHECKPOINT_EVERY = 1024  # nonces, which are 4 to 7 MiB in the log
_LONG_LOG = 3000  # pages, 6 MiB: then it starts anew, and a writer waits a millisecond or more


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
        prepare(path, now, boot())
        self._path = str(path)
        self._file = identity(self._path)
        self._writers = (Lane(path),)
        self._keeper = Lane(path)  # for checkpoints
        self._readers = tuple(Lane(path) for _ in range(_READERS))
        self._lanes = (*self._writers, self._keeper, *self._readers)
        self._spent = itertools.count(1)
        self._worker: ThreadPoolExecutor | None = None
        self._worker_lock = threading.Lock()
        self._refusal = ""  # why every question is refused
        forking.watch(self)

    def settle(self, owed: Owed, now: float) -> Answer:
        """
        Answer everything *owed* in one atomic step: revocations first, then the record, and the
        nonce is spent last.

        Args:
            owed: The questions of one request.
            now: Unix seconds.

        Raises:
            BackendError: If the file stays locked, is full, or cannot be used.
        """
        nonce = owed.nonce
        if nonce is None:
            return self._ask(self._readers, look, owed, now) if owed else Answer.OK
        lane, patience = self._writers[0], self._timeout
        if not lane.try_take():
            lane, patience = take_one(self._writers, patience)
        try:
            return self._spend(lane, patience, owed, nonce, now)
        finally:
            lane.give()

    async def asettle(self, owed: Owed, now: float) -> Answer:
        """
        `settle` without blocking the event loop: at once where the file is free, else in a thread.

        Raises:
            BackendError: As `settle`, and within the same time however many wait. The nonce may be
                spent nevertheless; it is never accepted twice.
        """
        self._check_open()
        nonce = owed.nonce
        if nonce is None and not owed:
            return Answer.OK
        lane = free_one(self._readers if nonce is None else self._writers)
        if lane is not None:
            try:
                if nonce is not None:
                    return self._spend(lane, 0, owed, nonce, now)
                self._check_open()  # as in `_ask`
                return lane.ask(0, look, owed, now)
            except BusyError:
                pass
            finally:
                lane.give()
        # A caller that gives up takes its question out of the queue, unless it is being put.
        waiting = asyncio.wrap_future(self._submit(self.settle, owed, now))
        try:
            async with asyncio.timeout(self._timeout):
                return await waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._refusal and not (task is not None and task.cancelling()):
                raise BackendError(self._refusal) from None  # `close` emptied the queue
            raise
        except TimeoutError:
            raise BusyError("sqlite: the file is locked by another process") from None

    def epoch(self, bucket: int) -> bytes:  # noqa: ARG002 - there is one for all
        """
        What all processes read in the file; another after a restart of the machine.

        Raises:
            BackendError: If the file cannot be used.
        """
        return self._ask(self._readers, sqlite_ledger.epoch)

    def spent(
        self,
        project: str,  # noqa: ARG002 - a name is told apart from all others
        subject: str,  # noqa: ARG002
        names: Sequence[bytes],
        now: float,
    ) -> frozenset[bytes]:
        """
        Return those of *names* that are spent nonces and have not ended.

        Raises:
            BackendError: If the file cannot be used.
        """
        return self._ask(self._readers, sqlite_nonces.spent_of, names, now)

    def put(self, record: Record, now: float) -> Answer:
        """
        Keep *record*, on the disk, before returning; what its slot held ends in the same step.

        `SUBJECT_FULL` or `PROJECT_FULL`, and nothing changes, where there is no room.

        Raises:
            BackendError: If it could not be recorded, or if another slot has a record of this name.
                What the slot held still stands then.
        """
        return self._ask(self._writers, sqlite_records.put, record, now)

    def rotate(self, name: bytes, record: Record, now: float) -> Answer:
        """
        Put *record* in the place of the record *name*, in one step and on the disk, if its slot
        holds that.

        Raises:
            BackendError: As `put`; nothing has changed then.
        """
        return self._ask(self._writers, sqlite_records.rotate, name, record, now)

    def drop(self, bucket: int, slot: bytes, now: float) -> bool:  # noqa: ARG002
        """
        End the record in *slot*, on the disk; return whether there was one.

        Raises:
            BackendError: If it could not be recorded.
        """
        return self._ask(self._writers, sqlite_records.drop, slot, now)

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """
        Record *revocations*, on the disk, before returning; every process sees them at once.

        Raises:
            BackendError: If they could not be recorded.
        """
        self._ask(self._writers, sqlite_ledger.record, revocations, now)

    def close(self) -> None:
        """Write the log back into the file and close it. Closing twice is harmless."""
        with self._worker_lock:
            if self._refusal:
                return
            self._refusal = "sqlite: the backend is closed"
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(cancel_futures=True)
        with contextlib.suppress(BackendError):
            self._checkpoint()
        for lane in self._lanes:
            if lane.take(2 * self._timeout + 1):  # whoever has it gives it back sooner
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
        alone = [lane.after_fork_in_child() for lane in self._lanes]
        if not all(alone):
            self._refusal = "sqlite: the process forked while a connection was in use"

    def _check_open(self) -> None:
        if self._refusal:
            raise BackendError(self._refusal)

    def _ask(
        self,
        lanes: tuple[Lane, ...],
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        lane, patience = take_one(lanes, self._timeout)
        try:
            self._check_open()  # now, and not before: `close` may come while one waits
            return lane.ask(patience, question, *args, **kwargs)
        finally:
            lane.give()

    def _spend(self, lane: Lane, patience: float, owed: Owed, nonce: Nonce, now: float) -> Answer:
        if self._refusal:
            self._check_open()
        if identity(self._path) != self._file:
            # Whoever opens the new file knows nothing of what is spent in the old one.
            raise BackendError("sqlite: the file was moved or replaced; restart to use the new one")
        answer = lane.ask(patience, spend, owed, nonce, now)
        if next(self._spent) % _CHECKPOINT_EVERY == 0:
            with contextlib.suppress(BackendError):  # the nonce is spent; another will try again
                self._submit(self._checkpoint)
        return answer

    def _checkpoint(self) -> None:
        """Most of the work holds nobody off; the rest holds the writers, so that it can end."""
        pages = self._housekeep(self._keeper, copy_log)
        if pages is not None and pages > _LONG_LOG:
            self._housekeep(self._writers[0], restart_log)

    def _housekeep(self, lane: Lane, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do *work* if *lane* comes free in time; else another will try again."""
        if not lane.take(self._timeout):
            return None
        try:
            return lane.ask(0, work)
        finally:
            lane.give()

    def _submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with self._worker_lock:
            self._check_open()
            try:
                if self._worker is None:
                    # two threads: who waits for the file must not wait for a checkpoint too
                    self._worker = ThreadPoolExecutor(2, "rpcguard-sqlite")
                return self._worker.submit(work, *args, **kwargs)
            except RuntimeError as error:  # the interpreter shuts down, or has no thread to give
                raise BackendError("sqlite: no thread to wait in") from error
