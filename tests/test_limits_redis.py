"""Limits whose counters live in a Redis, which several processes share."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from backends import redis_servers
from backends.redis_servers import Server, raw, until
from minting import CALL, SECRET, bearer, hour, token

from rpcguard import AuthError, Request
from rpcguard.limiter import EXACT, Limiter, _opened_with
from rpcguard.rates import Charge, Rate

CHARGE = Charge("per_project", (Rate(86400, 2),), ("p",))
REGISTRY = f"""
version: 1
projects:
  bsc:
    preset: meganode
    secrets: [{{id: a, secret: "{SECRET}"}}]
    limits: {{per_project: 1/day}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server().start()
    try:
        yield server
    finally:
        server.clear_away()


@pytest.fixture
def limiters() -> Iterator[Callable[[str], Limiter]]:
    """Return a maker of limiters, which are closed in the end."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(Limiter(url)))


@pytest.fixture
def url(server: Server) -> str:
    server.client.flushall()
    return f"redis://127.0.0.1:{server.port}/0?timeout=5s"  # a busy machine is no refusal


def spent(limiter: Limiter, charge: Charge = CHARGE) -> str:
    try:
        limiter.spend([charge], lambda error: error)
    except AuthError as error:
        return error.reason
    return ""


async def aspent(limiter: Limiter) -> str:
    try:
        await limiter.aspend((CHARGE,), lambda error: error)
    except AuthError as error:
        return error.reason
    return ""


def test_processes_count_together_with_and_without_a_loop(
    url: str, limiters: Callable[[str], Limiter]
) -> None:
    one, two = limiters(url), limiters(url)
    assert spent(one) == ""
    assert asyncio.run(aspent(two)) == ""
    assert spent(two) == "rate_limited"
    assert asyncio.run(aspent(one)) == "rate_limited"


@pytest.mark.parametrize("kind", ["single", "trio", "cluster"])
def test_a_closed_limiter_has_let_its_connections_go(
    kind: str, limiters: Callable[[str], Limiter]
) -> None:
    servers = getattr(redis_servers, kind)()
    told: list[Server] = {
        "single": lambda: [servers],
        "trio": lambda: [*servers.sentinels, *servers.servers],
        "cluster": lambda: servers.primaries,
    }[kind]()

    def connections() -> set[tuple[int, str]]:
        # but for those that ask this, and for the servers' own to each other
        return {
            (server.port, each["id"])
            for server in told
            for each in server.client.client_list(_type="normal")
            if not each["cmd"].startswith("client") and not each["name"].startswith("sentinel-")
        }

    before = connections()
    url = f"redis://127.0.0.1:{servers.port}" if kind == "single" else servers.url
    limiter = limiters(f"{url}?timeout=5s")
    assert spent(limiter, CHARGE._replace(names=("closed", kind))) == ""
    kept = limiter._strategies()  # so that nobody but the limiter closes them
    own = connections() - before
    assert len(own) >= (2 if kind == "trio" else 1)
    limiter.close()
    limiter.close()
    until(lambda: not own & connections(), "the servers have seen them go")
    assert kept


def test_tasks_of_one_loop_are_counted_to_the_last_one(
    url: str, limiters: Callable[[str], Limiter]
) -> None:
    limiter = limiters(url)

    async def storm() -> list[str]:
        return await asyncio.gather(*(aspent(limiter) for _ in range(20)))

    results = asyncio.run(storm())
    assert (results.count(""), results.count("rate_limited")) == (2, 18)


def test_large_limits_take_two_counters(
    url: str, server: Server, limiters: Callable[[str], Limiter]
) -> None:
    limiter = limiters(url)
    charge = Charge("per_ip", (Rate(86400, EXACT + 1),), ("p", "192.0.2.1"))
    assert [spent(limiter, charge) for _ in range(20)] == [""] * 20
    keys = server.client.keys("*")
    assert len(keys) <= 2
    assert all(key.startswith(b"{rpcguard:limits") or b"rpcguard:limits" in key for key in keys)
    assert all(server.client.type(key) == b"string" for key in keys)


@pytest.mark.parametrize("amount", [EXACT, EXACT + 1])
def test_the_permissions_in_the_docs_are_enough(
    server: Server, amount: int, limiters: Callable[[str], Limiter]
) -> None:
    page = Path(__file__).parents[1] / "docs" / "operators.md"
    lines = [each for each in page.read_text().splitlines() if each.startswith("ACL SETUSER")]
    assert len(lines) == 2
    raw(server, "ACL", "SETUSER", "rpcguard", "reset")
    for line in lines:
        raw(server, *line.replace(">PASSWORD", ">hunter2").split())
    limiter = limiters(f"redis://rpcguard:hunter2@127.0.0.1:{server.port}?timeout=5s")
    for limit, answer in ((amount, ""), (1, "rate_limited")):
        charge = Charge("per_ip", (Rate(60, limit),), ("p", f"permitted {amount}"))
        assert [spent(limiter, charge) for _ in range(2)][-1] == answer
    limiter.close()


def test_names_of_callers_are_not_in_the_keys(
    url: str, server: Server, limiters: Callable[[str], Limiter]
) -> None:
    charge = Charge("per_subject", (Rate(60, 1),), ("p", "alice}\r\n{x"))
    assert spent(limiters(url), charge) == ""
    assert all(b"alice" not in key for key in server.client.keys("*"))


def test_a_verifier_counts_where_its_backend_says(
    guard, url: str, limiters: Callable[[str], Limiter]
) -> None:
    request = Request("POST", "/", bearer(token(hour())), CALL)
    verifier = guard(REGISTRY, backend="memory://")
    verifier._limiter = limiters(url)
    assert verifier.verify(request).subject == "a"
    with pytest.raises(AuthError, match="rate_limited"):
        asyncio.run(verifier.averify(request))


def test_a_limiter_that_does_not_answer_refuses(guard, limiters: Callable[[str], Limiter]) -> None:
    server = Server().start()
    limiter = limiters(f"redis://127.0.0.1:{server.port}/0?timeout=5s")
    assert spent(limiter) == ""
    server.clear_away()
    anew = limiters(f"redis://127.0.0.1:{server.port}/0?timeout=5s")
    for answer in (spent(limiter), asyncio.run(aspent(limiter)), spent(anew)):
        assert answer == "backend_unavailable"
    verifier = guard(REGISTRY, backend="memory://")
    verifier._limiter = limiter
    with pytest.raises(AuthError) as caught:
        verifier.verify(Request("POST", "/", bearer(token(hour())), CALL))
    error = caught.value
    assert (error.status, error.project, error.retry_after) == (503, "bsc", 1)
    assert error.detail == "the limiter did not answer: ConnectionError"


@pytest.mark.timeout(60)
def test_a_limiter_that_is_silent_refuses_in_bounded_time(
    limiters: Callable[[str], Limiter],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts and says nothing
        limiter = limiters(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert spent(limiter) == "backend_unavailable"
        assert asyncio.run(aspent(limiter)) == "backend_unavailable"


@pytest.mark.timeout(60)
def test_a_crowd_before_a_silent_limiter_is_refused_together(
    limiters: Callable[[str], Limiter],
) -> None:
    """Each attempt takes its time; who waits for a thread meanwhile must not add one of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        limiter = limiters(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")

        async def storm() -> set[str]:
            return set(await asyncio.gather(*(aspent(limiter) for _ in range(400))))

        assert asyncio.run(storm()) == {"backend_unavailable"}
        limiter.close()
        silent.settimeout(0.1)
        attempts = 0
        with suppress(TimeoutError):
            while True:
                silent.accept()[0].close()
                attempts += 1
    assert attempts < 200


@pytest.mark.timeout(60)
def test_an_application_that_fills_its_loops_threads_does_not_hold_the_limiter_up(
    url: str, limiters: Callable[[str], Limiter]
) -> None:
    limiter, free = limiters(url), threading.Event()

    async def counted() -> str:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, free.wait)
        try:
            return await asyncio.wait_for(aspent(limiter), 50)
        finally:
            free.set()
            await busy

    assert asyncio.run(counted()) == ""


@pytest.mark.parametrize(
    ("url", "told", "options"),
    [
        (
            "redis://h:1/2?timeout=150ms&min_replicas=1",
            "redis://h:1",
            {"db": 2, "socket_timeout": 0.15},
        ),
        ("valkey://h", "redis://h:6379", {}),
        ("redis://u:p%40@h", "redis://h:6379", {"username": "u", "password": "p@"}),
        (
            "rediss://h?ssl_check_hostname=false",
            "rediss://h:6379",
            {"ssl_cert_reqs": "required", "ssl_check_hostname": False},
        ),
        ("redis+unix:///run/r.sock?db=3", "redis+unix:///run/r.sock", {"db": 3}),
        ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2", {}),
        ("rediss+cluster://a:1", "redis+cluster://a:1", {"ssl": True}),
        ("redis://[::1]:7?key_prefix=mine", "redis://[::1]:7", {"key_prefix": "mine:limits"}),
        (
            "rediss+sentinel://:p@a:1,b:2/main/4?sentinel_password=s",
            "redis+sentinel://a:1,b:2/main",
            {"db": 4, "password": "p", "ssl": True, "use_replicas": False},
        ),
    ],
)
def test_the_url_of_a_backend_is_one_of_limits(url: str, told: str, options: dict) -> None:
    settings = Limiter(url)._settings
    assert settings is not None
    found, given = _opened_with(settings)
    assert found == told
    assert given.items() >= options.items()
    assert given["socket_timeout"] <= 0.25 and given["socket_connect_timeout"] <= 0.25
    assert given["retry"]._retries == 0
    if "sentinel" in url:
        assert given["sentinel_kwargs"].items() >= {"password": "s", "ssl": True}.items()


def test_a_verifier_counts_where_its_registry_keeps_nonces(guard, url: str) -> None:
    text = REGISTRY.replace("projects:", f"backend: {url}&restart_guard=off\nprojects:", 1)
    request = Request("POST", "/", bearer(token(hour())), CALL)
    one, two = guard(text), guard(text)
    assert one.verify(request).subject == "a"
    for verifier in (one, two):
        with pytest.raises(AuthError) as caught:
            verifier.verify(request)
        assert caught.value.reason == "rate_limited"


@pytest.mark.parametrize("kind", ["cluster", "trio"])
def test_a_cluster_and_a_sentinel_count_too(kind: str, limiters: Callable[[str], Limiter]) -> None:
    servers = getattr(redis_servers, kind)()
    limiter = limiters(f"{servers.url}?timeout=5s")
    charge = Charge("per_subject", CHARGE.rates, ("p", servers.url))
    try:
        assert [spent(limiter, charge) for _ in range(3)] == ["", "", "rate_limited"]
    finally:
        limiter.close()
