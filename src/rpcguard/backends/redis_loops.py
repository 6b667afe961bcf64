"""Takes the steps of flows in event loops: each loop has one connection to each server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

from rpcguard.backends.redis_flow import PAUSE, Flow, Outcome, Send, Wait, answering
from rpcguard.backends.redis_items import Item
from rpcguard.backends.redis_lines import Line
from rpcguard.backends.redis_places import Places
from rpcguard.backends.redis_questions import Question, answer_of
from rpcguard.backends.redis_search import Search
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.errors import BackendError
from rpcguard.owed import Answer


class _Client:
    """
    The connections of one event loop.

    Attributes:
        life: Ends with the loop.
    """

    __slots__ = ("_closed", "_ended", "_ending", "_lines", "_loop", "_new_line", "life")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        new_line: Callable[[Address, asyncio.AbstractEventLoop], Line],
        ended: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._new_line = new_line
        self._ended = ended
        self._lines: dict[Address, Line] = {}
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

    def forget(self) -> None:
        """Give the places back of what was under way when the loop ended without a word."""
        for line in self._lines.values():
            line.forget()

    def line(self, address: Address) -> Line:
        """
        Return the line to *address*.

        Raises:
            BackendError: If the connections have been closed.
        """
        if self._closed:
            raise BackendError("redis: the backend is closed")
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = self._new_line(address, self._loop)
        return line


class Loops:
    """The connections of a process for its event loops."""

    __slots__ = ("_clients", "_closed", "_lock", "_places", "_retrying", "_search", "_settings")

    def __init__(self, settings: Settings, search: Search, places: Places) -> None:
        self._settings = settings
        self._search = search
        self._places = places
        self._lock = threading.Lock()
        self._closed = False
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}
        self._retrying: set[asyncio.Task[Answer]] = set()  # a loop itself would forget them

    def settle(self, question: Question) -> asyncio.Future[Answer]:
        """
        Put *question* in the running loop; return what will have its answer, within the timeout.

        Raises:
            BackendError: If no place is left, or the connections have been closed.
        """
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        address = self._search.locate(question.bucket)
        if client is None or address is None:
            return loop.create_task(self._begin(question))
        line = client.line(address)
        self._places.take()
        return line.settle(question, loop.time() + self._settings.timeout)

    async def _begin(self, question: Question) -> Answer:
        """Settle where the loop has put no question before, or nobody knows yet where to."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        if loop not in self._clients:
            await self._begin_client(loop)
        self._places.take()
        try:
            flow = answering(question, self._search, self._settings.min_replicas)
            return answer_of(await self.follow(flow, deadline))
        finally:
            self._places.give_back()

    async def follow(self, flow: Flow, deadline: float) -> Any:
        """
        Return the result of *flow*, which has not begun, in a loop that has put a question before.

        Raises:
            BackendError: If there is none by *deadline*.
        """
        return await self._take(next(flow), flow, deadline)

    async def _take(self, step: Send | Wait, flow: Flow, deadline: float) -> Any:
        """Take *step* of *flow*, and all that follow."""
        client = self._clients.get(asyncio.get_running_loop())
        if client is None:
            raise BackendError("redis: the backend is closed")
        try:
            while True:
                outcome: Outcome | None = None
                if isinstance(step, Send):
                    outcome = await client.line(step.address).ask(step, deadline)
                else:
                    await self._wait(step, deadline)
                step = flow.send(outcome)
        except StopIteration as done:
            return done.value

    def _conclude(self, address: Address, item: Item, outcome: Outcome) -> None:
        """
        Give a question its answer that was settled on a line and has not come back with OK.

        Most flows end with their first step, which has been taken; the others go on in a task.
        """
        question, deadline, future, _ = item
        taken = (address, outcome)
        replicas = self._settings.min_replicas
        flow = _to_answer(answering(question, self._search, replicas, taken))
        try:
            step = next(flow)
        except StopIteration as done:
            future.set_result(done.value)
        except BackendError as error:
            future.set_exception(error)
        else:
            task = future.get_loop().create_task(self._go_on(step, flow, deadline))
            self._retrying.add(task)
            task.add_done_callback(lambda _: self._retried(task, future))
            future.add_done_callback(lambda _: task.cancel())  # nobody waits for it any more

    async def _go_on(self, step: Send | Wait, flow: Flow, deadline: float) -> Answer:
        self._places.keep()
        try:
            answer: Answer = await self._take(step, flow, deadline)
            return answer
        finally:
            self._places.give_back()

    def _retried(self, task: asyncio.Task[Answer], future: asyncio.Future[Answer]) -> None:
        self._retrying.discard(task)
        if task.cancelled():
            future.cancel()
            return
        error = task.exception()
        if future.done():
            return
        if error is None:
            future.set_result(task.result())
        else:
            future.set_exception(error)

    def close(self) -> None:
        """Close all connections; a loop that runs does so at its next turn."""
        with self._lock:
            self._closed = True
        for loop, client in list(self._clients.items()):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(client.end)

    def _line(self, address: Address, loop: asyncio.AbstractEventLoop) -> Line:
        return Line(self._settings, address, loop, self._places, self._conclude)

    async def _begin_client(self, loop: asyncio.AbstractEventLoop) -> None:
        client = _Client(loop, self._line, lambda: self._clients.pop(loop, None))
        with self._lock:
            if self._closed:
                raise BackendError("redis: the backend is closed")
            for other in [each for each in self._clients if each.is_closed()]:
                self._clients.pop(other).forget()  # it ended without a word
            self._clients[loop] = client
        await anext(client.life)

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


def _to_answer(flow: Flow) -> Flow:
    """Return *flow* with what its reply means for a result."""
    return answer_of((yield from flow))
