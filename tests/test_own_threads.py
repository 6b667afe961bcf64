"""Threads of one's own: how many work in them, how many wait, and for how long."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest

from rpcguard import BackendError
from rpcguard.own_threads import NoThreadError, OwnThreads

LONG = 60.0  # seconds that no test takes
SHORT = 0.05


@pytest.fixture
def two() -> Iterator[OwnThreads]:
    """Return two threads, for whom three more may wait."""
    with closing(OwnThreads("tests", threads=2, waiting=5)) as threads:
        yield threads


@asynccontextmanager
async def busy(threads: OwnThreads) -> AsyncIterator[threading.Event]:
    """Keep both threads at work until the block ends, or the event is set."""
    begun, free = threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        free.wait()

    tasks = [asyncio.create_task(threads.run(LONG, work)) for _ in range(2)]
    for _ in tasks:
        await asyncio.to_thread(begun.acquire)
    try:
        yield free
    finally:
        free.set()
        await asyncio.gather(*tasks)


def test_work_is_done_in_a_thread_of_that_name_with_its_arguments_and_context(two):
    said = contextvars.ContextVar("said", default="")

    def work(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs, said.get(), threading.current_thread().name.rpartition("_")[0]

    async def main() -> Any:
        said.set("by the caller")
        return await two.run(LONG, work, 1, b=2)

    assert asyncio.run(main()) == ((1,), {"b": 2}, "by the caller", "rpcguard-tests")


@pytest.mark.parametrize("kind", [KeyError, TimeoutError, BackendError])
def test_what_the_work_raises_is_raised(two, kind):
    def work() -> None:
        raise kind("of its own")

    with pytest.raises(kind, match="of its own") as caught:
        asyncio.run(two.run(LONG, work))
    assert caught.type is kind


def test_threads_serve_several_event_loops(two):
    assert [asyncio.run(two.run(LONG, lambda n=n: n)) for n in range(3)] == [0, 1, 2]


def test_who_waits_has_a_thread_as_soon_as_one_is_free(two):
    async def main() -> list[int]:
        async with busy(two) as free:
            waiting = [asyncio.create_task(two.run(LONG, lambda n=n: n)) for n in range(3)]
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            free.set()
            return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [0, 1, 2]


def test_who_has_waited_too_long_is_refused_and_nothing_is_done(two):
    done: list[int] = []

    async def main() -> None:
        async with busy(two):
            with pytest.raises(NoThreadError, match="tests: no thread came free in time"):
                await two.run(SHORT, done.append, 1)
        await two.run(LONG, done.append, 2)

    asyncio.run(main())
    assert done == [2]


def test_work_that_takes_too_long_is_told_apart_and_ends(two):
    free, ended = threading.Event(), threading.Event()

    def work() -> None:
        free.wait()
        ended.set()

    async def main() -> None:
        with pytest.raises(BackendError, match="tests: no answer in time") as caught:
            while True:
                with suppress(NoThreadError):  # a busy machine has not even begun it in time
                    await two.run(SHORT, work)
        assert not isinstance(caught.value, NoThreadError)

    asyncio.run(main())
    free.set()  # the loop is closed by now; the thread must not mind
    assert ended.wait(LONG)
    assert asyncio.run(two.run(LONG, lambda: "next")) == "next"


def test_more_callers_than_may_wait_are_refused_at_once_also_behind_some_who_gave_up(two):
    async def main() -> None:
        async with busy(two):
            gave_up = [two.run(SHORT, os.getpid) for _ in range(3)]
            errors = await asyncio.gather(*gave_up, return_exceptions=True)
            assert {type(error) for error in errors} == {NoThreadError}
            with pytest.raises(NoThreadError, match="too many callers wait"):
                await two.run(LONG, os.getpid)
        # a thread looks at what was given up before it does anything else: there is room again
        async with busy(two):
            places = [asyncio.create_task(two.run(LONG, os.getpid)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(NoThreadError, match="too many callers wait"):
                await two.run(LONG, os.getpid)
        assert await asyncio.gather(*places) == [os.getpid()] * 3

    asyncio.run(main())


def test_the_work_of_a_caller_who_went_away_while_waiting_is_not_done(two):
    done: list[int] = []

    async def main() -> None:
        async with busy(two):
            waiting = asyncio.create_task(two.run(LONG, done.append, 1))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await two.run(LONG, done.append, 2)

    asyncio.run(main())
    assert done == [2]


def test_closing_refuses_who_waits_and_who_comes(two):
    done: list[int] = []

    async def main() -> None:
        async with busy(two):
            waiting = asyncio.create_task(two.run(LONG, done.append, 1))
            await asyncio.sleep(0)
            two.close()
            two.close()
            with pytest.raises(NoThreadError, match="there are no threads"):
                await two.run(LONG, done.append, 2)
        with pytest.raises(NoThreadError, match="there are no threads"):
            await waiting

    asyncio.run(main())
    assert done == []


def test_while_the_interpreter_ends_callers_are_refused(two):
    two._pool().threads.shutdown()
    with pytest.raises(NoThreadError, match="there are no threads"):
        asyncio.run(two.run(LONG, os.getpid))


def test_where_the_system_gives_no_thread_nothing_is_done_and_no_place_is_kept_or_won(
    monkeypatch,
):
    done: list[int] = []
    free = threading.Event()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            for _ in range(5):  # more than there are places
                with pytest.raises(NoThreadError, match="there are no threads"):
                    await one.run(LONG, done.append, 1)
        await one.run(LONG, done.append, 2)  # behind what is left in the queue
        waiting = [asyncio.create_task(one.run(LONG, free.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(NoThreadError, match="too many callers wait"):
            await one.run(LONG, done.append, 3)
        free.set()
        await asyncio.gather(*waiting)

    with closing(OwnThreads("tests", threads=1, waiting=3)) as one:
        asyncio.run(main())
    assert done == [2]


FORKED = """
import asyncio, os
from rpcguard.own_threads import OwnThreads

threads = OwnThreads("forked", threads=1, waiting=1)
assert asyncio.run(threads.run(60, os.getpid)) == os.getpid()
child = os.fork()
if not child:
    own = asyncio.run(threads.run(60, os.getpid)) == os.getpid()
    threads.close()
    os._exit(0 if own else 3)
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(threads.run(60, os.getpid)) == os.getpid()
"""


def test_a_child_of_a_fork_has_threads_of_its_own():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
