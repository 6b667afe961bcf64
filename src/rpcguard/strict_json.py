"""
JSON as RFC 8259 and I-JSON (RFC 7493) have it, bounded: what two parsers could read in two ways is
refused, since the guard and the node behind it must never understand one body differently.

Refused: duplicate member names, NaN and Infinity, numbers that overflow a double, a byte order
mark, any encoding but UTF-8, lone surrogates, trailing data, and nesting deeper than `MAX_DEPTH`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from json.scanner import make_scanner
from typing import Any, NoReturn

_BLANKS = " \t\n\r"  # RFC 8259 section 2
MAX_DEPTH = 64  # parameters and claims nest a handful of levels; Python's parser dies near 1000

# Possessive throughout: a hostile megabyte of open strings and backslashes is read once.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes | str, *, exact: bool = False) -> Any:
    """
    Return the value that *data* spells.

    Args:
        data: The text, as UTF-8 bytes or as a string.
        exact: Give numbers with a fraction or an exponent as `decimal.Decimal`, digit for digit.

    Raises:
        ValueError: If *data* is not strict JSON. The message never quotes the input.
    """
    try:
        if isinstance(data, bytes):
            text = data.decode("utf-8")
        else:
            data.encode("utf-8")  # fails on a lone surrogate
            text = data
        objects = text.count("{")
        # One object, as almost all claims are, in two thirds of the time. Without blanks and
        # escapes each member's name ends in `":`, so there are no more members than that occurs,
        # and an object that has as many has not lost one to another of the same name.
        if (
            objects == 1
            and not exact
            and text[0] == "{"
            and not (
                ("[" in text or "\\" in text)
                or (" " in text or "\n" in text or "\t" in text or "\r" in text)
            )
        ):
            value, end = _FLAT(text, 0)
            if end == len(text) and len(value) == text.count('":'):
                return value
        # Counting brackets is enough for almost every body; only a suspicious one is walked.
        if objects + text.count("[") > MAX_DEPTH:
            _bound_depth(text)
        # What `json.loads` does, without its two regular expressions for the blanks around.
        begin = 0 if text[:1] == "{" else len(text) - len(text.lstrip(_BLANKS))
        value, end = (_EXACT if exact else _PLAIN)(text, begin)
        if end != len(text) and text[end:].strip(_BLANKS):
            raise json.JSONDecodeError("trailing data", text, end)
        if "\\u" in text and _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False, default=str).encode(
                "utf-8"
            )  # fails on a lone one
    except StopIteration as error:
        raise ValueError(f"not JSON at character {error.value}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(_describe(error)) from None
    return value


def _describe(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON at character {error.pos}"  # its own text may quote the input
    if isinstance(error, UnicodeError):
        return "not UTF-8 text"
    return str(error) if isinstance(error, _StrictError) else "not JSON: a number is out of range"


class _StrictError(ValueError):
    """Valid for `json`, refused here; its message is ours and quotes nothing."""


def _bound_depth(text: str) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        bracket = match[0]
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _StrictError(f"nested deeper than {MAX_DEPTH} levels")
        elif bracket in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _StrictError("a member name occurs twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _StrictError("a number is out of range")
    return number


def _exact(text: str) -> Decimal:
    _finite(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _StrictError("a number is out of range") from None


def _constant(_: str) -> NoReturn:
    raise _StrictError("NaN and Infinity are not JSON")


def _scanner(
    parse_float: Callable[[str], Any],
    pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = _unique,
) -> Callable[[str, int], tuple[Any, int]]:
    decoder = json.JSONDecoder(
        object_pairs_hook=pairs, parse_float=parse_float, parse_constant=_constant
    )
    return make_scanner(decoder)  # type: ignore[arg-type]  # typeshed wants another scanner


_PLAIN = _scanner(_finite)
_EXACT = _scanner(_exact)
_FLAT = _scanner(_finite, None)
