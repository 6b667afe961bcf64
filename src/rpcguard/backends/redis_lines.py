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
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rpcguard.backends.redis_flow import LostError, Outcome, Send
from rpcguard.backends.redis_items import Batch, Item, commands, settles, steps
from rpcguard.backends.redis_links import OK_REPLY, AsyncLink, outcomes
from rpcguard.backends.redis_places import Places
from rpcguard.backends.redis_questions import Question
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.owed import Answer

_EARLY = 4  # questions that do not wait for the end of the loop's turn
_AT_ONCE = 32  # questions in one pipeline
_UNDER_WAY = 128  # questions that a server has at a time: a slow one answers more of them too late
_GRAIN = 1 / 64  # of the timeout: those that end so close together are told in one go

# Gives a settle its answer, from where it was sent and an outcome that is not the usual one; says
# whether that is all. If not, it asks again, and has the place from then on.
Conclude = Callable[[Address, Item, Outcome], bool]


class Line:
    """Puts the questions of one loop to one server."""

    __slots__ = (
        *("_address", "_conclude", "_due", "_is_opening", "_leaving", "_link", "_loop", "_opening"),
        *("_places", "_queue", "_sent", "_settings", "_timer", "_under_way", "_waking"),
    )

    def __init__(
        self,
        settings: Settings,
        address: Address,
        loop: asyncio.AbstractEventLoop,
        places: Places,
        conclude: Conclude,
    ) -> None:
        """
        Args:
            settings: The backend's.
            address: The server.
            loop: The loop.
            places: Where each settle has one, until its reply has come or will not come.
            conclude: Gives a settle its answer when its outcome is not the usual one.
        """
        self._settings = settings
        self._places = places
        self._conclude = conclude
        self._address = address
        self._loop = loop
        self._queue: deque[Item] = deque()  # not yet sent
        self._waking = False  # whether the queue will be sent at the end of this turn
        self._sent: deque[Batch] = deque()
        self._under_way = 0  # questions in it
        self._link: AsyncLink | None = None
        # A task can have ended before whoever has made it has it (`asyncio.eager_task_factory`).
        self._is_opening = False
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
        self._put((step.question, deadline, future, step))
        return future

    def settle(self, question: Question, deadline: float) -> asyncio.Future[Answer]:
        """
        Put *question*, which has taken a place; return what will have its answer.

        Args:
            question: A settle that was not put before.
            deadline: When to give up, by the loop's clock.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._put((question, deadline, future, None))
        return future

    def _put(self, item: Item) -> None:
        self._queue.append(item)
        deadline = item[1]
        if deadline < self._due:
            self._look_at(deadline)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        elif len(self._queue) >= _EARLY and not self._settings.min_replicas:  # one WAIT is enough
            self._send()

    async def close(self) -> None:
        """Close the connections, whatever is under way."""
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        waiting = [*self._items(), *self._queue]
        self._queue.clear()
        self._sent.clear()
        self._gone(waiting, LostError("closed", sent=True, late=True))
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
                self._answer(batch.items, batch.replies)
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
        leaving = self._leaving[link] = self._loop.create_task(link.close())
        leaving.add_done_callback(lambda _: self._leaving.pop(link))
        self._gone(waiting, error)
        self._send()

    def _answer(self, items: list[Item], replies: list[Any]) -> None:
        """Tell the outcomes of *items*, from the replies to all that went out with them."""
        if replies == [0] * len(items):  # the usual: nothing else was sent, and all are OK
            settled = 0
            for _, _, future, step in items:
                settled += step is None
                if not future.done():
                    future.set_result(Answer.OK if step is None else OK_REPLY)
            self._places.give_back(settled)
            return
        found = outcomes(steps(items, self._address), replies)
        pairs = zip(items, found, strict=True)
        self._places.give_back(sum([self._tell(item, outcome) for item, outcome in pairs]))

    def _wake(self) -> None:
        self._waking = False
        self._send()

    def _send(self) -> None:
        """Send what waits, as far as the server may have it already."""
        link, replicas = self._link, self._settings.min_replicas
        if link is None:
            if self._queue and not self._is_opening:
                self._is_opening = True
                self._opening = self._loop.create_task(self._open())
            return
        while self._queue and self._under_way < _UNDER_WAY:
            items = self._next()
            if not items:
                return
            left = 0.0
            if replicas:  # WAIT ends before the last gives up; who gives up earlier is told then
                left = max(deadline for _, deadline, _, _ in items) - self._loop.time()
            sent = commands(items, self._address, link.server, replicas, left)
            self._sent.append(Batch(items, len(sent)))
            self._under_way += len(items)
            link.send(b"".join(sent))

    def _next(self) -> list[Item]:
        """Take the next questions out of the queue, but for those that nobody waits for."""
        items: list[Item] = []
        while self._queue and len(items) < _AT_ONCE:
            item = self._queue.popleft()
            if not item[2].done():
                items.append(item)
            elif item[3] is None:
                self._places.give_back()
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
        for item in over:
            self._tell(item, LostError("no answer in time", sent=True, late=True))
        if self._link is not None and self._is_hopeless(now):
            self.lost(self._link, LostError("no answer in time", sent=True))
        waiting = [item[1] for item in (*self._items(), *self._queue) if not item[2].done()]
        if waiting:
            self._look_at(min(waiting))

    def _is_hopeless(self, now: float) -> bool:
        """Return whether nobody waits for what was sent, or the next reply is long overdue."""
        if not self._sent:
            return False
        oldest = self._sent[0].items[0][1]
        overdue = oldest + self._settings.timeout <= now
        return overdue or all(item[2].done() for item in self._items())

    def _items(self) -> Iterator[Item]:
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
            self._is_opening = False
            if self._link is None:
                waiting, self._queue = self._queue, deque()
                self._gone(waiting, error)
                if link is not None:
                    await link.close()
        self._send()

    def _tell(self, item: Item, outcome: Outcome) -> bool:
        """Tell *outcome* to *item*, if it waits; return whether it is a settle that is over."""
        _, _, future, step = item
        if step is None:
            return future.done() or self._conclude(self._address, item, outcome)
        if not future.done():
            future.set_result(outcome)
        return False

    def _gone(self, items: Iterable[Item], error: LostError) -> None:
        """Tell *error* to those of *items* that wait: there will be no reply to any."""
        self._places.give_back(sum([self._tell(item, error) for item in items]))

    def forget(self) -> None:
        """Give the places back of all that waits, and tell nobody: the loop has ended."""
        self._places.give_back(settles([*self._items(), *self._queue]))
        self._queue.clear()  # the end of who opens a connection must not find them
        self._sent.clear()
