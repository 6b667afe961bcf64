"""What is special about Redis: lost answers, restarts, bounds, and what a server must be."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import ipaddress
import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import asyncio as redis_asyncio
from redis.crc import key_slot

from backends import redis_servers
from backends.kinds import DRIVERS, HERE, START, ask, issue, owe, present, run_in_threads
from backends.redis_proxy import Proxy, proxied
from backends.redis_servers import Server, raw, until
from rpcguard import AuthError, Request
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend, open_client
from rpcguard.errors import BackendError, ConfigError
from rpcguard.owed import Answer, Revocation, Verdict

OK, REPLAYED, FORGOTTEN = Answer.OK, Answer.REPLAYED, Answer.FORGOTTEN
TOKEN = b"t" * 16


@contextmanager
def opened(where: int | str, now: float = START, **options: object) -> Iterator[Backend]:
    """Open a backend that is more patient than the default, on a port or a URL."""
    url = f"redis://127.0.0.1:{where}" if isinstance(where, int) else where
    query = "&".join(f"{name}={value}" for name, value in ({"timeout": "5s"} | options).items())
    with closing(open_backend(f"{url}?{query}", now=now, base=Path())) as backend:
        yield backend


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a starter of servers of the test's own."""
    with ExitStack() as stack:

        def start(*options: str) -> Server:
            server = Server(options)
            stack.callback(server.clear_away)
            return server.start()

        yield start


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    return DRIVERS[request.param]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return "".join(each for each in str(tmp_path) if each.isalnum())[-64:]


@contextmanager
def forgetful(prefix: str) -> Iterator[tuple[Proxy, Backend]]:
    """Open a backend whose answers can be lost on their way."""
    with (
        proxied(redis_servers.single().port) as proxy,
        opened(proxy.port, key_prefix=prefix) as backend,
    ):
        yield proxy, backend


# Lost answers


def test_a_question_whose_answer_was_lost_is_asked_again_and_is_no_replay(
    driver: Callable[..., Answer], prefix: str
) -> None:
    with forgetful(prefix) as (proxy, backend):
        assert driver(backend, ask(TOKEN), START) is OK
        for number in range(5):
            proxy.lose(0 if number == 4 else 1)
            assert driver(backend, owe(str(number)), START) is OK
            assert driver(backend, owe(str(number)), START) is REPLAYED


def test_an_answer_that_is_lost_twice_is_a_refusal_and_the_nonce_may_be_spent(
    driver: Callable[..., Answer], prefix: str
) -> None:
    with forgetful(prefix) as (proxy, backend):
        assert driver(backend, ask(TOKEN), START) is OK
        proxy.lose(2)
        with pytest.raises(BackendError, match="the connection failed"):
            driver(backend, owe("n"), START)
        proxy.lose(0)
        assert driver(backend, owe("n"), START) in (OK, REPLAYED)


def test_a_replay_whose_answer_was_lost_stays_a_replay(
    driver: Callable[..., Answer], prefix: str
) -> None:
    with forgetful(prefix) as (proxy, backend):
        assert driver(backend, owe("n"), START) is OK
        for _ in range(3):
            proxy.lose(1)
            assert driver(backend, owe("n"), START) is REPLAYED


def test_records_are_written_once_whatever_answer_is_lost(prefix: str) -> None:
    with forgetful(prefix) as (proxy, backend):

        def losing(work: Callable[[], Any]) -> Any:
            backend.settle(ask(TOKEN), START)
            proxy.lose(1)
            return work()

        assert losing(lambda: backend.put(issue("a"), START)) is OK
        rotated = losing(lambda: backend.rotate(issue("a").name, issue("b"), START))
        assert rotated == Answer(Verdict.OK, issue("a").value)
        assert backend.settle(present("b"), START) == Answer(Verdict.OK, issue("b").value)
        assert losing(lambda: backend.drop(HERE, issue("b").slot, START)) is True
        assert losing(lambda: backend.drop(HERE, issue("b").slot, START)) is False
        losing(lambda: backend.revoke([Revocation(TOKEN)], START))
        assert backend.settle(ask(TOKEN), START) is Answer.REVOKED


def test_idle_connections_that_the_server_has_closed_cost_nobody_an_answer(
    driver: Callable[..., Answer], prefix: str
) -> None:
    server = redis_servers.single()
    with opened(server.port, key_prefix=prefix) as backend:
        for number in range(3):
            assert driver(backend, owe(str(number)), START) is OK
            server.client.client_kill_filter(_type="normal", skipme=True)
            run_in_threads(lambda: backend.settle(ask(TOKEN), START), 4)


def test_a_server_that_has_lost_its_scripts_is_told_them_again(
    driver: Callable[..., Answer], prefix: str
) -> None:
    server = redis_servers.single()
    with opened(server.port, key_prefix=prefix) as backend:
        server.client.script_flush()
        assert driver(backend, owe("n"), START) is OK
        server.client.script_flush()
        assert driver(backend, owe("n"), START) is REPLAYED


# Keys


def test_keys_are_in_the_slot_of_their_bucket_hold_no_text_of_callers_and_go_by_themselves(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    secret = "caller}{text"
    with opened(server.port) as backend:
        for project, subject in (("p", secret), (secret, "s")):
            owed = owe(secret, project=project, subject=subject, revocable=(TOKEN,))
            assert backend.settle(owed, START) is OK
            backend.revoke([Revocation(TOKEN, None, START + 50, owed.bucket or HERE)], START)
        backend.put(issue(secret, secret, lasts=10), START)
        keys = server.client.keys()
        lasting = {key for key in keys if server.client.pttl(key) < 0}
    assert {key.split(b"}:")[0] for key in keys} == {b"{rpcguard:%02x" % n for n in range(256)}
    assert lasting == {b"{rpcguard:%02x}:state" % number for number in range(256)}
    kinds = Counter(key.split(b":")[2] for key in keys)
    assert set(kinds) == {
        *(b"state", b"nonces", b"live", b"attempt", b"revoked"),
        *(b"names", b"records", b"ends", b"held"),
    }
    assert not [key for key in keys if b"caller" in key or b"text" in key]


def test_what_has_ended_leaves_no_entry_behind(serve: Callable[..., Server]) -> None:
    server = serve()
    with opened(server.port) as backend:
        for number in range(100):
            assert backend.settle(owe(str(number), lasts=1), START) is OK
        for number in range(100):
            assert backend.settle(owe(f"later {number}"), START + 2) is OK
        (nonces,) = server.client.keys("*:nonces:*")
        (live,) = server.client.keys("*:live:*")
        assert server.client.zcard(nonces) == 100
        assert list(server.client.hgetall(live).values()) == [b"100"]


def test_keys_that_went_by_themselves_are_remembered(serve: Callable[..., Server]) -> None:
    server = serve()
    with opened(server.port) as backend:
        assert backend.settle(owe("n", lasts=90), START) is OK
        server.client.delete(*server.client.keys("*:nonces:*"), *server.client.keys("*:live:*"))
        assert backend.settle(owe("n", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("m", lasts=90), START) is FORGOTTEN
        assert backend.settle(owe("m", lasts=91), START) is OK


# Restarts


def test_a_server_that_restarts_without_its_data_refuses_what_it_may_have_known(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve()
    with opened(server.port) as backend:
        assert driver(backend, owe("n"), START + 5) is OK
        epoch = backend.epoch(HERE)
        server.kill()
        server.start()
        assert driver(backend, owe("n", issued_at=START + 6), START + 7) is FORGOTTEN
        assert driver(backend, owe("m", issued_at=START + 7), START + 7) is FORGOTTEN
        assert driver(backend, owe("m", issued_at=START + 7.1), START + 8) is OK
        assert backend.epoch(HERE) not in (epoch, b"")
        assert backend.epoch(HERE) == backend.epoch(HERE)


def test_an_epoch_that_is_read_first_after_a_restart_forgives_nothing(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    with opened(server.port) as backend:
        assert backend.settle(owe("n"), START) is OK
        server.client.flushall()
        epoch = backend.epoch(HERE)
        assert backend.settle(owe("n", issued_at=START + 1), START + 1) is FORGOTTEN
        assert backend.epoch(HERE) == epoch


def test_a_server_that_restarts_with_its_data_may_have_lost_the_last_of_it(
    serve: Callable[..., Server],
) -> None:
    server = serve("--appendonly", "yes")
    with opened(server.port) as backend, opened(server.port, restart_guard="off") as trusting:
        assert backend.settle(owe("n"), START) is OK
        backend.revoke([Revocation(TOKEN)], START)
        server.kill()
        server.start()
        until(lambda: server.client.info("persistence")["loading"] == 0, "loaded")
        assert trusting.settle(owe("n"), START + 1) is REPLAYED
        assert trusting.settle(owe("m"), START + 1) is OK
        assert backend.settle(owe("m"), START + 1) is FORGOTTEN
        assert backend.settle(ask(TOKEN), START + 1) is Answer.REVOKED


def test_a_server_that_was_emptied_refuses_what_it_may_have_known(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve()
    with opened(server.port, restart_guard="off") as backend:
        assert driver(backend, owe("n"), START) is OK
        server.client.flushall()
        assert driver(backend, owe("n"), START + 1) is FORGOTTEN
        assert driver(backend, owe("n", issued_at=START + 2), START + 2) is OK


# Bounds


def test_a_server_that_hangs_is_a_refusal_and_is_used_again_when_it_goes_on(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve()
    with opened(server.port, timeout="250ms") as backend:
        until(lambda: driver(backend, owe("a"), START), "an answer")
        server.pause()
        for _ in range(2):  # over the connection that there is, and over a new one
            with pytest.raises(BackendError, match="no answer in time"):
                driver(backend, owe("b"), START)
        server.resume()
        assert _answered(lambda: driver(backend, owe("c"), START)) in (OK, REPLAYED)


def test_a_server_that_is_down_is_a_refusal_and_is_used_when_it_is_there(
    driver: Callable[..., Answer],
    serve: Callable[..., Server],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve()
    server.kill()
    with opened(server.port) as backend:
        assert "the connection failed" in caplog.text
        with pytest.raises(BackendError, match="the connection failed"):
            driver(backend, owe("n"), START)
        server.start()
        assert driver(backend, owe("n", issued_at=START + 1), START) is OK


def _answered(question: Callable[[], Answer]) -> Answer:
    """Return the answer of a backend that recovers."""

    def answer() -> Answer | None:
        try:
            return question()
        except BackendError:
            return None

    found: Answer = until(answer, "an answer")
    return found


def test_of_more_callers_than_may_wait_the_last_are_refused_at_once(
    serve: Callable[..., Server],
) -> None:
    server = serve()

    async def crowd(backend: Backend) -> list[Any]:
        await backend.asettle(owe("first"), START)
        server.pause()
        try:
            tasks = [backend.asettle(owe(str(number)), START) for number in range(5)]
            waiting = [asyncio.create_task(each) for each in tasks[:3]]
            await asyncio.sleep(0)
            late = await asyncio.gather(*tasks[3:], return_exceptions=True)
            assert not any(task.done() for task in waiting)
        finally:
            server.resume()
        return [*late, *await asyncio.gather(*waiting)]

    with opened(server.port, timeout="10s", max_waiting=3) as backend:
        *late, one, two, three = asyncio.run(crowd(backend))
        assert [type(each) for each in late] == [BackendError] * 2
        assert (one, two, three) == (OK, OK, OK)
        assert "as may wait" in str(late[0])
        assert backend.settle(owe("last"), START) is OK


def test_more_threads_than_connections_take_turns(prefix: str) -> None:
    server = redis_servers.single()
    answers: list[Answer] = []
    names = iter(range(1000))
    with opened(server.port, max_connections=2, key_prefix=prefix, timeout="10s") as backend:
        run_in_threads(
            lambda: answers.extend(backend.settle(owe(str(next(names))), START) for _ in range(50)),
            12,
        )
    assert Counter(answers) == {OK: 600}


def test_a_thread_that_finds_no_connection_free_in_time_is_refused(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    refusals: list[str] = []
    with opened(server.port, max_connections=1, timeout="500ms") as backend:
        _answered(lambda: backend.settle(owe("n"), START))
        server.pause()

        def run() -> None:
            with pytest.raises(BackendError) as caught:
                backend.settle(owe("m"), START)
            refusals.append(str(caught.value))

        run_in_threads(run, 3)
        server.resume()
        _answered(lambda: backend.settle(owe("o"), START))
    assert all("in time" in each or "too many threads" in each for each in refusals), refusals
    assert len(refusals) == 3


# What a server must be


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused(
    policy: str, driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve("--maxmemory", "100mb", "--maxmemory-policy", policy)
    with opened(server.port) as backend:
        with pytest.raises(BackendError, match="maxmemory-policy noeviction"):
            driver(backend, owe("n"), START)
        server.client.config_set("maxmemory-policy", "noeviction")
        assert driver(backend, owe("n", issued_at=START + 1), START) is OK
    url = f"redis://127.0.0.1:{server.port}?timeout=5s"
    open_backend(url, now=START, base=Path(), must_answer=True).close()
    server.client.config_set("maxmemory-policy", policy)
    with pytest.raises(ConfigError, match="noeviction"):
        open_backend(url, now=START, base=Path(), must_answer=True)


DOCS = Path(__file__).parents[2] / "docs" / "operators.md"


def test_the_permissions_in_the_docs_are_enough_and_info_is_needed(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    (line,) = [each for each in DOCS.read_text().splitlines() if each.startswith("ACL SETUSER")]
    server = serve()
    words = line.replace(">PASSWORD", ">hunter2").split()
    raw(server, *words)
    url = f"redis://rpcguard:hunter2@127.0.0.1:{server.port}"
    with opened(url) as backend:
        assert driver(backend, owe("n", revocable=(TOKEN,)), START) is OK
        assert backend.put(issue("a"), START) is OK
        assert backend.rotate(issue("a").name, issue("b"), START).verdict is Verdict.OK
        assert backend.drop(HERE, issue("b").slot, START)
        assert backend.spent("p", "s", [owe("n").nonce.name], START)
        backend.revoke([Revocation(TOKEN)], START)
        assert driver(backend, ask(TOKEN), START) is Answer.REVOKED
    raw(server, "ACL", "SETUSER", "rpcguard", "-info")
    with opened(url) as backend, pytest.raises(BackendError, match=r"\+info"):
        driver(backend, owe("m"), START)


def test_a_wrong_password_is_a_refusal_that_shows_none(
    driver: Callable[..., Answer], serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    server.client.config_set("requirepass", "secret-1")
    with (
        caplog.at_level(logging.DEBUG),
        opened(f"redis://:secret-2@127.0.0.1:{server.port}") as it,
        pytest.raises(BackendError, match="user and password") as caught,
    ):
        driver(it, owe("n"), START)
    assert "secret-" not in caplog.text + repr(caught.value) + repr(it)
    with opened(f"redis://127.0.0.1:{server.port}") as it, pytest.raises(BackendError):
        driver(it, owe("n"), START)
    with opened(f"redis://:secret-1@127.0.0.1:{server.port}") as it:
        assert driver(it, owe("n", issued_at=START + 1), START) is OK


def test_a_url_of_the_wrong_kind_is_told_apart(driver: Callable[..., Answer]) -> None:
    node = redis_servers.cluster().primaries
    refusals = []
    for url in (
        f"redis://127.0.0.1:{node[0].port}",
        f"redis+cluster://127.0.0.1:{redis_servers.single().port}",
        f"redis+sentinel://127.0.0.1:{redis_servers.single().port}/main",
        f"redis+sentinel://127.0.0.1:{redis_servers.trio().sentinels[0].port}/other",
    ):
        with opened(url) as backend:
            for number in range(3):
                with pytest.raises(BackendError) as caught:
                    for subject in map(str, range(20)):
                        driver(backend, owe(str(number), subject=subject), START)
            refusals.append(str(caught.value))
    assert "redis+cluster://" in refusals[0]


def test_a_socket_of_the_machine_can_be_used(
    driver: Callable[..., Answer], serve: Callable[..., Server], tmp_path: Path
) -> None:
    serve("--unixsocket", str(tmp_path / "s"))
    with opened(f"redis+unix://{tmp_path}/s") as backend:
        assert driver(backend, owe("n"), START) is OK
        assert driver(backend, owe("n"), START) is REPLAYED


def test_a_replica_answers_nothing(driver: Callable[..., Answer]) -> None:
    trio = redis_servers.trio()
    replica = next(each for each in trio.servers if each is not trio.primary())
    with opened(replica.port) as backend:
        for owed in (owe("n"), ask(TOKEN), present("a")):
            with pytest.raises(BackendError, match="the server is a replica"):
                driver(backend, owed, START)
        with pytest.raises(BackendError, match="the server is a replica"):
            backend.epoch(HERE)


# Replicas


def test_what_too_few_replicas_have_confirmed_is_refused_and_stays_spent(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    primary = serve()
    replica = serve("--replicaof", "127.0.0.1", str(primary.port))
    until(lambda: replica.client.info("replication")["master_link_status"] == "up", "a replica")
    with opened(primary.port, min_replicas=1, timeout="1s") as backend:
        assert _answered(lambda: driver(backend, owe("n"), START)) in (OK, REPLAYED)
        assert driver(backend, ask(TOKEN), START) is OK
        assert backend.put(issue("z"), START) is OK
        backend.revoke([Revocation(b"z", bucket=HERE)], START)
        replica.pause()
        with pytest.raises(BackendError, match="0 of 1 replicas"):
            driver(backend, owe("m"), START)
        with pytest.raises(BackendError, match="0 of 1 replicas"):
            backend.revoke([Revocation(TOKEN, bucket=HERE)], START)
        with pytest.raises(BackendError, match="0 of 1 replicas"):
            backend.put(issue("a"), START)
        assert driver(backend, ask(b"o" * 16), START) is OK  # it writes nothing
        replica.resume()
        assert driver(backend, owe("m"), START) is REPLAYED


# Finding servers


def test_where_nobody_says_in_time_who_is_the_primary_the_question_is_refused(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    silent = serve()
    silent.pause()
    with opened(f"redis+sentinel://127.0.0.1:{silent.port}/main", timeout="250ms") as backend:
        for _ in range(2):
            with pytest.raises(BackendError, match="where the primary is"):
                driver(backend, owe("n"), START)


def test_a_sentinel_that_is_silent_or_gone_is_passed_over(
    driver: Callable[..., Answer], serve: Callable[..., Server], prefix: str
) -> None:
    silent, gone = serve(), serve()
    silent.pause()
    gone.kill()
    good = redis_servers.trio().sentinels[0].port
    hosts = ",".join(f"127.0.0.1:{port}" for port in (gone.port, silent.port, good))
    url = f"redis+sentinel://{hosts}/{redis_servers.SERVICE}"
    with opened(url, key_prefix=prefix, timeout="1s") as backend:
        found = _answered(lambda: driver(backend, owe("n"), START))
        assert found in (OK, REPLAYED)
        assert driver(backend, owe("m"), START) is OK


def test_a_bucket_whose_keys_are_half_moved_is_refused_until_they_are_one(
    driver: Callable[..., Answer], prefix: str
) -> None:
    cluster = redis_servers.cluster()
    slot = key_slot(f"{{{prefix}:{HERE:02x}}}".encode())
    source = cluster.holder(slot)
    target = next(each for each in cluster.primaries if each is not source)
    with opened(cluster.url, key_prefix=prefix) as backend:
        assert driver(backend, owe("n"), START) is OK
        raw(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", raw(source, "CLUSTER", "MYID"))
        raw(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", raw(target, "CLUSTER", "MYID"))
        try:
            with pytest.raises(BackendError, match="being moved"):
                driver(backend, owe("m"), START)
        finally:
            for node in (source, target):
                raw(node, "CLUSTER", "SETSLOT", slot, "STABLE")
        assert driver(backend, owe("n"), START) is REPLAYED
        assert driver(backend, owe("m"), START) is OK


@pytest.mark.parametrize("module", [redis, redis_asyncio], ids=lambda module: module.__name__)
def test_a_ready_client_of_a_cluster_leads_to_it(
    driver: Callable[..., Answer], module: Any, prefix: str
) -> None:
    client = module.RedisCluster(host="127.0.0.1", port=redis_servers.cluster().primaries[0].port)
    with closing(open_client(client, now=START)) as backend:
        for number in range(10):
            owed = owe(f"{prefix} {number}", subject=f"{prefix} {number}")
            assert driver(backend, owed, START) is OK
            assert driver(backend, owed, START) is REPLAYED
    if module is redis:
        client.close()


# Who needs no backend


def test_a_token_that_needs_no_backend_is_good_while_the_server_is_down(
    guard: Callable[..., Any], serve: Callable[..., Server]
) -> None:
    server = serve()
    server.kill()
    registry = f"""
        version: 1
        backend: redis://127.0.0.1:{server.port}
        projects:
          free: {{preset: bearer, match: {{path: /free}}, revocation: false, aud: ignore,
                  keys: [{{kid: a, alg: HS256, secret: {"s" * 32}}}]}}
          asked: {{preset: bearer, match: {{path: /asked}}, aud: ignore,
                   keys: [{{kid: a, alg: HS256, secret: {"s" * 32}}}]}}
    """
    verifier = guard(registry)
    claims = {"sub": "me", "exp": 1_760_000_060}
    text = jwt.encode(claims, "s" * 32, "HS256", headers={"kid": "a"})
    headers = [("Authorization", f"Bearer {text}")]
    free = Request(method="POST", target="/free", headers=headers, body=b"")
    assert verifier.verify(free).subject == "me"
    assert asyncio.run(verifier.averify(free)).subject == "me"
    asked = replace(free, target="/asked")
    for verify in (verifier.verify, lambda request: asyncio.run(verifier.averify(request))):
        with pytest.raises(AuthError) as caught:
            verify(asked)
        assert (caught.value.status, caught.value.retry_after) == (503, 1)


# Loops, threads and forks


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
            waiting = asyncio.create_task(backend.asettle(owe("m"), START))
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


@pytest.mark.parametrize("cancelled", [0, 1, 7])
def test_one_that_is_cancelled_spoils_none_of_those_that_go_out_with_it(
    prefix: str, cancelled: int
) -> None:
    async def some(backend: Backend) -> list[Any]:
        await backend.asettle(owe("first"), START)
        tasks = [asyncio.create_task(backend.asettle(owe(str(n)), START)) for n in range(8)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[cancelled].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        found = asyncio.run(some(backend))
        assert isinstance(found.pop(cancelled), asyncio.CancelledError)
        assert found == [OK] * 7


def test_a_crowd_larger_than_one_pipeline_is_answered(prefix: str) -> None:
    async def crowd(backend: Backend) -> list[Answer]:
        return await asyncio.gather(*[backend.asettle(owe(str(n)), START) for n in range(600)])

    with opened(redis_servers.single().port, key_prefix=prefix) as backend:
        assert asyncio.run(crowd(backend)) == [OK] * 600


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
        assert driver(backend, replace(owe(prefix), subject=prefix), START) is OK
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


# Encryption


def test_an_encrypted_connection_needs_a_certificate_that_is_good(
    driver: Callable[..., Answer], prefix: str, tmp_path: Path
) -> None:
    good = certificate(tmp_path / "good", "127.0.0.1")
    other = certificate(tmp_path / "other", "10.0.0.1")
    server = redis_servers.single()
    for one, ca, check_hostname, refused in (
        (good, good, "true", False),
        (other, good, "true", True),  # signed by somebody else
        (other, other, "true", True),  # for somebody else
        (other, other, "false", False),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(one / "cert.pem", one / "key.pem")
        tls = {"ssl_ca_certs": ca / "cert.pem", "ssl_check_hostname": check_hostname}
        with proxied(server.port, context) as proxy:
            url = f"rediss://127.0.0.1:{proxy.port}"
            with opened(url, key_prefix=f"{prefix[-40:]}.{proxy.port}", **tls) as backend:
                if refused:
                    with pytest.raises(BackendError, match="the connection failed"):
                        driver(backend, owe("n"), START)
                else:
                    assert driver(backend, owe("n"), START) is OK
                    assert driver(backend, owe("n"), START) is REPLAYED


def certificate(directory: Path, address: str) -> Path:
    """Make a certificate for *address* that is its own authority."""
    directory.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return directory
