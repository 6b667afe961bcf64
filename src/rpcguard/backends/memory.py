"""
`memory://`: nonces and revocations of one process.

A live nonce is an entry of a dictionary and of the bucket of the second in which it ends; a heap
orders the buckets. Spending is O(1) amortised, and what has ended is dropped inside the operation
in bounded steps: there is no thread and no timer. Deadlines are rounded up to the whole second, so
a nonce is kept for up to one second longer than asked, never shorter.
"""

from __future__ import annotations

import heapq
import logging
import math
import os
import threading
from collections.abc import Sequence

from rpcguard.backends import forking
from rpcguard.backends.base import LATEST
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Nonce, Owed, Revocation

MAX_REVOCATIONS = 1_000_000
_STEP = 64  # ended nonces dropped by one settle
_STEP_WHEN_FULL = 1024  # and by one that would be refused for want of room
_FORK_PATIENCE = 1.0  # seconds that a fork waits for the operation of another thread

_log = logging.getLogger("rpcguard.backends")


class _Share:
    """Live nonces of one subject."""

    __slots__ = ("key", "live")

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.live = 0


class _Bucket:
    """The nonces that end in one second, and the share that each of them takes from."""

    __slots__ = ("deadline", "names", "shares")

    def __init__(self, deadline: int) -> None:
        self.deadline = deadline
        self.names: list[bytes] = []
        self.shares: list[_Share] = []


class MemoryBackend:
    """
    The backend for a single process, for tests and for a first try.

    What another process spends is unknown here, and a restart forgets all: therefore a proof that
    is older than the start is refused, unless `restart_guard` is off.
    """

    __slots__ = (
        "__weakref__",
        "_buckets",
        "_closed",
        "_deadlines",
        "_fork_holds",
        "_guard_from",
        "_live",
        "_lock",
        "_projects",
        "_pruned_through",
        "_revocation_ends",
        "_revoked",
        "_subjects",
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
        self._guard_from = now if restart_guard else -math.inf
        self._pruned_through = -math.inf
        self._live: dict[bytes, _Bucket] = {}
        self._buckets: dict[float, _Bucket] = {}
        self._deadlines: list[float] = [math.inf]  # a heap; the sentinel keeps [0] valid
        self._subjects: dict[tuple[str, str], _Share] = {}
        self._projects: dict[str, int] = {}
        self._revoked: dict[bytes, tuple[float, float]] = {}
        self._revocation_ends: list[tuple[float, bytes]] = []
        forking.watch(self)
        workers = os.environ.get("WEB_CONCURRENCY", "")
        if workers.isdecimal() and int(workers) > 1:
            _warn("WEB_CONCURRENCY asks for several workers")

    def settle(self, owed: Owed, now: float) -> Answer:
        """
        Answer everything *owed* in one atomic step: revocations first, then the nonce is spent.

        Args:
            owed: The questions of one request.
            now: Unix seconds.

        Raises:
            BackendError: If the backend is closed.
        """
        if self._closed:
            raise BackendError("the memory backend is closed")
        nonce = owed.nonce
        if nonce is None:
            return Answer.REVOKED if self._revoked and self._refuses(owed, now) else Answer.OK
        with self._lock:
            if self._revoked and self._refuses(owed, now):
                return Answer.REVOKED
            if self._deadlines[0] <= now:
                self._prune(now, _STEP)
            return self._spend(owed, nonce, now)

    async def asettle(self, owed: Owed, now: float) -> Answer:
        """`settle`, which never waits for anything outside the process."""
        return self.settle(owed, now)

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """
        Record *revocations*; they last as long as the process.

        Raises:
            BackendError: If the backend is closed, or holds as many as it may.
        """
        if self._closed:
            raise BackendError("the memory backend is closed")
        with self._lock:
            self._drop_revocations(now, _STEP + len(revocations))
            names = {revocation.name for revocation in revocations}
            if len(self._revoked) + len(names - self._revoked.keys()) > MAX_REVOCATIONS:
                raise BackendError("the memory backend holds as many revocations as it may")
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
        _warn("the process has forked")

    def _refuses(self, owed: Owed, now: float) -> bool:
        issued_at = owed.issued_at
        for name in owed.revocable:
            found = self._revoked.get(name)
            if found is not None and issued_at <= found[0] and now < found[1]:
                return True
        return False

    def _spend(self, owed: Owed, nonce: Nonce, now: float) -> Answer:
        expires_at = nonce.expires_at
        if not (now < expires_at < LATEST and self._pruned_through < expires_at):
            return Answer.FORGOTTEN
        if owed.issued_at < self._guard_from:
            return Answer.FORGOTTEN
        held = self._live.get(nonce.name)
        if held is not None and now < held.deadline:
            return Answer.REPLAYED
        key = (owed.project, owed.subject)
        refusal = self._full(key, nonce)
        if refusal is not None:
            self._prune(now, _STEP_WHEN_FULL)
            refusal = self._full(key, nonce)
            if refusal is not None:
                return refusal
        self._keep(key, nonce.name, math.ceil(expires_at))
        return Answer.OK

    def _full(self, key: tuple[str, str], nonce: Nonce) -> Answer | None:
        share = self._subjects.get(key)
        if (0 if share is None else share.live) >= nonce.subject_limit:
            return Answer.SUBJECT_FULL
        if self._projects.get(key[0], 0) >= nonce.project_limit:
            return Answer.PROJECT_FULL
        return None

    def _keep(self, key: tuple[str, str], name: bytes, deadline: int) -> None:
        share = self._subjects.get(key)
        if share is None:
            share = self._subjects[key] = _Share(key)
        bucket = self._buckets.get(deadline)
        if bucket is None:
            bucket = self._buckets[deadline] = _Bucket(deadline)
            heapq.heappush(self._deadlines, deadline)
        share.live += 1
        self._projects[key[0]] = self._projects.get(key[0], 0) + 1
        bucket.names.append(name)
        bucket.shares.append(share)
        self._live[name] = bucket

    def _prune(self, now: float, steps: int) -> None:
        """Drop at most *steps* ended nonces, the earliest first."""
        while steps > 0 and self._deadlines[0] <= now:
            bucket = self._buckets[self._deadlines[0]]
            self._pruned_through = bucket.deadline
            while bucket.names and steps > 0:
                steps -= 1
                name = bucket.names.pop()
                # A name that was spent anew after its end stands in a later bucket too.
                if self._live.get(name) is bucket:
                    del self._live[name]
                self._give_back(bucket.shares.pop())
            if not bucket.names:
                heapq.heappop(self._deadlines)
                del self._buckets[bucket.deadline]

    def _give_back(self, share: _Share) -> None:
        share.live -= 1
        if not share.live:
            del self._subjects[share.key]
        project = share.key[0]
        self._projects[project] -= 1
        if not self._projects[project]:
            del self._projects[project]

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
