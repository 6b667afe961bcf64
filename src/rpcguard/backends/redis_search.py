"""
Where the servers are: one address, or what Sentinel or the nodes of a Cluster say.

A search runs in a thread of its own, one at a time, and all who need its result wait for the same
one. There is no timer: who is refused, or sent elsewhere, starts it. What is found is good until a
server does not behave as found; then the next search asks again, some milliseconds later at the
soonest, so that the time until a new primary is used is that which Sentinel or the Cluster takes.

Where a bucket has a new primary, that is told: see `RedisBackend`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic
from typing import Any

from redis.crc import key_slot

from rpcguard.backends.redis_flow import LostError
from rpcguard.backends.redis_links import Link, packed, refused
from rpcguard.backends.redis_questions import BUCKETS, slot_key
from rpcguard.backends.redis_settings import Address, Settings, told
from rpcguard.errors import BackendError

_INTERVAL = 0.05  # seconds between the end of one search and the next
_SHARE = 0.5  # of the timeout, for asking one server

_log = logging.getLogger("rpcguard.backends")


class Search:
    """Which server has which bucket, as far as is known."""

    __slots__ = ("_changed", "_ended", "_find", "_found", "_lock", "_running", "problem")

    def __init__(self, settings: Settings, changed: Callable[[list[int]], object]) -> None:
        """
        Args:
            settings: The backend's.
            changed: Is told the buckets that have another server than before, in the search's
                thread, when nobody waits for that any more.
        """
        self.problem = ""
        self._changed = changed
        self._lock = threading.Lock()
        self._found: list[Address] = []
        self._running: Future[None] | None = None
        self._ended = -_INTERVAL
        self._find: Callable[[], list[Address]] | None = None
        if settings.topology == "single":
            self._found = [settings.addresses[0]] * BUCKETS
        elif settings.topology == "sentinel":
            self._find = _Sentinels(settings)
        else:
            self._find = _Nodes(settings)

    def locate(self, bucket: int) -> Address | None:
        """Return who has *bucket*; None while that is not known."""
        found = self._found
        return found[bucket] if found else None

    def moved(self, bucket: int, address: Address) -> None:
        """Note that *address* has it, and find out who else has moved."""
        if self._find is None:
            raise BackendError("redis: the server is one of a Cluster; write redis+cluster://")
        if self._found:
            self._found[bucket] = address
        self.again()

    def suspect(self) -> None:
        """Begin to find out where the servers are now."""
        self.again()

    def again(self) -> Future[None]:
        """Return a search that is under way, or has just ended; it never fails."""
        with self._lock:
            if self._running is not None:
                ended = self._running.done() and monotonic() - self._ended >= _INTERVAL
                if not ended:
                    return self._running
            running: Future[None] = Future()
            running.set_running_or_notify_cancel()  # who gives up waiting does not end it
            self._running = running
            if self._find is None:
                running.set_result(None)
                return running
        try:
            thread = threading.Thread(
                target=self._run, args=(self._find, running), name="rpcguard-redis", daemon=True
            )
            thread.start()
        except RuntimeError:  # the interpreter shuts down, or has no thread to give
            self._note("no thread to look for the servers in")
            running.set_result(None)
        return running

    def _run(self, find: Callable[[], list[Address]], running: Future[None]) -> None:
        before = list(self._found)
        try:
            self._found = find()
        except LostError as error:
            self._note(str(error))
        else:
            self.problem = ""
        finally:
            self._ended = monotonic()
            running.set_result(None)
        pairs = zip(before, self._found, strict=False)
        buckets = [n for n, (old, new) in enumerate(pairs) if old != new]
        if buckets:
            self._changed(buckets)

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("redis: %s", problem)
        self.problem = problem


class _Asked:
    """Some servers, one of which is asked; who has answered last comes first."""

    def __init__(self, settings: Settings, connection: Mapping[str, Any], tls: bool) -> None:
        self._settings = replace(settings, connection=connection, tls=tls)
        self.addresses = list(settings.addresses)

    def ask(self, read: Callable[[Any, Address], Any], *command: str) -> Any:
        """
        Return what *read* makes of the first reply that it can read.

        Raises:
            LostError: If nobody gives one.
        """
        problem = LostError("there is nobody to ask where the servers are")
        for address in list(self.addresses):
            try:
                found = read(self._reply(address, packed(*command)), address)
            except LostError as error:
                problem = LostError(f"{address}: {error}")
                continue
            except (TypeError, ValueError, IndexError):
                problem = LostError(f"{address}: an answer that cannot be read")
                continue
            self.addresses.remove(address)
            self.addresses.insert(0, address)
            return found
        raise problem

    def _reply(self, address: Address, command: bytes) -> Any:
        deadline = monotonic() + self._settings.timeout * _SHARE
        link = Link(self._settings, address, deadline)
        try:
            replies = link.exchange([command], 1, deadline)
            if (refusal := refused(replies)) is not None:
                raise refusal
            return replies[0]
        finally:
            link.close()


class _Sentinels:
    """Ask Sentinel who is the primary."""

    def __init__(self, settings: Settings) -> None:
        self._service = settings.service
        self._asked = _Asked(settings, settings.sentinel, settings.sentinel_tls)

    def __call__(self) -> list[Address]:
        """Return the primary, for each bucket."""
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        return [self._asked.ask(_primary, *command)] * BUCKETS


def _primary(reply: Any, _: Address) -> Address:
    if isinstance(reply, list) and len(reply) == 2:
        return told(reply[0], int(reply[1]))
    raise LostError("this Sentinel does not know the service")


class _Nodes:
    """Ask the nodes of a Cluster who has the slots."""

    def __init__(self, settings: Settings) -> None:
        self._slots = [key_slot(slot_key(settings.key_prefix, n)) for n in range(BUCKETS)]
        self._seeds = settings.addresses
        self._asked = _Asked(settings, settings.connection, settings.tls)

    def __call__(self) -> list[Address]:
        """Return who has each bucket."""
        ranges = self._asked.ask(_slots, "CLUSTER", "SLOTS")
        found = [self._holder(slot, ranges) for slot in self._slots]
        known = [*self._asked.addresses, *found, *self._seeds]
        last = known[0]  # who has answered
        here = {last, *found, *self._seeds}
        self._asked.addresses = [each for each in dict.fromkeys(known) if each in here]
        return found

    @staticmethod
    def _holder(slot: int, ranges: Sequence[tuple[int, int, Address]]) -> Address:
        for first, last, address in ranges:
            if first <= slot <= last:
                return address
        raise LostError("the Cluster has nobody for some slots")


def _slots(reply: Any, asked: Address) -> list[tuple[int, int, Address]]:
    if not isinstance(reply, list):
        raise LostError("the server is not one of a Cluster")
    found = []
    for first, last, primary, *_ in reply:
        host = primary[0] or asked.host.encode()  # none stands for the one that was asked
        found.append((int(first), int(last), told(host, primary[1])))
    return found
