"""
From the registry's `backend` URL to a backend.

An error never quotes the URL: it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rpcguard.backends.base import Backend
from rpcguard.backends.memory import MemoryBackend
from rpcguard.backends.sqlite import DEFAULT_TIMEOUT, SqliteBackend
from rpcguard.errors import ConfigError

_DURATION = re.compile(r"([0-9]{1,6})(ms|s)")
_SHORTEST, _LONGEST = 0.01, 10.0  # seconds


def open_backend(url: str, *, now: float, base: Path) -> Backend:
    """
    Open the backend that *url* names.

    Args:
        url: `memory://`, `memory://?restart_guard=off`, `sqlite:///relative`,
            `sqlite:////absolute`, `sqlite:///x?timeout=250ms` (10ms to 10s).
        now: Unix seconds; what "before the start" means to the backend.
        base: Directory that relative paths start from: that of the registry's file.

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
    raise ConfigError("backend: the URL must begin with memory:// or sqlite:///")


def _memory(parts: SplitResult, now: float) -> MemoryBackend:
    options = _options(parts, {"restart_guard"})
    if parts.netloc or parts.path:
        raise ConfigError("backend: memory:// takes no host and no path")
    guard = options.get("restart_guard", "on")
    if guard not in {"on", "off"}:
        raise ConfigError("backend: restart_guard must be on or off")
    return MemoryBackend(now=now, restart_guard=guard == "on")


def _sqlite(parts: SplitResult, now: float, base: Path) -> SqliteBackend:
    options = _options(parts, {"timeout"})
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or "\0" in path:
        raise ConfigError("backend: write sqlite:///relative/path or sqlite:////absolute/path")
    if path == ":memory:":
        raise ConfigError("backend: for a backend in memory write memory://")
    timeout = _seconds(options["timeout"]) if "timeout" in options else DEFAULT_TIMEOUT
    return SqliteBackend(base / path, now=now, timeout=timeout)


def _options(parts: SplitResult, known: set[str]) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigError("backend: the URL's parameters are malformed") from None
    names = [name for name, _ in pairs]
    if parts.fragment:
        raise ConfigError("backend: the URL must have no fragment; write # as %23")
    if not known.issuperset(names):
        raise ConfigError(f"backend: this URL takes only the parameter {', '.join(sorted(known))}")
    if len(set(names)) < len(names):
        raise ConfigError("backend: a parameter of the URL is there twice")
    return dict(pairs)


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match:
        seconds = int(match[1]) / (1000 if match[2] == "ms" else 1)
        if _SHORTEST <= seconds <= _LONGEST:
            return seconds
    raise ConfigError("backend: timeout must be between 10ms and 10s, such as 250ms")
