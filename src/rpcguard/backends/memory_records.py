"""
The records of `memory://`: API keys and refresh tokens that rpcguard issued.

A record stands in its slot, and its name leads there. A heap orders the ends of the slots that have
one: a slot stands in it once, with an end that is not later than its record's. What has ended is
dropped by the writes in bounded steps, and does not count where a budget is full.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable

from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Record

_STEP = 64  # ended records dropped by one write
_STEP_WHEN_FULL = 1024  # and by one that would be refused for want of room


class Records:
    """What one process has issued. The caller sees to it that one thread at a time is here."""

    __slots__ = ("_ends", "_listed", "_live", "_names", "_slots")

    def __init__(self) -> None:
        self._slots: dict[bytes, Record] = {}
        self._names: dict[bytes, bytes] = {}
        self._live: dict[Hashable, int] = {}  # by project, and by (project, subject)
        self._ends: list[tuple[float, bytes]] = []
        self._listed: dict[bytes, float] = {}  # the end with which a slot stands in the heap

    def find(self, name: bytes, slot: bytes | None, now: float) -> Record | None:
        """Return the live record in *slot*, or without one that of this *name*."""
        where = self._names.get(name) if slot is None else slot
        record = None if where is None else self._slots.get(where)
        return record if record is not None and now < _end(record) else None

    def put(self, record: Record, now: float) -> Answer:
        """
        Keep *record*; what its slot held ends.

        Raises:
            BackendError: If another slot has a record of this name; nothing has changed then.
        """
        self._prune(now, _STEP)
        if self._names.get(record.name, record.slot) != record.slot:
            raise BackendError("the memory backend has a record of this name")
        lasts = now < _end(record)
        if lasts and self.find(record.name, record.slot, now) is None:
            refusal = self._full(record)
            if refusal is not None:
                self._prune(now, _STEP_WHEN_FULL)
                refusal = self._full(record)
                if refusal is not None:
                    return refusal
        self._forget(record.slot)
        if lasts:
            self._keep(record)
        return Answer.OK

    def drop(self, slot: bytes, now: float) -> bool:
        """End the record in *slot*; return whether there was one."""
        self._prune(now, _STEP)
        return self._forget(slot, now)

    def _full(self, record: Record) -> Answer | None:
        if self._live.get((record.project, record.subject), 0) >= record.subject_limit:
            return Answer.SUBJECT_FULL
        if self._live.get(record.project, 0) >= record.project_limit:
            return Answer.PROJECT_FULL
        return None

    def _keep(self, record: Record) -> None:
        self._slots[record.slot] = record
        self._names[record.name] = record.slot
        for account in (record.project, (record.project, record.subject)):
            self._live[account] = self._live.get(account, 0) + 1
        end = _end(record)
        if end < self._listed.get(record.slot, math.inf):
            self._list(record.slot, end)

    def _forget(self, slot: bytes, now: float = -math.inf) -> bool:
        """Empty *slot*; return whether it had a record that was live at *now*."""
        record = self._slots.pop(slot, None)
        if record is None:
            return False
        del self._names[record.name]
        for account in (record.project, (record.project, record.subject)):
            self._live[account] -= 1
            if not self._live[account]:
                del self._live[account]
        return now < _end(record)

    def _list(self, slot: bytes, end: float) -> None:
        self._listed[slot] = end
        heapq.heappush(self._ends, (end, slot))
        if len(self._ends) > 2 * len(self._slots) + _STEP_WHEN_FULL:  # most of it is left over
            ends = {each: _end(record) for each, record in self._slots.items()}
            self._listed = {each: end for each, end in ends.items() if end < math.inf}
            self._ends = [(end, each) for each, end in self._listed.items()]
            heapq.heapify(self._ends)

    def _prune(self, now: float, steps: int) -> None:
        """Drop at most *steps* ended records, the earliest first."""
        while steps > 0 and self._ends and self._ends[0][0] <= now:
            steps -= 1
            end, slot = heapq.heappop(self._ends)
            if self._listed.get(slot) != end:  # it was listed again with an earlier end
                continue
            del self._listed[slot]
            record = self._slots.get(slot)
            if record is None:
                continue
            if _end(record) <= now:
                self._forget(slot)
            elif _end(record) < math.inf:
                self._list(slot, _end(record))


def _end(record: Record) -> float:
    return math.inf if record.expires_at is None else record.expires_at
