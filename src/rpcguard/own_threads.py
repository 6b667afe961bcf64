"""
Threads of one's own, in which event loops let work wait that blocks.

The framework's threads are the application's: what rpcguard waits for there would hold the
application up, and what the application does there would hold up who signs in.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Semaphore
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from rpcguard.errors import BackendError

if TYPE_CHECKING:  # loaded when the first work comes: without an event loop there is none
    from concurrent.futures import Future, ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 8
WAITING: Final = 1000  # callers who may have work in the threads or before them


class NoThreadError(BackendError):
    """No thread came free in time, and nothing of the work was done."""


class _Pool(NamedTuple):
    """Those of one process: a child of a fork has none of its parent's threads."""

    threads: ThreadPoolExecutor
    places: Semaphore


@dataclass(slots=True)
class _Turn:
    """
    One caller's work.

    Attributes:
        answer: What becomes of it.
        work: What is to be done.
        left: Its place is free already, though it may stand in the queue.
    """

    answer: Future[Any]
    work: Callable[[], Any]
    left: bool = False


class OwnThreads:
    """
    A few threads of a process. Nobody waits for one beyond a deadline, and only so many wait.

    Thread-safe, and for any number of event loops.
    """

    def __init__(self, name: str, threads: int = THREADS, waiting: int = WAITING) -> None:
        """
        Args:
            name: Whose they are: what they are called, and what errors begin with.
            threads: How many there are.
            waiting: How many callers may have work in them or wait; more are refused at once.
        """
        self._name = name
        self._threads = threads
        self._waiting = waiting
        self._pools: dict[int, _Pool] = {}
        self._closed = False

    async def run(
        self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Return what *work* returns, in the context of the caller.

        Args:
            seconds: How long the caller waits, for a thread and for the work together.
            work: Called in a thread, with all that follows.
            *args: Its arguments.
            **kwargs: Likewise.

        Raises:
            NoThreadError: If the work was not begun: no thread came free within *seconds*, too many
                callers wait already, or the threads are closed.
            BackendError: If it was begun and has not ended within *seconds*. It will end.
        """
        import asyncio  # noqa: PLC0415  a loop is running: it is there, and elsewhere not needed
        from concurrent.futures import Future  # noqa: PLC0415  likewise

        pool = self._pool()
        if not pool.places.acquire(blocking=False):
            raise NoThreadError(f"{self._name}: too many callers wait")
        answer: Future[T] = Future()
        context = contextvars.copy_context()
        turn = _Turn(answer, partial(context.run, work, *args, **kwargs))
        try:
            # Cancelling this caller must not take the work out of the queue: it keeps its place
            # there until a thread has looked at it, so that the queue is bounded too.
            pool.threads.submit(self._take, pool, turn)
        except RuntimeError:  # closed meanwhile; or the system has no thread to give, then queued
            turn.left = True
            if answer.cancel():  # else another thread has come to it
                pool.places.release()
                raise NoThreadError(f"{self._name}: there are no threads") from None
        try:
            async with asyncio.timeout(seconds) as bound:
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            if not bound.expired():  # it is the work's own
                raise
            if answer.cancel():
                raise NoThreadError(f"{self._name}: no thread came free in time") from None
            raise BackendError(f"{self._name}: no answer in time") from None

    def close(self) -> None:
        """Let the threads end; who still waits for one is refused. Closing twice is harmless."""
        self._closed = True
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.threads.shutdown(wait=False)

    def _take(self, pool: _Pool, turn: _Turn) -> None:
        """Do the work in this thread, unless its caller has gone; free its place, and then tell."""
        if not turn.answer.set_running_or_notify_cancel():
            if not turn.left:
                pool.places.release()
            return
        try:
            self._check_open()  # again: `close` may have come between
            result = turn.work()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            pool.places.release()
            turn.answer.set_exception(error)
        else:
            pool.places.release()
            turn.answer.set_result(result)

    def _check_open(self) -> None:
        if self._closed:
            raise NoThreadError(f"{self._name}: there are no threads")

    def _pool(self) -> _Pool:
        self._check_open()
        process = os.getpid()
        if process not in self._pools:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  see above

            threads = ThreadPoolExecutor(self._threads, f"rpcguard-{self._name}")
            self._pools.setdefault(process, _Pool(threads, Semaphore(self._waiting)))
        return self._pools[process]
