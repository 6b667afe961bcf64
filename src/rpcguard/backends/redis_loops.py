"""Takes the steps of flows in event loops: each loop has one connection to each server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
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
        loop: The loop.
        life: Ends with it.
        going_on: Tasks, each of which asks again for a settle, and has its place; a loop itself
            would forget them.
    """

    __slots__ = (
        *("_closed", "_ended", "_ending", "_lines", "_new_line", "_places"),
        *("going_on", "life", "loop"),
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        places: Places,
        new_line: Callable[[Address, _Client], Line],
        ended: Callable[[], object],
    ) -> None:
        self.loop = loop
        self._places = places
        self._new_line = new_line
        self._ended = ended
        self._lines: dict[Address, Line] = {}
        self._closed = False
        self._ending: asyncio.Task[None] | None = None
        self.going_on: set[asyncio.Task[Answer]] = set()
        self.life = self._live()

    def begin(self) -> None:
        """Begin to live, in the running loop: it is told of the generator, which only waits."""
        with contextlib.suppress(StopIteration):
            self.life.__anext__().send(None)

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
            self._ending = self.loop.create_task(self._close())

    async def _close(self) -> None:
        self._closed = True
        self._ended()
        cancelled: asyncio.CancelledError | None = None
        try:
            while self._lines:
                _, line = self._lines.popitem()
                try:
                    await line.close()
                except asyncio.CancelledError as error:  # the loop ends: the others close too
                    cancelled = error
        finally:
            self.forget()
        if cancelled is not None:
            raise cancelled

    def forget(self) -> None:
        """Give the places back of what is under way: the loop ends, maybe without a word."""
        for line in self._lines.values():
            line.forget()
        self._places.give_back(len(self.going_on))
        self.going_on.clear()

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
            line = self._lines[address] = self._new_line(address, self)
        return line


class Loops:
    """The connections of a process for its event loops."""

    __slots__ = ("_clients", "_closed", "_lock", "_places", "_search", "_settings")

    def __init__(self, settings: Settings, search: Search, places: Places) -> None:
        self._settings = settings
        self._search = search
        self._places = places
        self._lock = threading.Lock()
        self._closed = False
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}

    def settle(self, question: Question) -> asyncio.Future[Answer]:
        """
        Put *question* in the running loop; return what will have its answer, within the timeout.

        Raises:
            BackendError: If no place is left, or the connections have been closed.
        """
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop) or self._begin(loop)
        deadline = loop.time() + self._settings.timeout
        address = self._search.locate(question.bucket)
        if address is not None:
            line = client.line(address)
            self._places.take()
            return line.settle(question, deadline)
        flow = _to_answer(answering(question, self._search, self._settings.min_replicas))
        self._places.take()
        future: asyncio.Future[Answer] = loop.create_future()
        self._go_on(client, next(flow), flow, deadline, future)
        return future

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

    def _conclude(self, client: _Client, address: Address, item: Item, outcome: Outcome) -> bool:
        """
        Give a question its answer that was settled on a line and has not come back with OK; return
        whether it has one, and needs its place no more.

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
            self._go_on(client, step, flow, deadline, future)
            return False
        return True

    def _go_on(
        self,
        client: _Client,
        step: Send | Wait,
        flow: Flow,
        deadline: float,
        future: asyncio.Future[Answer],
    ) -> None:
        """Take *step* of *flow* and all that follow in a task, which has a place, for *future*."""

        def end(task: asyncio.Task[Answer]) -> None:
            if task in client.going_on:  # else its place has been given back
                client.going_on.remove(task)
                self._places.give_back()
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

        task = future.get_loop().create_task(self._take(step, flow, deadline))
        client.going_on.add(task)
        task.add_done_callback(end)
        future.add_done_callback(lambda _: task.cancel())  # nobody waits for it any more

    def close(self) -> None:
        """Close all connections; a loop that runs does so at its next turn."""
        with self._lock:
            self._closed = True
        for loop, client in list(self._clients.items()):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(client.end)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> _Client:
        client = _Client(loop, self._places, self._line, lambda: self._clients.pop(loop, None))
        with self._lock:
            if self._closed:
                raise BackendError("redis: the backend is closed")
            for other, its in list(self._clients.items()):  # others end meanwhile
                if other.is_closed():
                    self._clients.pop(other, None)
                    its.forget()  # it ended without a word
            self._clients[loop] = client
        client.begin()
        return client

    def _line(self, address: Address, client: _Client) -> Line:
        conclude = functools.partial(self._conclude, client)
        return Line(self._settings, address, client.loop, self._places, conclude)

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
