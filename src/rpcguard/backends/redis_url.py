"""
The URLs of Redis and Valkey backends. No error quotes them: they may hold passwords.

::

    redis://[[user]:password@]host[:port][/db]        rediss:// with TLS
    redis+unix://[[user]:password@]/path[?db=N]
    redis+sentinel://[…@]host[:port],…/service[/db]   rediss+sentinel://
    redis+cluster://[…@]host[:port],…                 rediss+cluster://

`valkey` may stand for `redis` in each, `valkeys` for `rediss`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, unquote

from rpcguard.backends import url_options
from rpcguard.backends.redis_settings import (
    KEY_PREFIX,
    MAX_CONNECTIONS,
    MAX_WAITING,
    TIMEOUT,
    Address,
    Settings,
)
from rpcguard.errors import ConfigError

_SCHEME = re.compile(r"(?:redis|valkey)(s?)(?:\+(unix|sentinel|cluster))?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9._:-]+")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PORT, _SENTINEL_PORT = 6379, 26379
_DATABASES = 1_000_000

_BOUNDS = frozenset(
    {
        *("timeout", "connect_timeout", "min_replicas", "max_connections", "max_waiting"),
        *("key_prefix", "restart_guard"),
    }
)
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = frozenset({*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname"})
_OF_SENTINEL = frozenset({"sentinel_username", "sentinel_password"})
_TOPOLOGIES: Mapping[str | None, Literal["single", "sentinel", "cluster"]] = {
    None: "single",
    "unix": "single",
    "sentinel": "sentinel",
    "cluster": "cluster",
}


def is_redis(scheme: str) -> bool:
    """Return whether a URL of this *scheme* is one of Redis or Valkey."""
    return _SCHEME.fullmatch(scheme) is not None


def parse(parts: SplitResult, base: Path) -> Settings:
    """
    Return what the URL *parts* say.

    Args:
        parts: The URL.
        base: Directory that relative paths of certificates start from.

    Raises:
        ConfigError: If the URL is wrong.
    """
    match = _SCHEME.fullmatch(parts.scheme)
    if match is None or (match[1] and match[2] == "unix"):
        raise ConfigError("backend: not a URL of Redis or Valkey")
    tls, kind = bool(match[1]), match[2]
    known = _BOUNDS
    known |= _TLS if tls else frozenset()
    known |= {"db"} if kind == "unix" else frozenset()
    known |= _OF_SENTINEL if kind == "sentinel" else frozenset()
    options = url_options.options(parts, known)
    user, _, hosts = parts.netloc.rpartition("@")
    encryption = _encryption(options, base) if tls else {}
    connection = _credentials(user) | encryption
    service = ""
    if kind == "unix":
        addresses = _socket(hosts, parts.path)
        connection |= _database(options.get("db", ""))
    else:
        addresses = _hosts(hosts, _SENTINEL_PORT if kind == "sentinel" else _PORT, kind)
        path = parts.path.removeprefix("/")
        if kind == "sentinel":
            service, _, path = path.partition("/")
            if not _SERVICE.fullmatch(service):
                raise ConfigError("backend: write redis+sentinel://host:port,host:port/service")
        if kind == "cluster" and path:
            raise ConfigError("backend: a Cluster has no databases; leave the path out")
        connection |= _database(path)
    sentinel = {
        name.removeprefix("sentinel_"): value
        for name, value in options.items()
        if name in _OF_SENTINEL
    }
    return Settings(
        _TOPOLOGIES[kind],
        addresses,
        service,
        connection,
        sentinel | encryption,
        tls,
        tls,
        **_bounds(options),
    )


def _bounds(options: Mapping[str, str]) -> dict[str, Any]:
    prefix = options.get("key_prefix", KEY_PREFIX)
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError("backend: key_prefix must be 1 to 64 letters, digits, or any of ._:-")
    timeout = url_options.seconds(options, "timeout", TIMEOUT)
    guard = url_options.choice(options, "restart_guard", "on", frozenset({"off"}))
    return {
        "timeout": timeout,
        "connect_timeout": min(url_options.seconds(options, "connect_timeout", timeout), timeout),
        "min_replicas": url_options.number(options, "min_replicas", 0, 0, 100),
        "max_connections": url_options.number(
            options, "max_connections", MAX_CONNECTIONS, 1, 10_000
        ),
        "max_waiting": url_options.number(options, "max_waiting", MAX_WAITING, 1, 1_000_000),
        "key_prefix": prefix,
        "restart_guard": guard == "on",
    }


def _credentials(user: str) -> dict[str, Any]:
    name, _, password = user.partition(":")
    found = {"username": unquote(name), "password": unquote(password)}
    return {key: value for key, value in found.items() if value}


def _database(text: str) -> dict[str, Any]:
    if not text:
        return {}
    return {"db": url_options.number({"db": text}, "db", 0, 0, _DATABASES)}


def _socket(hosts: str, path: str) -> tuple[Address, ...]:
    path = unquote(path)
    if hosts or len(path) < 2 or "\0" in path:
        raise ConfigError("backend: write redis+unix:///path/of/the/socket")
    return (Address(path, 0),)


def _hosts(text: str, port: int, kind: str | None) -> tuple[Address, ...]:
    found = []
    for each in text.split(","):
        match = _HOST.fullmatch(each)
        if match is None or not match.group(0).isascii() or not 0 < int(match[2] or port) < 65536:
            raise ConfigError("backend: a host of the URL is malformed; write host or host:port")
        found.append(Address(match[1].strip("[]"), int(match[2] or port)))
    if kind is None and len(found) > 1:
        raise ConfigError("backend: several hosts need redis+sentinel:// or redis+cluster://")
    return tuple(found)


def _encryption(options: Mapping[str, str], base: Path) -> dict[str, Any]:
    """Return the options of TLS by redis-py's names; the server's certificate must be good."""
    found: dict[str, Any] = {n: str(base / options[n]) for n in _TLS_FILES if n in options}
    for name, path in found.items():
        if not Path(path).is_file():
            raise ConfigError(f"backend: the file of {name} is not there")
    found["ssl_cert_reqs"] = url_options.choice(
        options, "ssl_cert_reqs", "required", frozenset({"none"})
    )
    checks = found["ssl_cert_reqs"] == "required"
    yes_or_no = url_options.choice(
        options, "ssl_check_hostname", "true" if checks else "false", frozenset({"true", "false"})
    )
    found["ssl_check_hostname"] = yes_or_no == "true"
    if found["ssl_check_hostname"] and not checks:
        raise ConfigError("backend: ssl_check_hostname needs ssl_cert_reqs=required")
    return found
