"""
The records of `memory://`: API keys and refresh tokens that rpcguard issued.

A record stands under its name, and the live one of a slot under the slot too: a record that its
slot does not hold is spent. Those that end are listed by the minute, a heap orders the minutes,
and what has ended is dropped by the writes in bounded steps.
"""

from __future__ import annotations

import heapq
import math

from rpcguard.errors import BackendError
from rpcguard.owed import Record

MAX_RECORDS = 1_000_000
_MINUTE = 60
_STEP = 64  # ended records dropped by one write
_STEP_WHEN_FULL = 1024  # and by one that would be refused for want of room


class Records:
    """What one process has issued. The caller sees to it that one thread at a time is here."""

    __slots__ = ("_ending", "_minutes", "_names", "_slots")

    def __init__(self) -> None:
        self._names: dict[bytes, Record] = {}
        self._slots: dict[bytes, bytes] = {}
        self._ending: dict[float, set[bytes]] = {}
        self._minutes: list[float] = [math.inf]  # a heap; the sentinel keeps [0] valid

    def find(self, name: bytes, now: float) -> Record | None:
        """Return the record *name*, live or spent; None where there is none or it has ended."""
        record = self._names.get(name)
        return record if record is not None and now < _end(record) else None

    def is_spent(self, record: Record) -> bool:
        """Return whether *record*, which was found, is spent."""
        return self._slots.get(record.slot) != record.name

    def put(self, record: Record, now: float, spends: Record | None = None) -> None:
        """
        Keep *record*; what its slot held ends.

        Args:
            record: Its name is new, or that of the record which the slot holds.
            now: Unix seconds.
            spends: The live record that is kept as spent, if any.

        Raises:
            BackendError: If the name is taken, or if there is no room; nothing has changed then.
        """
        self._prune(now, _STEP)
        held = self._slots.get(record.slot)
        if spends is not None and held == spends.name:
            held = None
        if record.name in self._names and record.name != held:
            raise BackendError("the memory backend has a record of this name")
        if held is None and len(self._names) >= MAX_RECORDS:
            self._prune(now, _STEP_WHEN_FULL)
            if len(self._names) >= MAX_RECORDS:
                raise BackendError("the memory backend holds as many records as it may")
        if spends is not None:
            del self._slots[spends.slot]
        if held is not None:
            self._forget(held)
        self._names[record.name] = record
        self._slots[record.slot] = record.name
        self._list(record)

    def drop(self, slot: bytes, now: float) -> bool:
        """End the record in *slot*; return whether there was one."""
        self._prune(now, _STEP)
        name = self._slots.get(slot)
        if name is None:
            return False
        live = self.find(name, now) is not None
        self._forget(name)
        return live

    def _list(self, record: Record) -> None:
        minute = _minute(record)
        if not minute < math.inf:
            return
        names = self._ending.get(minute)
        if names is None:
            names = self._ending[minute] = set()
            heapq.heappush(self._minutes, minute)
        names.add(record.name)

    def _forget(self, name: bytes) -> None:
        record = self._names.pop(name)
        if self._slots.get(record.slot) == name:
            del self._slots[record.slot]
        minute = _minute(record)
        if minute in self._ending:
            self._ending[minute].discard(name)

    def _prune(self, now: float, steps: int) -> None:
        """Drop at most *steps* ended records, the earliest first."""
        while steps > 0 and self._minutes[0] <= now:
            names = self._ending[self._minutes[0]]
            while names and steps > 0:
                steps -= 1
                self._forget(names.pop())
            if not names:
                steps -= 1
                del self._ending[heapq.heappop(self._minutes)]


def _end(record: Record) -> float:
    return math.inf if record.expires_at is None else record.expires_at


def _minute(record: Record) -> float:
    """Return the end of the minute in which *record* ends; infinity where it does not."""
    end = _end(record)
    return math.ceil(end / _MINUTE) * _MINUTE if math.isfinite(end) else end
