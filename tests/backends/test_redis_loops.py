"""Event loops, threads and forks that use one backend in Redis."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from backends import redis_servers
from backends.kinds import START, owe, run_in_threads
from backends.redis_opened import forgetful, opened
from backends.redis_proxy import Proxy
from backends.redis_servers import Server, until
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_client
from rpcguard.backends.redis_flow import Flow, Wait
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

OK, REPLAYED = Answer.OK, Answer.REPLAYED


# Loops, threads and forks


async def ask_in_a_task(backend: Backend, name: str) -> Answer:
    """Ask when the task runs, and not when it is made."""
    return await backend.asettle(owe(name), START)


def test_each_loop_has_connections_of_its_own_and_closes_them(prefix: str) -> None:
    server = redis_servers.single()
    answers: list[Answer] = []

    async def ask_some(loop: int) -> None:
        questions = [backend.asettle(owe(f"{loop} {n}"), START) for n in range(20)]
        answers.extend(await asyncio.gather(*questions))

    with opened(server.port, key_prefix=prefix) as backend:
        before = len(server.client.client_list(_type="normal"))
        loops = iter(range(100))
        run_in_threads(lambda: asyncio.run(ask_some(next(loops))), 4)
        asyncio.run(ask_some(next(loops)))
        gc.collect()
        assert backend._loops._clients == {}
        until(lambda: len(server.client.client_list(_type="normal")) <= before, "all closed")
    assert Counter(answers) == {OK: 100}


def test_closing_while_a_loop_runs_closes_its_connections_and_refuses_what_waits(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def closed() -> list[Any]:
        with opened(server.port, timeout="10s") as backend:
            assert await backend.asettle(owe("n"), START) is OK
            server.pause()
            waiting = asyncio.ensure_future(backend.asettle(owe("m"), START))
            await asyncio.sleep(0.05)
            backend.close()
            try:
                return await asyncio.gather(waiting, return_exceptions=True)
            finally:
                server.resume()

    (refusal,) = asyncio.run(closed())
    assert isinstance(refusal, BackendError)
    gc.collect()
    until(lambda: len(server.client.client_list(_type="normal")) == 1, "all closed")


@pytest.mark.parametrize("turns", range(8))
def test_a_loop_that_ends_while_connections_close_leaves_none_open(prefix: str, turns: int) -> None:
    async def ask_all_and_close() -> None:
        with opened(redis_servers.cluster().url, key_prefix=prefix) as backend:
            answers = await asyncio.gather(
                *(backend.asettle(owe("n", subject=f"{n}"), START) for n in range(50))
            )
            assert answers == [OK] * 50
            assert len(next(iter(backend._loops._clients.values()))._lines) == 3
        for _ in range(turns):
            await asyncio.sleep(0)

    asyncio.run(ask_all_and_close())
    gc.collect()  # a connection that is open would be warned of


def test_a_question_that_begins_while_a_loop_closes_its_connections_is_refused(
    prefix: str,
) -> None:
    async def ask_late() -> list[Any]:
        with opened(redis_servers.single().port, key_prefix=prefix) as backend:
            assert await backend.asettle(owe("n"), START) is OK
            late = [asyncio.create_task(ask_in_a_task(backend, f"{n}")) for n in range(3)]
        return await asyncio.wait_for(asyncio.gather(*late, return_exceptions=True), 10)

    refusals = asyncio.run(ask_late())
    assert [str(each) for each in refusals] == ["redis: the backend is closed"] * 3
    gc.collect()


def test_a_question_that_waits_while_a_loop_closes_its_connections_opens_none(
    prefix: str,
) -> None:
    def patient(flow: Flow) -> Flow:
        yield Wait.PAUSE
        return (yield from flow)

    async def wait_and_ask() -> list[Any]:
        with opened(redis_servers.single().port, key_prefix=prefix) as backend:
            assert await backend.asettle(owe("n"), START) is OK
            flow = patient(backend._flow(backend._asking.settle(owe("m"), START)))
            soon = asyncio.get_running_loop().time() + 5
            waiting = asyncio.create_task(backend._loops.follow(flow, soon))
            await asyncio.sleep(0)
        return await asyncio.gather(waiting, return_exceptions=True)

    (refusal,) = asyncio.run(wait_and_ask())
    assert str(refusal) == "redis: the backend is closed"
    gc.collect()


# How tasks are made: the loop's own way, and where Python has it, such that they begin at once.
FACTORIES = [None] if sys.version_info < (3, 12) else [None, asyncio.eager_task_factory]


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_server_that_comes_later_is_used_however_tasks_begin(
    factory: Any, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    async def ask_before_and_after(backend: Backend) -> list[Any]:
        asyncio.get_running_loop().set_task_factory(factory)
        refused = await asyncio.gather(
            *(backend.asettle(owe(name), START) for name in "ab"), return_exceptions=True
        )
        server = serve("--unixsocket", str(tmp_path / "s"))
        found = [await backend.asettle(owed, START)]
        server.client.client_kill_filter(_type="normal", skipme=True)
        found.append(await backend.asettle(owed, START))
        assert [type(each) for each in refused] == [BackendError] * 2
        return found

    owed = owe("a", issued_at=START + 1)  # what is older than the first question is refused
    with opened(f"redis+unix://{tmp_path}/s") as backend:  # nobody is there: that is told at once
        assert asyncio.run(ask_before_and_after(backend)) == [OK, REPLAYED]
        assert len(backend._places._free) == backend._settings.max_waiting


def test_loops_that_end_while_another_begins_are_no_matter_to_it(prefix: str) -> None:
    ends = threading.Event()

    class Asked(asyncio.SelectorEventLoop):
        """A loop that lets another one end when it is asked whether it has."""

        def is_closed(self) -> bool:
            if ends.is_set() and other.is_alive():
                goes_on.set()
                other.join(60)
            return super().is_closed()

    begun, goes_on = threading.Event(), threading.Event()

    async def ask_and_wait(backend: Backend) -> None:
        assert await backend.asettle(owe("other"), START) is OK
        begun.set()
        await asyncio.to_thread(goes_on.wait, 60)

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        other = threading.Thread(target=lambda: asyncio.run(ask_and_wait(backend)))
        with closing(Asked()) as asked:
            asked.run_until_complete(backend_asks(backend, "asked"))
            other.start()
            assert begun.wait(60)
            ends.set()
            asyncio.run(backend_asks(backend, "third"))
            other.join(60)
            asked.run_until_complete(asked.shutdown_asyncgens())


async def backend_asks(backend: Backend, name: str) -> None:
    assert await backend.asettle(owe(name), START) is OK


@pytest.mark.parametrize("cancelled", [0, 1, 7])
def test_one_that_is_cancelled_spoils_none_of_those_that_go_out_with_it(
    prefix: str, cancelled: int
) -> None:
    async def some(backend: Backend) -> list[Any]:
        await backend.asettle(owe("first"), START)
        tasks = [asyncio.ensure_future(backend.asettle(owe(str(n)), START)) for n in range(8)]
        tasks[cancelled].cancel()  # all have gone out, and no reply has been read
        return await asyncio.gather(*tasks, return_exceptions=True)

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        found = asyncio.run(some(backend))
        assert isinstance(found.pop(cancelled), asyncio.CancelledError)
        assert found == [OK] * 7


def test_those_that_are_cancelled_before_they_go_out_are_not_asked(prefix: str) -> None:
    async def none(backend: Backend) -> list[Any]:
        assert await backend.asettle(owe("first"), START) is OK
        tasks = [asyncio.ensure_future(backend.asettle(owe(str(n)), START)) for n in range(3)]
        for task in tasks:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        found = asyncio.run(none(backend))
        assert [type(each) for each in found] == [asyncio.CancelledError] * 3
        assert [backend.settle(owe(str(n)), START) for n in range(3)] == [OK] * 3


def test_closing_while_a_connection_opens_refuses_what_waits_for_it(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def closed() -> list[Any]:
        with opened(server.port, timeout="10s") as backend:
            server.pause()
            waiting = asyncio.ensure_future(backend.asettle(owe("n"), START))
            await asyncio.sleep(0.05)
            backend.close()
            try:
                return await asyncio.gather(waiting, return_exceptions=True)
            finally:
                server.resume()

    (refusal,) = asyncio.run(closed())
    assert isinstance(refusal, BackendError)
    gc.collect()
    until(lambda: len(server.client.client_list(_type="normal")) == 1, "all closed")


def test_a_crowd_larger_than_one_pipeline_isanswered(prefix: str) -> None:
    async def crowd(backend: Backend) -> list[Answer]:
        return await asyncio.gather(*[backend.asettle(owe(str(n)), START) for n in range(600)])

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        assert asyncio.run(crowd(backend)) == [OK] * 600


@pytest.mark.parametrize("data", [b":0\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_a_connection_on_which_something_comes_that_is_no_answer_is_given_up(
    prefix: str, data: bytes
) -> None:
    async def ask_before_and_after(backend: Backend, proxy: Proxy) -> None:
        assert await backend.asettle(owe("n"), START) is OK
        before = proxy.accepted
        proxy.say(data)
        (line,) = next(iter(backend._loops._clients.values()))._lines.values()
        async with asyncio.timeout(60):
            while line._link is not None:  # noqa: ASYNC110 - nothing tells that it is gone
                await asyncio.sleep(0.01)
        assert await backend.asettle(owe("n"), START) is REPLAYED
        assert proxy.accepted == before + 1

    with forgetful(prefix) as (proxy, backend):
        asyncio.run(ask_before_and_after(backend, proxy))


# Deadlines


def patience(backend: Backend, seconds: float) -> None:
    """Have questions of loops wait *seconds* from now on; for a connection they wait as before."""
    backend._loops._settings = replace(backend._loops._settings, timeout=seconds)


def test_one_that_has_waited_long_costs_those_behind_it_no_answer(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def ask_a_slow_server(backend: Backend) -> list[Any]:
        assert await backend.asettle(owe("spent"), START) is OK
        server.pause()
        patience(backend, 1)
        early = [asyncio.ensure_future(backend.asettle(owe("a"), START))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it has gone out
        early.append(asyncio.ensure_future(backend.asettle(owe("b"), START)))
        await asyncio.sleep(0)
        patience(backend, 60)
        names = ("spent", "c", "spent", "d")
        later = [asyncio.ensure_future(backend.asettle(owe(name), START)) for name in names]
        refusals = await asyncio.gather(*early, return_exceptions=True)
        server.resume()
        assert [str(each).rpartition(": ")[2] for each in refusals] == ["no answer in time"] * 2
        return await asyncio.gather(*later)

    with opened(server.port, timeout="10s") as backend:
        # the late replies to the first two are OK: none of them is taken for another's
        assert asyncio.run(ask_a_slow_server(backend)) == [REPLAYED, OK, REPLAYED, OK]
        assert backend.settle(owe("a"), START) is REPLAYED


def test_a_silent_connection_is_given_up_though_somebody_always_waits(prefix: str) -> None:
    async def ask_all_the_time(backend: Backend, proxy: Proxy) -> None:
        patience(backend, 60)
        assert await backend.asettle(owe("first"), START) is OK
        patience(backend, 0.25)
        proxy.mute()
        number, asked = 0, set[asyncio.Future[Answer]]()
        async with asyncio.timeout(60):
            while not any(task.done() and task.exception() is None for task in asked):
                number += 1
                asked.add(asyncio.ensure_future(backend.asettle(owe(str(number)), START)))
                await asyncio.sleep(0.05)
        await asyncio.wait(asked)
        assert {task.result() for task in asked if task.exception() is None} == {OK}

    with forgetful(prefix, timeout="1s") as (proxy, backend):
        asyncio.run(ask_all_the_time(backend, proxy))


def test_of_a_crowd_before_a_server_that_hangs_the_last_are_refused_without_being_asked(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def crowd(backend: Backend) -> list[Any]:
        assert await backend.asettle(owe("first"), START) is OK
        server.pause()
        patience(backend, 0.5)
        asked = [backend.asettle(owe(str(n)), START) for n in range(200)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        server.resume()
        return found

    with opened(server.port, timeout="10s") as backend:
        refusals = asyncio.run(crowd(backend))
        assert [type(each) for each in refusals] == [BackendError] * 200
        assert [backend.settle(owe(str(n)), START) for n in range(150, 200)] == [OK] * 50


def test_what_is_asked_while_nobody_is_there_is_refused_by_each_ones_own_time(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def ask_before_there_is_a_connection(backend: Backend) -> list[Any]:
        server.pause()
        first = asyncio.ensure_future(backend.asettle(owe("a"), START))
        await asyncio.sleep(0)
        patience(backend, 60)
        second = asyncio.ensure_future(backend.asettle(owe("b"), START))
        refused = await asyncio.gather(first, return_exceptions=True)
        server.resume()
        return [*refused, await second]

    with opened(server.port, timeout="5s") as backend:
        refusal, answer = asyncio.run(ask_before_there_is_a_connection(backend))
        assert isinstance(refusal, BackendError)
        assert answer is OK


def test_a_backend_can_be_used_on_both_sides_of_a_fork(prefix: str) -> None:
    script = Path(__file__).parent / "scripts" / "fork_redis.py"
    import json
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-W", "error", script, str(redis_servers.single().port), prefix],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(each for answers in told for each in answers) == {"ok": 40, "replayed": 120}


def test_a_ready_client_is_left_alone(driver: Callable[..., Answer], prefix: str) -> None:
    client = redis.Redis(port=redis_servers.single().port)
    with closing(open_client(client, now=START)) as backend:
        assert driver(backend, owe(prefix)._replace(subject=prefix), START) is OK
    assert client.ping()
    client.close()


def test_a_backend_that_is_given_up_by_many_threads_at_once_refuses_in_all(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    refused: list[BackendError] = []
    begun = threading.Barrier(5)
    with opened(server.port) as backend:

        def run() -> None:
            begun.wait(30)
            try:
                for number in range(100_000):
                    backend.settle(owe(f"{threading.get_ident()} {number}"), START)
            except BackendError as error:
                refused.append(error)

        def close() -> None:
            begun.wait(30)
            backend.close()

        run_in_threads(run, 4, close)
    assert len(refused) == 4
    until(lambda: len(server.client.client_list(_type="normal")) == 1, "all closed")
