"""
Takes the steps of flows in event loops: each loop has one connection to each server.

Questions that wait in one loop for one server go out together, as one pipeline: those that were put
in the same turn of the loop, or while the last pipeline was under way. A question that is cancelled
before it goes out is not asked; the reply to one that is cancelled later is thrown away. Neither
concerns the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from rpcguard.backends.redis_flow import PAUSE, Flow, LostError, Outcome, Send, Wait
from rpcguard.backends.redis_links import AsyncLink
from rpcguard.backends.redis_search import Search
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.errors import BackendError

_AT_ONCE = 128  # questions in one pipeline


class _Item:
    """A question that waits."""

    __slots__ = ("deadline", "future", "step")

    def __init__(self, step: Send, deadline: float, future: asyncio.Future[Outcome]) -> None:
        self.step = step
        self.deadline = deadline
        self.future = future


class _Line:
    """The questions of one loop for one server, and the connection they go over."""

    __slots__ = ("_address", "_link", "_loop", "_queue", "_settings", "_task")

    def __init__(
        self, settings: Settings, address: Address, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._address = address
        self._loop = loop
        self._queue: deque[_Item] = deque()
        self._task: asyncio.Task[None] | None = None
        self._link: AsyncLink | None = None

    async def ask(self, step: Send, deadline: float) -> Outcome:
        """Return what comes back for *step*."""
        item = _Item(step, deadline, self._loop.create_future())
        self._queue.append(item)
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        return await item.future

    async def close(self) -> None:
        """Close the connection, whatever is under way."""
        if self._task is not None:
            self._task.cancel()
        await self._hang_up()

    async def _run(self) -> None:
        batch: list[_Item] = []
        try:
            while self._queue:
                batch = self._next()
                if batch:
                    outcomes = await self._exchange(batch)
                    _deliver(batch, outcomes)
                    if isinstance(outcomes[0], LostError):
                        await self._hang_up()
        except BaseException:  # the loop ends, or something is wrong here: nobody is left waiting
            waiting = [*batch, *self._queue]
            self._queue.clear()
            self._task = None  # who asks while the connection is closed begins anew
            _deliver(waiting, [LostError("closed", sent=True, late=True)] * len(waiting))
            await self._hang_up()
            raise
        self._task = None

    def _next(self) -> list[_Item]:
        """Take the next questions out of the queue, but for those that nobody waits for."""
        batch: list[_Item] = []
        while self._queue and len(batch) < _AT_ONCE:
            item = self._queue.popleft()
            if not item.future.done():
                batch.append(item)
        return batch

    async def _exchange(self, batch: Sequence[_Item]) -> Sequence[Outcome]:
        """Return the outcomes, before the time of the question that has waited longest is up."""
        steps = [item.step for item in batch]
        deadline = min(item.deadline for item in batch)
        try:
            async with asyncio.timeout_at(deadline):
                link = self._link
                if link is None:
                    link = self._link = AsyncLink(self._settings, self._address)
                    await link.open(guard=self._settings.restart_guard)
                left = deadline - self._loop.time()
                return await link.ask(steps, self._settings.min_replicas, left)
        except TimeoutError:
            lost = LostError("no answer in time", sent=True, late=True)
        except LostError as error:
            lost = error
        return [lost] * len(batch)

    async def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()


def _deliver(batch: Sequence[_Item], outcomes: Sequence[Outcome]) -> None:
    for item, outcome in zip(batch, outcomes, strict=True):
        if not item.future.done():
            item.future.set_result(outcome)


class _Client:
    """
    The connections of one event loop.

    Attributes:
        life: Ends with the loop.
    """

    __slots__ = ("_closed", "_ended", "_ending", "_lines", "_loop", "_settings", "life")

    def __init__(
        self, settings: Settings, loop: asyncio.AbstractEventLoop, ended: Callable[[], object]
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._ended = ended
        self._lines: dict[Address, _Line] = {}
        self._closed = False
        self._ending: asyncio.Task[None] | None = None
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None, None]:
        """
        Close the connections when the loop ends.

        `asyncio.run`, and whatever else ends a loop in good order, closes the asynchronous
        generators that have begun; there is no other way to be told.
        """
        try:
            yield
        finally:
            if self._ending is not None:
                await asyncio.wait([self._ending])
            await self._close()

    def end(self) -> None:
        """Begin to close the connections, in the loop's thread."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._close())

    async def _close(self) -> None:
        self._closed = True
        self._ended()
        cancelled: asyncio.CancelledError | None = None
        while self._lines:
            _, line = self._lines.popitem()
            try:
                await line.close()
            except asyncio.CancelledError as error:  # the loop ends: the others close too
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def line(self, address: Address) -> _Line:
        """
        Return the line to *address*.

        Raises:
            BackendError: If the connections have been closed.
        """
        if self._closed:
            raise BackendError("redis: the backend is closed")
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = _Line(self._settings, address, self._loop)
        return line


class Loops:
    """The connections of a process for its event loops."""

    __slots__ = ("_clients", "_lock", "_search", "_settings")

    def __init__(self, settings: Settings, search: Search) -> None:
        self._settings = settings
        self._search = search
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}

    async def run(self, flow: Flow) -> Any:
        """
        Return the result of *flow*, within the timeout.

        Raises:
            BackendError: If there is no answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        client = self._clients.get(loop)
        if client is None:
            client = await self._begin(loop)
        try:
            step = next(flow)
            while True:
                outcome: Outcome | None = None
                if isinstance(step, Send):
                    outcome = await client.line(step.address).ask(step, deadline)
                else:
                    await self._wait(step, deadline)
                step = flow.send(outcome)
        except StopIteration as done:
            return done.value

    def close(self) -> None:
        """Close all connections; a loop that runs does so at its next turn."""
        for loop, client in list(self._clients.items()):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(client.end)

    async def _begin(self, loop: asyncio.AbstractEventLoop) -> _Client:
        client = _Client(self._settings, loop, lambda: self._clients.pop(loop, None))
        with self._lock:
            for other in [each for each in self._clients if each.is_closed()]:
                del self._clients[other]  # it ended without a word
            self._clients[loop] = client
        await anext(client.life)
        return client

    async def _wait(self, step: Wait, deadline: float) -> None:
        left = deadline - asyncio.get_running_loop().time()
        if step is Wait.PAUSE:
            await asyncio.sleep(min(PAUSE, max(0.0, left)))
            return
        search = self._search.again()
        if search.done():
            return
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.wrap_future(search)
        except TimeoutError:
            raise BackendError("redis: nobody has said in time where the primary is") from None
