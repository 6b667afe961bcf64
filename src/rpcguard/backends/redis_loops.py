"""Takes the steps of flows in event loops: each loop has one connection to each server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

from rpcguard.backends.redis_flow import PAUSE, Flow, Outcome, Reply, Send, Wait, answering
from rpcguard.backends.redis_lines import Line
from rpcguard.backends.redis_questions import Question
from rpcguard.backends.redis_search import Search
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.errors import BackendError


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
            line = self._lines[address] = Line(self._settings, address, self._loop)
        return line


class Loops:
    """The connections of a process for its event loops."""

    __slots__ = ("_clients", "_lock", "_search", "_settings")

    def __init__(self, settings: Settings, search: Search) -> None:
        self._settings = settings
        self._search = search
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}

    async def run(self, question: Question) -> Any:
        """
        Return the script's reply to *question*, within the timeout.

        Raises:
            BackendError: If there is no answer that counts.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        client = self._clients.get(loop)
        if client is None:
            client = await self._begin(loop)
        replicas = self._settings.min_replicas
        address = self._search.locate(question.bucket)
        if address is None:
            return await self.follow(answering(question, self._search, replicas), deadline)
        outcome = await client.line(address).ask(Send(address, question), deadline)
        # The first step of every flow has been taken; most end with it, and need none then.
        if type(outcome) is Reply and not replicas:
            return outcome.value
        taken = (address, outcome)
        return await self.follow(answering(question, self._search, replicas, taken), deadline)

    async def follow(self, flow: Flow, deadline: float) -> Any:
        """
        Return the result of *flow*, in a loop that has put a question before.

        Raises:
            BackendError: If there is none by *deadline*.
        """
        client = self._clients.get(asyncio.get_running_loop())
        if client is None:
            raise BackendError("redis: the backend is closed")
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
