"""
A request as somebody has captured it: raw HTTP text, a curl command, or JSON.

What is read is data: it is never run, fetched or opened.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlsplit

from rpcguard import strict_json
from rpcguard.request import Request

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+)(?: HTTP/[0-9.]+)?")
_TLS = frozenset({"https", "wss"})
_MEMBERS = frozenset(
    {"method", "target", "url", "headers", "body", "body_base64", "client", "scheme", "websocket"}
)


class MalformedError(Exception):
    """What was captured is no request; the argument says why and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Captured:
    """
    One request.

    Attributes:
        method: Its method.
        target: Path and query, before any percent-decoding.
        headers: (name, value) pairs, repeated ones too.
        body: The bytes of the body; None where it was not captured.
        scheme: "https" or "http"; None where that cannot be told.
        client: Address of the caller, or None.
        websocket: Whether it is a handshake; None to tell by its headers.
    """

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(default=b"", repr=False)
    scheme: str | None = None
    client: str | None = None
    websocket: bool | None = None

    @classmethod
    def of_url(
        cls, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> Self:
        """
        Return the request for a whole *url*; a `Host` that is missing is the URL's.

        Raises:
            MalformedError: If it is no http(s) or ws(s) URL, or has a user's name in it.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
        except ValueError:
            raise MalformedError("not a URL") from None
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
            raise MalformedError("not an http, https, ws or wss URL")
        if "@" in parts.netloc:
            raise MalformedError("a user in the URL becomes an Authorization header: give that")
        found = tuple(headers)
        if not any(name.lower() == "host" for name, _ in found):
            found = (("Host", parts.netloc), *found)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        scheme = "https" if parts.scheme in _TLS else "http"
        socket = True if parts.scheme.startswith("ws") else None
        return cls(method, target, found, body, scheme, None, socket)

    def request(self) -> Request:
        """Return it as the guard would see it."""
        upgrades = [value.lower() for name, value in self.headers if name.lower() == "upgrade"]
        websocket = "websocket" in upgrades if self.websocket is None else self.websocket
        return Request(
            self.method,
            self.target,
            self.headers,
            self.body,
            client=self.client,
            scheme=self.scheme or "https",
            websocket=websocket,
        )


def of_http(data: bytes) -> Captured:
    """
    Return the request in raw HTTP/1.1 text, its lines ended by CRLF or LF.

    What follows the length that `Content-Length` declares is dropped: editors add a line end. Where
    less than that is there, or chunks are, the body was not captured.

    Raises:
        MalformedError: If it is none.
    """
    head, body = _divided(data)
    first, *lines = re.split(rb"\r?\n", head)
    match = _REQUEST_LINE.fullmatch(first.strip())
    if match is None:
        raise MalformedError("not an HTTP request, a curl command or JSON")
    headers = []
    for line in filter(None, lines):
        name, mark, value = line.partition(b":")
        if not mark or not name or name != name.strip():
            raise MalformedError("a header line is malformed")
        headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
    whole = None if chunked else body
    if lengths and lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) < 16:
        length = int(lengths[0])
        whole = body[:length] if length <= len(body) and not chunked else None
    method, target = match[1].decode("ascii"), match[2].decode("latin-1")
    if "://" in target:
        return Captured.of_url(method, target, headers, whole)
    return Captured(method, target, tuple(headers), whole)


def _divided(data: bytes) -> tuple[bytes, bytes]:
    match = re.search(rb"\r?\n\r?\n", data)
    return (data[: match.start()], data[match.end() :]) if match else (data, b"")


def of_json(text: str) -> Captured:
    """
    Return the request in a JSON object: `method`, `target` or `url`, `headers` (an object or a list
    of pairs), `body` or `body_base64`, and optionally `client`, `scheme`, `websocket`.

    Raises:
        MalformedError: If it is none.
    """
    try:
        document = strict_json.loads(text)
    except ValueError as error:
        raise MalformedError(str(error)) from None
    if not isinstance(document, dict) or not _MEMBERS.issuperset(document):
        raise MalformedError(f"a JSON request has the members {', '.join(sorted(_MEMBERS))}")
    headers = _pairs(document.get("headers", {}))
    method = _text(document, "method", "POST")
    body = _body(document)
    if "url" in document:
        captured = Captured.of_url(method, _text(document, "url", ""), headers, body)
    else:
        captured = Captured(method, _text(document, "target", "/"), headers, body)
    websocket = document.get("websocket", captured.websocket)
    if websocket not in (None, True, False):
        raise MalformedError("websocket is true or false")
    return replace(
        captured,
        scheme=_text(document, "scheme", captured.scheme or "https"),
        client=_text(document, "client", "") or None,
        websocket=websocket,
    )


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    items = headers.items() if isinstance(headers, Mapping) else headers
    try:
        pairs = tuple((name, value) for name, value in items)
    except (TypeError, ValueError):
        raise MalformedError("headers are an object or a list of pairs") from None
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise MalformedError("names and values of headers are texts")
    return pairs


def _text(document: Mapping[str, Any], name: str, default: str) -> str:
    value = document.get(name, default)
    if not isinstance(value, str):
        raise MalformedError(f"{name} is a text")
    return value


def _body(document: Mapping[str, Any]) -> bytes | None:
    if "body_base64" in document:
        try:
            return base64.b64decode(_text(document, "body_base64", ""), validate=True)
        except ValueError:
            raise MalformedError("body_base64 is not base64") from None
    if "body" not in document:
        return None
    body = document["body"]
    # a body that was pasted as JSON has lost its spelling: there is no telling what was signed
    return (
        _text(document, "body", "").encode("utf-8", "surrogatepass") if body is not None else None
    )
