"""The request as rpcguard sees it: raw, frozen, and knowing no framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

KNOWN_NAMES = 1024
NAME_LENGTH = 64  # characters


@dataclass(frozen=True, slots=True)
class Request:
    """
    One HTTP request or WebSocket handshake.

    Attributes:
        method: The method as received; HTTP methods are case-sensitive (RFC 9110 section 9.1).
        target: The raw request target: path and `?query` before any percent-decoding.
        headers: (name, value) pairs as received, repeated fields too; names in any letter case.
        body: The bytes that came off the wire; None while nobody has read them.
        client: Address of the socket's peer, or None; "unix" for a Unix socket.
        scheme: "https" or "http" of the connection that reached this process.
        websocket: True for a WebSocket handshake.
        joined: True where the server joins repeated headers with a comma (WSGI, RFC 3875).
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None = b""
    client: str | None = None
    scheme: str = "https"
    websocket: bool = False
    joined: bool = False

    def __repr__(self) -> str:  # target and headers hold credentials
        return f"Request(method={self.method!r}, websocket={self.websocket})"

    def with_body(self, body: bytes | None) -> Request:
        """Return this request with its body read; None says that nobody can."""
        return replace(self, body=body)

    def bearer_fields(self) -> tuple[str, bytes] | None:
        """
        Return the values of `Host` and `Authorization`, by which `Verifier.known` may judge; None
        unless each is there once, and for a WebSocket.
        """
        if self.websocket:
            return None
        authorization = host = None
        for name, value in self.headers:
            length = len(name)  # most names are of another: to look at their letters takes longer
            if length == 13 and name.lower() == "authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif length == 4 and name.lower() == "host":
                if host is not None:
                    return None
                host = value
        if authorization is None or host is None:
            return None
        return host, authorization.encode("ascii", "replace")  # no token has a "?"

    def once(self, wanted: frozenset[str]) -> dict[str, str] | None:
        """
        Return the value of each of the *wanted* header names (lower case) that is there; None if
        one is there twice, or some name is one that `fields` has not met before: ask that.
        """
        found: dict[str, str] = {}
        for name, value in self.headers:
            key = _spelled.get(name)
            if key is None:
                return None
            if key in wanted:
                if key in found:
                    return None
                found[key] = value
        return found

    def fields(
        self, wanted: frozenset[str], exact: frozenset[str] = frozenset()
    ) -> dict[str, list[str]]:
        """
        Return the values of the *wanted* header names (lower case), every occurrence of each.

        `X_Nonce` counts as `X-Nonce`: a server or proxy behind CGI rules cannot tell them apart, so
        sending both is sending the field twice, which is refused. Of the *exact* names, where one
        of several values would be believed, such a twin is ignored.
        """
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            key = _spelled.get(name)
            if key is None:
                key = name.lower()
                if "_" in key:
                    key = key.replace("_", "-")
                    if key in exact:
                        continue
                else:
                    _remember(name, key)
            if key in wanted:
                if key in found:
                    found[key].append(value)
                else:
                    found[key] = [value]
        return found


# Header names as they were sent, without those that have a "_", to lower case: the same dozen comes
# with each request, and to find one costs half of what it takes to look at its letters.
_spelled: dict[str, str] = {}


def _remember(name: str, key: str) -> None:
    if len(name) <= NAME_LENGTH:  # callers choose names: bounded in number and length
        if len(_spelled) >= KNOWN_NAMES:
            _spelled.clear()
        _spelled[name] = key
