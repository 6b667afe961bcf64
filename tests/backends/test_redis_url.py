"""The URLs of Redis and Valkey backends, and ready clients in their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from redis import asyncio as redis_asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

from backends.kinds import START
from rpcguard.backends.open import open_backend, open_client
from rpcguard.backends.redis_client import settings_of
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.backends.redis_url import parse
from rpcguard.errors import ConfigError

HERE = Path(__file__).parent
TLS = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


def single(host: str = "localhost", port: int = 6379, **others: Any) -> Settings:
    return Settings("single", (Address(host, port),), **others)


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("redis://localhost", single()),
        ("redis://localhost/", single()),
        ("REDIS://localhost:1234/5", single(port=1234, connection={"db": 5})),
        ("valkey://[::1]:7000", single("::1", 7000)),
        ("redis://:p%40ss@h", single("h", connection={"password": "p@ss"})),
        ("redis://me:a:b@h", single("h", connection={"username": "me", "password": "a:b"})),
        ("redis://me@h", single("h", connection={"username": "me"})),
        ("rediss://h", single("h", connection=TLS, tls=True, sentinel_tls=True)),
        ("valkeys://h", single("h", connection=TLS, tls=True, sentinel_tls=True)),
        ("redis+unix:///run/r.sock", single("/run/r.sock", 0)),
        ("redis+unix:///a%20b?db=3", single("/a b", 0, connection={"db": 3})),
        (
            "redis+sentinel://a:1,b/main/2?sentinel_password=s",
            Settings(
                "sentinel",
                (Address("a", 1), Address("b", 26379)),
                "main",
                {"db": 2},
                {"password": "s"},
            ),
        ),
        (
            "valkey+cluster://u:p@a:1,b",
            Settings(
                "cluster",
                (Address("a", 1), Address("b", 6379)),
                connection={"username": "u", "password": "p"},
            ),
        ),
        ("redis://h?timeout=100ms", single("h", timeout=0.1, connect_timeout=0.1)),
        ("redis://h?timeout=1s&connect_timeout=40ms", single("h", timeout=1, connect_timeout=0.04)),
        ("redis://h?connect_timeout=2s", single("h")),
        ("redis://h?min_replicas=2&max_waiting=7", single("h", min_replicas=2, max_waiting=7)),
        (
            "redis://h?max_connections=1&key_prefix=a.b",
            single("h", max_connections=1, key_prefix="a.b"),
        ),
        ("redis://h?restart_guard=off", single("h", restart_guard=False)),
    ],
)
def test_what_a_url_says(url: str, settings: Settings) -> None:
    found = parse(urlsplit(url), HERE)
    if settings.tls:
        settings = replace(settings, sentinel=TLS)
    assert found == settings


def test_files_of_tls_are_found_from_the_registry_on() -> None:
    url = f"rediss://h?ssl_ca_certs={Path(__file__).name}&ssl_check_hostname=false"
    found = parse(urlsplit(url), HERE)
    assert found.connection["ssl_ca_certs"] == __file__
    assert found.connection["ssl_check_hostname"] is False
    off = parse(urlsplit("rediss://h?ssl_cert_reqs=none"), HERE).connection
    assert off == {"ssl_cert_reqs": "none", "ssl_check_hostname": False}


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "redis:",
        "redis://",
        "redis:///1",
        f"redis://h/{PASSWORD}",
        f"redis://h:{PASSWORD}",
        "redis://h:0",
        "redis://h:65536",
        "redis://h/-1",
        "redis://a,b",
        "redis://a b",
        "redis://%00",
        f"redis://u:{PASSWORD}@h#x",
        f"redis://h?password={PASSWORD}",
        "redis://h?ssl_ca_certs=/x",
        "redis://h?sentinel_password=x",
        "redis://h?timeout=250",
        "redis://h?timeout=1ms",
        "redis://h?connect_timeout=x",
        "redis://h?min_replicas=-1",
        "redis://h?min_replicas=1.5",
        "redis://h?max_connections=0",
        "redis://h?max_waiting=0",
        "redis://h?key_prefix=",
        "redis://h?key_prefix=%7Bx%7D",
        "redis://h?restart_guard=yes",
        "redis://h?db=1",
        f"rediss://h?ssl_ca_certs=/{PASSWORD}",
        "rediss://h?ssl_cert_reqs=optional",
        "rediss://h?ssl_check_hostname=1",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=true",
        "redis+unix://",
        "redis+unix:///",
        "redis+unix://host/path",
        "redis+unix:///a%00b",
        "rediss+unix:///x",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/a%20b",
        "redis+sentinel://h/main/x",
        "redis+sentinel://,h/main",
        "redis+cluster://h/1",
        "redis+cluster://",
        "redis+magic://h",
        "rediscluster://h",
    ],
)
def test_a_wrong_url_is_an_error_that_does_not_quote_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(url, now=START, base=tmp_path)
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).startswith("backend: ")


def test_settings_show_no_password() -> None:
    url = f"redis+sentinel://u:{PASSWORD}@h/main?sentinel_password={PASSWORD}"
    assert PASSWORD not in repr(parse(urlsplit(url), HERE))


def test_without_redis_py_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rpcguard.backends.redis", None)
    with pytest.raises(ConfigError, match=r"rpcguard\[redis\]"):
        open_backend("redis://h", now=START, base=tmp_path)


# Ready clients


def _master_for(kind: type[Any]) -> Any:
    sentinels = [("a", 1), ("b", 2)]
    return kind(sentinels, sentinel_kwargs={"password": "s"}).master_for("main", db=4, password="p")


@pytest.mark.parametrize(
    ("client", "settings"),
    [
        pytest.param(
            lambda module=module: module.Redis(host="h", port=1, db=2, username="u", password="p"),
            single("h", 1, connection={"db": 2, "username": "u", "password": "p"}),
            id=module.__name__,
        )
        for module in (redis, redis_asyncio)
    ]
    + [
        pytest.param(
            lambda: redis.Redis(unix_socket_path="/x"),
            single("/x", 0, connection={"db": 0}),
            id="unix",
        ),
        pytest.param(
            lambda: redis.Redis.from_url("rediss://h?ssl_ca_certs=/ca&ssl_check_hostname=true"),
            single("h", tls=True, connection={"ssl_ca_certs": "/ca", "ssl_check_hostname": True}),
            id="tls",
        ),
    ]
    + [
        pytest.param(
            lambda kind=kind: _master_for(kind),
            Settings(
                "sentinel",
                (Address("a", 1), Address("b", 2)),
                "main",
                {"db": 4, "password": "p"},
                {"db": 0, "password": "s"},
            ),
            id=f"{kind.__module__}.{kind.__name__}",
        )
        for kind in (Sentinel, AsyncSentinel)
    ],
)
def test_what_a_ready_client_says(client: Any, settings: Settings) -> None:
    assert settings_of(client()) == settings


def test_bounds_can_be_given_to_a_ready_client() -> None:
    found = settings_of(redis.Redis(), timeout=1.0, min_replicas=1)
    assert (found.timeout, found.min_replicas) == (1.0, 1)


class _Own(redis.Connection):
    """A connection that knows more than redis-py's."""


@pytest.mark.parametrize(
    "thing",
    [
        object(),
        redis.ConnectionPool(),
        redis.Redis(connection_pool=redis.ConnectionPool(connection_class=_Own)),
        redis.Redis(ssl=True, ssl_ca_path="/x"),
    ],
    ids=["no client", "a pool", "connections of another class", "an option of one kind alone"],
)
def test_what_is_no_client_or_cannot_be_followed_is_refused(thing: object) -> None:
    with pytest.raises(ConfigError, match="backend: "):
        open_client(thing, now=START)
