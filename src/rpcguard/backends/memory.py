"""`memory://`: nonces, revocations and records of one process."""

from __future__ import annotations

import heapq
import logging
import math
import os
import threading
from collections.abc import Sequence

from rpcguard.backends import forking
from rpcguard.backends.memory_nonces import Nonces
from rpcguard.backends.memory_records import Records
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Owed, Record, Revocation, Verdict

_STEP = 64  # revocations that are over dropped by one `revoke`
_EPOCH_BYTES = 16
_FORK_PATIENCE = 1.0  # seconds that a fork waits for the operation of another thread

_log = logging.getLogger("rpcguard.backends")


class MemoryBackend:
    """
    The backend for a single process, for tests and for a first try.

    What another process spends is unknown here, and a restart forgets all: therefore a proof that
    is older than the start is refused, unless `restart_guard` is off.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_epoch",
        "_fork_holds",
        "_lock",
        "_nonces",
        "_records",
        "_revocation_ends",
        "_revoked",
    )

    def __init__(self, *, now: float, restart_guard: bool = True) -> None:
        """
        Start empty.

        Args:
            now: Unix seconds; proofs issued before it are refused where a nonce is owed.
            restart_guard: False accepts proofs that may have been spent before the start.
        """
        self._lock = threading.Lock()
        self._fork_holds = False
        self._closed = False
        self._epoch = os.urandom(_EPOCH_BYTES)
        self._nonces = Nonces(now if restart_guard else -math.inf)
        self._records = Records()
        self._revoked: dict[bytes, tuple[float, float]] = {}
        self._revocation_ends: list[tuple[float, bytes]] = []
        forking.watch(self)
        workers = os.environ.get("WEB_CONCURRENCY", "")
        if workers.isdecimal() and int(workers) > 1:
            _warn("WEB_CONCURRENCY asks for several workers")

    def settle(self, owed: Owed, now: float) -> Answer:
        """
        Answer everything *owed* in one atomic step: revocations first, then the record, and the
        nonce is spent last.

        Args:
            owed: The questions of one request.
            now: Unix seconds.

        Raises:
            BackendError: If the backend is closed.
        """
        if self._closed:
            self._check_open()
        nonce = owed.nonce
        if nonce is None and owed.record is None:
            return Answer.REVOKED if self._revoked and self._refuses(owed, now) else Answer.OK
        with self._lock:
            if self._revoked and self._refuses(owed, now):
                return Answer.REVOKED
            if owed.record is None and nonce is not None:
                return self._nonces.spend(owed, nonce, now)
            answer = self._standing(owed, now)
            if nonce is None or answer.verdict is not Verdict.OK:
                return answer
            spent = self._nonces.spend(owed, nonce, now)
            return answer if spent is Answer.OK else spent

    async def asettle(self, owed: Owed, now: float) -> Answer:
        """`settle`, which never waits for anything outside the process."""
        return self.settle(owed, now)

    def epoch(self, bucket: int) -> bytes:  # noqa: ARG002 - there is one for all
        """
        What this object alone has, and a forked copy of it not.

        Raises:
            BackendError: If the backend is closed.
        """
        self._check_open()
        return self._epoch

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
            BackendError: If the backend is closed.
        """
        self._check_open()
        with self._lock:
            return self._nonces.spent(names, now)

    def put(self, record: Record, now: float) -> Answer:
        """
        Keep *record*; what its slot held ends in the same step. It lasts as long as the process.

        `SUBJECT_FULL` or `PROJECT_FULL`, and nothing changes, where there is no room.

        Raises:
            BackendError: If the backend is closed, or if another slot has a record of this name.
        """
        self._check_open()
        with self._lock:
            return self._records.put(record, now)

    def rotate(self, name: bytes, record: Record, now: float) -> Answer:
        """
        Put *record* in the place of the record *name*, in one step, if its slot holds that.

        Raises:
            BackendError: As `put`; nothing has changed then.
        """
        self._check_open()
        with self._lock:
            answer = self._standing(Owed(record=name, slot=record.slot), now)
            if answer.verdict is Verdict.OK:
                self._records.put(record, now)  # which takes a place and needs no room
            return answer

    def drop(self, bucket: int, slot: bytes, now: float) -> bool:  # noqa: ARG002
        """
        End the record in *slot*; return whether there was one.

        Raises:
            BackendError: If the backend is closed.
        """
        self._check_open()
        with self._lock:
            return self._records.drop(slot, now)

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """
        Record *revocations*; they last as long as the process.

        Raises:
            BackendError: If the backend is closed.
        """
        self._check_open()
        with self._lock:
            self._drop_revocations(now, _STEP + len(revocations))
            for revocation in revocations:
                self._record(revocation, now)

    def close(self) -> None:
        """Refuse all that comes later. Closing twice is harmless."""
        self._closed = True

    def before_fork(self) -> None:
        """Let no operation be half done in the copy."""
        self._fork_holds = self._lock.acquire(timeout=_FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._fork_holds:
            self._fork_holds = False
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with a lock of one's own, and say what a copy cannot know."""
        self._lock = threading.Lock()
        self._fork_holds = False
        self._epoch = os.urandom(_EPOCH_BYTES)  # what the parent is asked now, nobody knows here
        _warn("the process has forked")

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("the memory backend is closed")

    def _standing(self, owed: Owed, now: float) -> Answer:
        """Answer for the record of *owed*: that it is revoked comes before that it is another."""
        if owed.record is None:
            return Answer.OK
        record = self._records.find(owed.record, owed.slot, now)
        if record is None:
            return Answer.UNKNOWN
        if self._revoked and self._refuses(record, now):
            return Answer.REVOKED
        asked_for = record.name == owed.record
        return Answer(Verdict.OK if asked_for else Verdict.REPLAYED, record.value)

    def _refuses(self, asked: Owed | Record, now: float) -> bool:
        issued_at = asked.issued_at
        for name in asked.revocable:
            found = self._revoked.get(name)
            if found is not None and issued_at <= found[0] and now < found[1]:
                return True
        return False

    def _record(self, revocation: Revocation, now: float) -> None:
        name = revocation.name
        before = math.inf if revocation.before is None else revocation.before
        end = math.inf if revocation.expires_at is None else revocation.expires_at
        if end <= now:
            return
        found = self._revoked.get(name)
        if found is not None and now < found[1]:
            before, end = max(before, found[0]), max(end, found[1])
        self._revoked[name] = (before, end)
        if end < math.inf:
            heapq.heappush(self._revocation_ends, (end, name))

    def _drop_revocations(self, now: float, steps: int) -> None:
        ends = self._revocation_ends
        while steps > 0 and ends and ends[0][0] <= now:
            steps -= 1
            _, name = heapq.heappop(ends)
            if self._revoked.get(name, (0.0, math.inf))[1] <= now:  # else it was extended
                del self._revoked[name]


def _warn(why: str) -> None:
    _log.warning(
        "memory:// is per process, and %s: a nonce spent in one worker can be replayed in another;"
        " use sqlite:// for several workers",
        why,
    )
