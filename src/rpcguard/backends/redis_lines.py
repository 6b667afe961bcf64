"""
The questions of one event loop for one server, and the connection that they go over.

Questions of the same turn of the loop go out together, as one pipeline, a large one in parts, so
that the server works on the first while the last are put together. Replies come in the order of the
questions. Each question has its own deadline: one that is over is told so, and its reply, when it
comes, is thrown away; that costs no other question its answer. The connection is given up when
nobody waits for a reply any more, or when the server has been silent for so long that a new one is
the better chance.

A question that is cancelled before it goes out is not asked; the reply to one that is cancelled
later is thrown away.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from rpcguard.backends.redis_flow import LostError, Outcome, Send
from rpcguard.backends.redis_links import AsyncLink, outcomes, written
from rpcguard.backends.redis_settings import Address, Settings

_EARLY = 4  # questions that do not wait for the end of the loop's turn
_AT_ONCE = 32  # questions in one pipeline
_UNDER_WAY = 128  # questions that a server has at a time: a slow one answers more of them too late
_GRAIN = 1 / 64  # of the timeout: those that end so close together are told in one go


# A question that waits: its step, its deadline, and what will have its outcome. (A class would cost
# each question as much as all the rest of its way through a line.)
_Item = tuple[Send, float, "asyncio.Future[Outcome]"]


class _Batch:
    """Questions that went out together, and the replies to them that have come."""

    __slots__ = ("items", "missing", "replies")

    def __init__(self, items: list[_Item], missing: int) -> None:
        self.items = items
        self.missing = missing
        self.replies: list[Any] = []


class Line:
    """Puts the questions of one loop to one server."""

    __slots__ = (
        *("_address", "_due", "_leaving", "_link", "_loop", "_opening", "_queue", "_sent"),
        *("_settings", "_timer", "_under_way", "_waking"),
    )

    def __init__(
        self, settings: Settings, address: Address, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._address = address
        self._loop = loop
        self._queue: deque[_Item] = deque()  # not yet sent
        self._waking = False  # whether the queue will be sent at the end of this turn
        self._sent: deque[_Batch] = deque()
        self._under_way = 0  # questions in it
        self._link: AsyncLink | None = None
        self._opening: asyncio.Task[None] | None = None
        self._leaving: dict[AsyncLink, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when it looks who has waited too long

    def ask(self, step: Send, deadline: float) -> asyncio.Future[Outcome]:
        """
        Put the question of *step*; return what will have its outcome.

        Args:
            step: A step of a flow.
            deadline: When to give up, by the loop's clock.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._queue.append((step, deadline, future))
        if deadline < self._due:
            self._look_at(deadline)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        elif len(self._queue) >= _EARLY and not self._settings.min_replicas:  # one WAIT is enough
            self._send()
        return future

    async def close(self) -> None:
        """Close the connections, whatever is under way."""
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        waiting = [*self._items(), *self._queue]
        self._queue.clear()
        self._sent.clear()
        _tell(waiting, LostError("closed", sent=True, late=True))
        link, self._link = self._link, None
        cancelled: asyncio.CancelledError | None = None
        for each in [*self._leaving, *([] if link is None else [link])]:
            try:
                await each.close()
            except asyncio.CancelledError as error:  # the loop ends: the others close too
                cancelled = error
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if cancelled is not None:
            raise cancelled

    def heard(self, link: AsyncLink, replies: list[Any]) -> None:
        """Tell the outcomes of the batches whose replies have all come over *link*."""
        if link is not self._link:
            return
        start = 0
        while start < len(replies):
            if not self._sent:
                self.lost(link, LostError("the server answered what nobody asked", sent=True))
                return
            batch = self._sent[0]
            some = replies[start : start + batch.missing]
            start += len(some)
            batch.missing -= len(some)
            batch.replies += some
            if not batch.missing:
                self._sent.popleft()
                self._under_way -= len(batch.items)
                found = outcomes([step for step, _, _ in batch.items], batch.replies)
                for (_, _, future), outcome in zip(batch.items, found, strict=True):
                    if not future.done():
                        future.set_result(outcome)
        if self._queue:
            self._send()

    def lost(self, link: AsyncLink, error: LostError) -> None:
        """Give *link* up: tell *error* to those whose questions were sent, and open another one."""
        if link is not self._link:
            return
        waiting = list(self._items())
        self._link, self._under_way = None, 0
        self._sent.clear()
        link.abort()
        self._leaving[link] = self._loop.create_task(self._leave(link))
        _tell(waiting, error)
        self._send()

    def _wake(self) -> None:
        self._waking = False
        self._send()

    def _send(self) -> None:
        """Send what waits, as far as the server may have it already."""
        link, replicas = self._link, self._settings.min_replicas
        if link is None:
            if self._queue and self._opening is None:
                self._opening = self._loop.create_task(self._open())
            return
        while self._queue and self._under_way < _UNDER_WAY:
            items = self._next()
            if not items:
                return
            left = 0.0
            if replicas:  # WAIT ends before the last gives up; who gives up earlier is told then
                left = max(deadline for _, deadline, _ in items) - self._loop.time()
            commands = written([step for step, _, _ in items], link.server, replicas, left)
            self._sent.append(_Batch(items, len(commands)))
            self._under_way += len(items)
            link.send(b"".join(commands))

    def _next(self) -> list[_Item]:
        """Take the next questions out of the queue, but for those that nobody waits for."""
        items: list[_Item] = []
        while self._queue and len(items) < _AT_ONCE:
            item = self._queue.popleft()
            if not item[2].done():
                items.append(item)
        return items

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """Tell those whose time is up, and give the connection up where that is better."""
        self._timer, self._due = None, math.inf
        now = self._loop.time() + self._settings.timeout * _GRAIN
        over = [item for item in (*self._items(), *self._queue) if item[1] <= now]
        _tell(over, LostError("no answer in time", sent=True, late=True))
        if self._link is not None and self._is_hopeless(now):
            self.lost(self._link, LostError("no answer in time", sent=True))
        waiting = [
            deadline for _, deadline, future in (*self._items(), *self._queue) if not future.done()
        ]
        if waiting:
            self._look_at(min(waiting))

    def _is_hopeless(self, now: float) -> bool:
        """Return whether nobody waits for what was sent, or the next reply is long overdue."""
        if not self._sent:
            return False
        _, oldest, _ = self._sent[0].items[0]
        overdue = oldest + self._settings.timeout <= now
        return overdue or all(future.done() for _, _, future in self._items())

    def _items(self) -> Iterator[_Item]:
        """Return the questions that were sent and have no reply, the oldest first."""
        return (item for batch in self._sent for item in batch.items)

    async def _open(self) -> None:
        """Open a connection, for those who wait and those who come meanwhile."""
        link: AsyncLink | None = None
        error = LostError("no answer in time")
        try:
            link = AsyncLink(self._settings, self._address, self)
            async with asyncio.timeout(self._settings.timeout):
                await link.open(guard=self._settings.restart_guard)
            self._link = link
        except TimeoutError:
            pass
        except LostError as lost:
            error = lost
        except BaseException:  # the loop ends, or something is wrong here: nobody is left waiting
            error = LostError("closed", late=True)
            raise
        finally:
            self._opening = None
            if self._link is None:
                waiting, self._queue = self._queue, deque()
                _tell(waiting, error)
                if link is not None:
                    await link.close()
        self._send()

    async def _leave(self, link: AsyncLink) -> None:
        await link.close()
        del self._leaving[link]


def _tell(items: Iterable[_Item], error: LostError) -> None:
    """Tell *error* to those of *items* that wait."""
    for _, _, future in items:
        if not future.done():
            future.set_result(error)
