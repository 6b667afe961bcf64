"""
The nonces of `memory://`.

A live nonce is an entry of a dictionary and of the bucket of the second in which it ends; a heap
orders the buckets. Spending is O(1) amortised, and what has ended is dropped inside the operation
in bounded steps: there is no thread and no timer. Deadlines are rounded up to the whole second, so
a nonce is kept for up to one second longer than asked, never shorter.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from rpcguard.backends.base import LATEST
from rpcguard.owed import Answer, Nonce, Owed

_STEP = 64  # ended nonces dropped by one settle
_STEP_WHEN_FULL = 1024  # and by one that would be refused for want of room


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


class Nonces:
    """What one process has spent. The caller sees to it that one thread at a time is here."""

    __slots__ = (
        "_buckets",
        "_deadlines",
        "_guard_from",
        "_live",
        "_projects",
        "_pruned_through",
        "_subjects",
    )

    def __init__(self, guard_from: float) -> None:
        """
        Start empty.

        Args:
            guard_from: Unix seconds; proofs issued before it may have been spent elsewhere.
        """
        self._guard_from = guard_from
        self._pruned_through = -math.inf
        self._live: dict[bytes, _Bucket] = {}
        self._buckets: dict[float, _Bucket] = {}
        self._deadlines: list[float] = [math.inf]  # a heap; the sentinel keeps [0] valid
        self._subjects: dict[tuple[str, str], _Share] = {}
        self._projects: dict[str, int] = {}

    def spend(self, owed: Owed, nonce: Nonce, now: float) -> Answer:
        """Spend the *nonce* of *owed*; on the way, drop some that have ended."""
        if self._deadlines[0] <= now:
            self._prune(now, _STEP)
        expires_at = nonce.expires_at
        if not (now < expires_at < LATEST and self._pruned_through < expires_at):
            return Answer.FORGOTTEN
        if owed.issued_at < self._guard_from:
            return Answer.FORGOTTEN
        held = self._live.get(nonce.name)
        if held is not None and now < held.deadline:
            return Answer.REPLAYED
        key = (owed.project, owed.subject)
        share = self._subjects.get(key)
        refusal = self._full(key, share, nonce)
        if refusal is not None:
            self._prune(now, _STEP_WHEN_FULL)
            share = self._subjects.get(key)
            refusal = self._full(key, share, nonce)
            if refusal is not None:
                return refusal
        if share is None:
            share = self._subjects[key] = _Share(key)
        self._keep(share, nonce.name, math.ceil(expires_at))
        return Answer.OK

    def spent(self, names: Iterable[bytes], now: float) -> frozenset[bytes]:
        """Return those of *names* that are spent and have not ended."""
        live = self._live
        return frozenset(name for name in names if name in live and now < live[name].deadline)

    def _full(self, key: tuple[str, str], share: _Share | None, nonce: Nonce) -> Answer | None:
        if (0 if share is None else share.live) >= nonce.subject_limit:
            return Answer.SUBJECT_FULL
        if self._projects.get(key[0], 0) >= nonce.project_limit:
            return Answer.PROJECT_FULL
        return None

    def _keep(self, share: _Share, name: bytes, deadline: int) -> None:
        bucket = self._buckets.get(deadline)
        if bucket is None:
            bucket = self._buckets[deadline] = _Bucket(deadline)
            heapq.heappush(self._deadlines, deadline)
        share.live += 1
        project = share.key[0]
        self._projects[project] = self._projects.get(project, 0) + 1
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
