"""The parameters of a backend's URL. No error quotes them: one may be a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl

from rpcguard.errors import ConfigError

_DURATION = re.compile(r"([0-9]{1,6})(ms|s)")
_NUMBER = re.compile(r"[0-9]{1,9}")
_SHORTEST, _LONGEST = 0.01, 10.0  # seconds


def options(parts: SplitResult, known: frozenset[str]) -> Mapping[str, str]:
    """
    Return the parameters of a URL.

    Args:
        parts: The URL.
        known: The names that it may have.

    Raises:
        ConfigError: If there are others, one twice, or a fragment.
    """
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


def seconds(found: Mapping[str, str], name: str, default: float) -> float:
    """Return the duration *name*, such as `250ms`, in seconds."""
    if name not in found:
        return default
    match = _DURATION.fullmatch(found[name])
    if match:
        value = int(match[1]) / (1000 if match[2] == "ms" else 1)
        if _SHORTEST <= value <= _LONGEST:
            return value
    raise ConfigError(f"backend: {name} must be between 10ms and 10s, such as 250ms")


def number(found: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return the whole number *name*."""
    text = found.get(name, str(default))
    if _NUMBER.fullmatch(text) and text.isascii() and least <= int(text) <= most:
        return int(text)
    raise ConfigError(f"backend: {name} must be a whole number from {least} to {most}")


def choice(found: Mapping[str, str], name: str, default: str, others: frozenset[str]) -> str:
    """Return the word *name*, one of a few."""
    text = found.get(name, default)
    if text == default or text in others:
        return text
    words = " or ".join(sorted({default, *others}))
    raise ConfigError(f"backend: {name} must be {words}")
