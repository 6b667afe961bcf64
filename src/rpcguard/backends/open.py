"""
From the registry's `backend` URL to a backend.

An error never quotes the URL: it may hold a password.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from rpcguard.backends import redis_url
from rpcguard.backends.base import Backend
from rpcguard.backends.memory import MemoryBackend
from rpcguard.backends.redis_settings import Settings
from rpcguard.backends.url_options import choice, options, seconds
from rpcguard.errors import BackendError, ConfigError

if TYPE_CHECKING:  # `memory://` needs no database
    from rpcguard.backends.sqlite import SqliteBackend

_log = logging.getLogger("rpcguard.backends")


def open_backend(url: str, *, now: float, base: Path, must_answer: bool = False) -> Backend:
    """
    Open the backend that *url* names.

    Args:
        url: `memory://`, `memory://?restart_guard=off`, `sqlite:///relative`,
            `sqlite:////absolute`, `sqlite:///x?timeout=250ms` (10ms to 10s), or one of
            `rpcguard.backends.redis_url`.
        now: Unix seconds; what "before the start" means to the backend.
        base: Directory that relative paths start from: that of the registry's file.
        must_answer: Raise also where the servers of Redis do not answer at the moment, or must not
            be used; else that is logged, and each request finds out.

    Raises:
        ConfigError: If the URL is wrong or the backend cannot be opened.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("backend: not a URL") from None
    if parts.scheme == "memory":
        return _memory(parts, now)
    if parts.scheme == "sqlite":
        return _sqlite(parts, now, base)
    if redis_url.is_redis(parts.scheme):
        return _redis(parts, now, base, must_answer)
    raise ConfigError("backend: the URL must begin with memory://, sqlite:/// or redis://")


def _memory(parts: SplitResult, now: float) -> MemoryBackend:
    found = options(parts, frozenset({"restart_guard"}))
    if parts.netloc or parts.path:
        raise ConfigError("backend: memory:// takes no host and no path")
    guard = choice(found, "restart_guard", "on", frozenset({"off"}))
    return MemoryBackend(now=now, restart_guard=guard == "on")


def _sqlite(parts: SplitResult, now: float, base: Path) -> SqliteBackend:
    from rpcguard.backends.sqlite import DEFAULT_TIMEOUT, SqliteBackend  # noqa: PLC0415

    found = options(parts, frozenset({"timeout"}))
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or "\0" in path:
        raise ConfigError("backend: write sqlite:///relative/path or sqlite:////absolute/path")
    if path == ":memory:":
        raise ConfigError("backend: for a backend in memory write memory://")
    timeout = seconds(found, "timeout", DEFAULT_TIMEOUT)
    return SqliteBackend(base / path, now=now, timeout=timeout)


def open_client(client: object, *, now: float) -> Backend:
    """
    Open a backend on the servers of a ready client of redis-py.

    Args:
        client: See `rpcguard.backends.redis_client.settings_of`.
        now: Unix seconds.

    Raises:
        ConfigError: If *client* is none.
    """
    if type(client).__module__.partition(".")[0] != "redis":
        raise ConfigError("backend: neither a URL, nor a backend, nor a client of redis-py")
    from rpcguard.backends.redis_client import settings_of  # noqa: PLC0415 - as below

    return _started(settings_of(client), now, must_answer=False)


def _redis(parts: SplitResult, now: float, base: Path, must_answer: bool) -> Backend:
    return _started(redis_url.parse(parts, base), now, must_answer)


def _started(settings: Settings, now: float, must_answer: bool) -> Backend:
    try:
        # Here and not above: who has no Redis need not have its client.
        from rpcguard.backends.redis import RedisBackend  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError("backend: install rpcguard[redis] for Redis and Valkey") from error
    backend = RedisBackend(settings)
    try:
        backend.start(now)
    except BackendError as error:
        if must_answer:
            backend.close()
            raise ConfigError(f"backend: {error}") from error
        _log.error("%s; requests that need the backend are refused until that is mended", error)
    return backend
