"""
How a scalar of the registry is spelled, and what it means: text in, value out, nothing guessed.

Every function raises ValueError with a message that says what is expected and quotes no input.
"""

from __future__ import annotations

import re
from datetime import datetime

from rpcguard.rates import PERIODS

_YES_NO = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

INTEGER = r"-?(?:0|[1-9][0-9]{0,17})"
SIZE = r"(0|[1-9][0-9]{0,17}) ?(B|kB|KB|KiB|MB|MiB)?"
DURATION = r"((?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
INSTANT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]" + _CLOCK + r":[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-]" + _CLOCK + ")"
)

RATE = rf"([1-9][0-9]{{0,8}})/({'|'.join(PERIODS)})"

_RATE = re.compile(RATE)
_INTEGER = re.compile(INTEGER)
_SIZE = re.compile(SIZE)
_DURATION = re.compile(DURATION)
_INSTANT = re.compile(INSTANT)
_UNITS = {None: 1, "B": 1, "kB": 1000, "KB": 1000, "KiB": 1 << 10, "MB": 1000_000, "MiB": 1 << 20}
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def yes_no(text: str) -> bool:
    """`true` or `false`, as YAML 1.2 spells them; `yes`, `on` and `1` are not taken."""
    try:
        return _YES_NO[text]
    except KeyError:
        raise ValueError("expected true or false") from None


def version(text: str) -> int:
    """The one version of the vocabulary that there is."""
    if text != "1":
        raise ValueError("expected 1: this release knows no other version of the vocabulary")
    return 1


def integer(text: str, low: int, high: int) -> int:
    """A decimal integer from *low* to *high*: no `+`, no leading zero, no `1_000`, no `0x10`."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected a whole number from {low} to {high}")
    value = int(text)
    if not low <= value <= high:
        raise ValueError(f"must be from {low} to {high}")
    return value


def size(text: str, low: int, high: int) -> int:
    """Bytes: `4096`, `8KiB`, `5 MiB`; KB and MB are powers of 1000, KiB and MiB of 1024."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("expected a size in bytes, such as 8KiB, 5MiB or 4096")
    value = int(match[1]) * _UNITS[match[2]]
    if not low <= value <= high:
        raise ValueError(f"must be from {low} to {high} bytes")
    return value


def duration(text: str, high: float, *, zero: bool = False) -> float:
    """
    Seconds: `250ms`, `30s`, `1.5h`, `7d`; a plain number is seconds.

    Args:
        text: What was written.
        high: The longest, in seconds.
        zero: Whether 0 is allowed.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("expected a duration, such as 30s, 250ms, 5m, 1h or 7d")
    number = float(match[1])
    value = number / 1000 if match[2] == "ms" else number * _SECONDS[match[2]]
    if value == 0 and not zero:
        raise ValueError("must be more than 0")
    if value > high:
        raise ValueError(f"must be at most {show_seconds(high)}")
    return value


def show_seconds(seconds: float) -> str:
    """Return *seconds* in a unit that gives a round number of at least ten."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0 and seconds >= 10 * length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def instant(text: str) -> float:
    """Unix seconds of an RFC 3339 date and time with its zone; a date alone names no instant."""
    wanted = "expected a date, time and zone, such as 2026-12-01T00:00:00Z"
    if not _INSTANT.fullmatch(text):
        raise ValueError(wanted)
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{wanted}; there is no such date or time") from None


def pattern(text: str, form: re.Pattern[str], wanted: str) -> str:
    """*text* itself, when *form* matches the whole of it; else the message is *wanted*."""
    if not form.fullmatch(text):
        raise ValueError(wanted)
    return text


def rate(text: str) -> tuple[int, int]:
    """(seconds, requests) of `10/second`, `600/minute`, `5000/hour` or `100000/day`."""
    match = _RATE.fullmatch(text)
    if not match:
        raise ValueError("expected requests per second, minute, hour or day, such as 10/second")
    return PERIODS[match[2]], int(match[1])


def audience_suffix(text: str) -> str:
    """A suffix that ends something in particular: an empty one, or dots alone, would end all."""
    if not text.strip(". "):
        raise ValueError("must hold more than dots: such a suffix would match every audience")
    return text
