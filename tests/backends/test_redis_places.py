"""Settles of an event loop that wait: each has a place, and gives it back however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backends import redis_servers
from backends.kinds import START, owe, run_in_threads
from backends.redis_opened import answered, forgetful, opened
from backends.redis_proxy import Proxy, proxied
from backends.redis_servers import Server
from rpcguard.backends.base import Backend
from rpcguard.backends.redis_flow import Send
from rpcguard.backends.redis_items import Item, commands
from rpcguard.backends.redis_links import written
from rpcguard.backends.redis_questions import Asking
from rpcguard.backends.redis_scripts import bulk
from rpcguard.backends.redis_settings import Address
from rpcguard.errors import BackendError
from rpcguard.owed import Answer

OK, REPLAYED = Answer.OK, Answer.REPLAYED
PLACES = 3


def ask(backend: Backend, *names: str) -> list[asyncio.Future[Answer]]:
    return [asyncio.ensure_future(backend.asettle(owe(name), START)) for name in names]


async def found(futures: list[asyncio.Future[Answer]]) -> list[Any]:
    """Return answers, and the kinds of what came in their place."""
    each = await asyncio.gather(*futures, return_exceptions=True)
    return [type(one) if isinstance(one, BaseException) else one for one in each]


def retrying(backend: Backend) -> set[asyncio.Task[Answer]]:
    """Return who asks again in the running loop."""
    client = backend._loops._clients[asyncio.get_running_loop()]  # type: ignore[attr-defined]
    return client.going_on


async def all_places(backend: Backend) -> None:
    """See that as many may ask as there are places, and one more may not."""
    asked = [*ask(backend, *"xyz"), *ask(backend, "too many")]
    *answers, refusal = await asyncio.gather(*asked, return_exceptions=True)
    assert len(answers) == PLACES
    assert set(answers) <= {OK, REPLAYED}
    assert isinstance(refusal, BackendError)
    assert "as may wait" in str(refusal)


Ending = Callable[[Backend, Proxy, Server], Awaitable[None]]


async def with_a_refusal(backend: Backend, proxy: Proxy, server: Server) -> None:
    assert await found(ask(backend, "a", "a", "b")) == [OK, REPLAYED, OK]


async def cancelled_before_it_goes_out(backend: Backend, proxy: Proxy, server: Server) -> None:
    asked = ask(backend, "a", "b", "c")
    for each in asked:
        each.cancel()
    assert await found(asked) == [asyncio.CancelledError] * 3
    assert await found(ask(backend, "a")) == [OK]


async def cancelled_when_it_has_gone_out(backend: Backend, proxy: Proxy, server: Server) -> None:
    server.pause()
    asked = ask(backend, "a", "b", "c")
    await asyncio.sleep(0)
    for each in asked[:2]:
        each.cancel()
    server.resume()
    assert await found(asked) == [asyncio.CancelledError] * 2 + [OK]
    assert await found(ask(backend, "a")) == [REPLAYED]


async def too_late(backend: Backend, proxy: Proxy, server: Server) -> None:
    server.pause()
    assert await found(ask(backend, "a", "b", "c")) == [BackendError] * 3
    server.resume()


async def with_an_answer_that_is_lost(backend: Backend, proxy: Proxy, server: Server) -> None:
    proxy.lose(1)
    assert await found(ask(backend, "a", "b", "c")) == [OK] * 3


async def with_two_answers_that_are_lost(backend: Backend, proxy: Proxy, server: Server) -> None:
    proxy.lose(2)  # the second is that to the greeting
    assert await found(ask(backend, "a", "b", "c")) == [BackendError] * 3


async def where_the_server_has_no_script(backend: Backend, proxy: Proxy, server: Server) -> None:
    server.client.script_flush()
    assert await found(ask(backend, "a", "a", "b")) == [OK, REPLAYED, OK]


async def cancelled_while_it_is_asked_again(backend: Backend, proxy: Proxy, server: Server) -> None:
    server.pause()
    asked = ask(backend, "a", "b", "c")
    await asyncio.sleep(0)
    proxy.cut()
    async with asyncio.timeout(60):
        while len(retrying(backend)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asked[0].cancel()
    asked[1].cancel()
    assert await found(asked[:2]) == [asyncio.CancelledError] * 2
    server.resume()
    assert await found(asked[2:]) == [OK]


ENDINGS = (
    with_a_refusal,
    cancelled_before_it_goes_out,
    cancelled_when_it_has_gone_out,
    too_late,
    with_an_answer_that_is_lost,
    with_two_answers_that_are_lost,
    where_the_server_has_no_script,
    cancelled_while_it_is_asked_again,
)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__)
def test_a_settle_gives_its_place_back(ending: Ending, serve: Callable[..., Server]) -> None:
    server = serve()

    async def end_and_ask_again(backend: Backend, proxy: Proxy) -> None:
        assert await backend.asettle(owe("first"), START) is OK
        await ending(backend, proxy, server)
        async with asyncio.timeout(60):
            while await found(ask(backend, "last")) == [BackendError]:  # it recovers
                pass
        await all_places(backend)
        assert not retrying(backend)

    with (
        proxied(server.port) as proxy,
        opened(proxy.port, max_waiting=PLACES, timeout="2s") as backend,
    ):
        asyncio.run(end_and_ask_again(backend, proxy))


def test_the_first_of_a_loop_give_their_places_back(prefix: str) -> None:
    with opened(redis_servers.single().port, key_prefix=prefix, max_waiting=PLACES) as backend:
        for _ in range(3):
            asyncio.run(all_places(backend))


def test_who_waits_until_it_is_known_where_the_primary_is_has_a_place() -> None:
    async def ask_all(backend: Backend) -> list[str]:
        found = await asyncio.gather(*ask(backend, *"abcd"), return_exceptions=True)
        return [str(each) for each in found]

    async def ask_and_cancel(backend: Backend, turns: int) -> None:
        asked = ask(backend, *"abc")
        for _ in range(turns):
            await asyncio.sleep(0)
        for each in asked:
            each.cancel()
        assert set(await found(asked)) <= {asyncio.CancelledError, BackendError}

    nobody = f"redis+sentinel://127.0.0.1:{redis_servers.free_port()}/service"
    with opened(nobody, max_waiting=PLACES) as backend:
        for turns in range(4):
            asyncio.run(ask_and_cancel(backend, turns))
            assert asyncio.run(ask_all(backend)) == [
                *["redis: nobody says where the primary is"] * 3,
                "redis: as many questions as may wait are waiting",
            ]


def test_a_loop_whose_tasks_are_ended_gives_their_places_back(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def leave_behind(backend: Backend) -> None:
        assert await found(ask(backend, "first")) in ([OK], [REPLAYED])
        server.pause()
        ask(backend, *"abc")
        await asyncio.sleep(0)

    with opened(server.port, max_waiting=PLACES) as backend:
        asyncio.run(leave_behind(backend))
        server.resume()
        asyncio.run(all_places(backend))


@pytest.mark.parametrize(
    "when",
    [
        "in_the_first_turns",
        "when_they_have_gone_out",
        "while_a_connection_opens",
        "while_they_are_asked_again",
    ],
)
def test_a_loop_that_ends_without_a_word_gives_its_places_back_once(
    when: str, serve: Callable[..., Server]
) -> None:
    server = serve()
    assert server.process is not None
    script = Path(__file__).parent / "scripts" / "abandoned_loop.py"
    done = subprocess.run(  # in a process of its own: such a loop leaves much behind
        [sys.executable, script, str(server.port), str(server.process.pid), when],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3 answered, 3 refused"] * 2


def test_places_are_kept_and_no_nonce_is_accepted_twice_whatever_befalls_two_loops(
    serve: Callable[..., Server],
) -> None:
    server, seeds = serve(), iter(range(10))
    accepted: list[str] = []
    complaints: list[Any] = []

    async def ask_one(backend: Backend, name: str, draw: random.Random) -> None:
        with contextlib.suppress(BackendError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(draw.choice((None, None, 0.0005, 0.002))):
                if await backend.asettle(owe(name), START) is OK:
                    accepted.append(name)

    async def ask_all(backend: Backend, proxy: Proxy) -> None:
        draw, loop = random.Random(next(seeds)), asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        befalls = (proxy.cut, lambda: proxy.lose(1), proxy.mute, server.client.script_flush)
        asked: list[asyncio.Task[None]] = []
        for turn in range(300):
            names = [str(draw.randrange(1000)) for _ in range(draw.choice((1, 3, 20)))]
            asked += [asyncio.create_task(ask_one(backend, name, draw)) for name in names]
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
            for task in draw.sample(asked[-20:], draw.choice((0, 0, 1))):
                task.cancel()
            if turn % 20 == 0:
                with contextlib.suppress(OSError):  # who is cut off has gone already
                    draw.choice(befalls)()
                await asyncio.sleep(draw.choice((0, 0.002, 0.3)))
        await asyncio.gather(*asked, return_exceptions=True)
        gc.collect()  # what nobody has asked for the outcome of is complained of then

    with (
        proxied(server.port) as proxy,
        opened(proxy.port, max_waiting=50, timeout="250ms") as backend,
    ):
        run_in_threads(lambda: asyncio.run(ask_all(backend, proxy)), 2)
        free = len(backend._places._free)  # type: ignore[attr-defined]
    assert free == 50
    assert complaints == []
    assert len(accepted) == len(set(accepted)) > 100


def test_threads_and_loops_share_the_places(serve: Callable[..., Server]) -> None:
    server = serve()
    refused: list[str] = []

    def in_a_thread() -> None:
        try:
            backend.settle(owe("thread"), START)
        except BackendError as error:
            refused.append(str(error))

    async def take_all() -> list[Any]:
        assert await backend.asettle(owe("first"), START) is OK
        server.pause()
        asked = ask(backend, *"abc")
        await asyncio.sleep(0)
        await asyncio.to_thread(run_in_threads, in_a_thread, 2)
        server.resume()
        return await found(asked)

    with opened(server.port, max_waiting=PLACES) as backend:
        assert asyncio.run(take_all()) == [OK] * 3
        assert refused == ["redis: as many questions as may wait are waiting"] * 2
        assert backend.settle(owe("thread"), START) is OK


def test_what_cannot_be_asked_is_told_by_the_future(prefix: str) -> None:
    async def ask_closed(backend: Backend) -> list[Any]:
        assert await found(ask(backend, "a")) == [OK]
        backend.close()
        one = backend.asettle(owe("b"), START)
        other = backend.asettle(owe("c")._replace(nonce=None), START)
        return await asyncio.gather(one, other, return_exceptions=True)

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        refusals = asyncio.run(ask_closed(backend))
    assert [str(each) for each in refusals] == ["redis: the backend is closed"] * 2


def test_what_is_asked_first_in_a_loop_opens_nothing_once_the_backend_is_closed(
    prefix: str,
) -> None:
    async def ask_and_close(backend: Backend) -> list[Any]:
        asked = ask(backend, "a", "b")
        backend.close()
        return await asyncio.gather(*asked, return_exceptions=True)

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        refusals = asyncio.run(ask_and_close(backend))
        assert backend._loops._clients == {}  # type: ignore[attr-defined]
    assert [str(each).rpartition(": ")[2] for each in refusals] == ["closed"] * 2


def test_who_owes_nothing_is_answered_without_a_question(serve: Callable[..., Server]) -> None:
    server = serve()

    async def ask_nothing(backend: Backend) -> Answer:
        return await backend.asettle(owe("a")._replace(nonce=None, revocable=()), START)

    with opened(server.port) as backend:
        server.pause()
        assert asyncio.run(ask_nothing(backend)) is OK
        server.resume()


def test_settles_go_out_as_flows_would_put_them() -> None:
    asking, address, server = Asking("p", 1.0), Address("h", 1), bulk(b"one")
    owed = [owe("a"), owe("b", revocable=(b"x", b"yy")), owe("c")._replace(nonce=None)]
    questions = [asking.settle(each, START) for each in owed]
    future: Any = None
    settles: list[Item] = [(each, 0.0, future, None) for each in questions]
    flows: list[Item] = [(each, 0.0, future, Send(address, each)) for each in questions]
    sent = commands(settles, address, server, 0, 0.0)
    assert sent == [each.command(server, again=False, in_full=False) for each in questions]
    assert sent == commands(flows, address, server, 0, 0.0)
    assert sent == commands([*settles[:2], flows[2]], address, server, 0, 0.0)
    steps = [Send(address, each) for each in questions]
    assert commands(settles, address, server, 2, 1.0) == written(steps, server, 2, 1.0)


def test_an_answer_that_is_lost_is_the_same_for_all_that_ask_at_once(prefix: str) -> None:
    async def ask_all(backend: Backend, proxy: Proxy) -> list[Any]:
        assert await backend.asettle(owe("first"), START) is OK
        proxy.lose(1)
        return await found(ask(backend, *(str(n % 10) for n in range(20))))

    with forgetful(prefix) as (proxy, backend):
        answers = asyncio.run(ask_all(backend, proxy))
        assert sorted(answers, key=repr) == sorted([OK] * 10 + [REPLAYED] * 10, key=repr)
        assert answered(lambda: backend.settle(owe("0"), START)) is REPLAYED
