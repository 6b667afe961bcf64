"""
The request target and which project it belongs to.

The path that rpcguard matches by must be the path that the framework routes by. Wherever two
parsers could disagree (dot segments, empty segments, encoded separators, encoded letters), the
request is refused before matching, so that nobody can steer a request to another project.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from rpcguard.errors import AuthError

T = TypeVar("T")

# Visible ASCII without "#" and "\", starting with "/", no empty or dot segment but a trailing "/"
_PATH = re.compile(r"/(?:(?:(?!\.{1,2}(?:/|$))[!\"$-.0-\[\]-~]+)(?:/(?=[^/]|$)|$))*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_QUERY = re.compile(r"[!\"$-\[\]-~]*")
_ESCAPE = re.compile(r"%(..)?", re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
# Unreserved characters have no reason to be encoded (RFC 3986 section 2.3); the rest are separators
_NEVER_ENCODED = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\\0"
)


def split(target: str) -> tuple[str, str]:
    """
    Return the raw path and the decoded path of *target*.

    Raises:
        AuthError: `invalid_target`.
    """
    raw, mark, query = target.partition("?")
    if not _PATH.fullmatch(raw) or (mark and not _QUERY.fullmatch(query)):
        raise AuthError("invalid_target", detail="not an origin-form path without ambiguities")
    return raw, _decode(raw) if "%" in raw else raw


def _decode(raw: str) -> str:
    for match in _ESCAPE.finditer(raw):
        digits = match[1] or ""
        if not _HEX.fullmatch(digits) or int(digits, 16) in _NEVER_ENCODED:
            raise AuthError(
                "invalid_target", detail="a percent-encoding that parsers read differently"
            )
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise AuthError("invalid_target", detail="the decoded path is not UTF-8") from None


def host_name(values: Sequence[str]) -> str:
    """
    Return the host of the `Host` field without its port, lower case; "" where there is none.

    Raises:
        AuthError: `invalid_target`, if the field is repeated or malformed.
    """
    if not values or (values[0] == "" and len(values) == 1):
        return ""
    match = _HOST.fullmatch(values[0])
    if len(values) > 1 or match is None:
        raise AuthError("invalid_target", detail="Host is repeated or malformed")
    return match[1].lower()


def matched_depth(path: str, prefixes: Collection[str]) -> int | None:
    """
    Return the number of segments of the longest of *prefixes* that a decoded *path* has.

    None if it has none of them; 0 where there are none to have.
    """
    return max(
        (
            prefix.count("/")
            for prefix in prefixes
            if path == prefix or path.startswith(f"{prefix}/")
        ),
        default=None if prefixes else 0,
    )


class Match(NamedTuple):
    """What a project matches: a host ("" for any) and a path prefix ("" for any)."""

    host: str
    prefix: str


class Router(Generic[T]):
    """
    Finds the project of a request. A match by host comes first, then the longest path, then the
    default. The cost grows with the segments of the path, not with the number of projects.
    """

    def __init__(self, entries: Iterable[tuple[Match, T]], default: T | None) -> None:
        """
        Args:
            entries: What each project matches; a project may have several.
            default: The project without a match, or None.
        """
        self._tables: dict[str, dict[str, T]] = {}
        for match, project in entries:
            self._tables.setdefault(match.host, {})[match.prefix] = project
        self._default = default
        # no prefix has more segments than this, so no more of a path is looked at
        self._depth = max(
            (prefix.count("/") for table in self._tables.values() for prefix in table), default=0
        )

    def find(self, host: str, path: str) -> tuple[T, int]:
        """
        Return the project of a decoded *path* and the number of segments of the matched prefix.

        Raises:
            AuthError: `no_project`.
        """
        prefixes = [""]
        for segment in path.split("/", self._depth + 1)[1 : self._depth + 1]:
            prefixes.append(f"{prefixes[-1]}/{segment}")
        for table in (self._tables.get(host) if host else None, self._tables.get("")):
            if table:
                for depth in range(len(prefixes) - 1, -1, -1):
                    if prefixes[depth] in table:
                        return table[prefixes[depth]], depth
        if self._default is None:
            raise AuthError("no_project")
        return self._default, 0
