"""An ASGI scope as rpcguard's request, and headers as ASGI has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rpcguard.contrib._asgi_socket import Scope
from rpcguard.contrib._http import quoted_target, raw_target
from rpcguard.contrib._sockets import SUBPROTOCOL
from rpcguard.request import Request

_OFFER: Final = SUBPROTOCOL.lower()


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return *headers* as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def request_of(scope: Scope) -> Request:
    """Return the request or handshake that *scope* describes; its body is not read."""
    websocket = scope["type"] == "websocket"
    client = scope.get("client")
    if client is not None:
        peer = client[0]
    else:
        server = scope.get("server")
        peer = "unix" if server is not None and server[1] is None else None
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    ]
    if websocket and scope.get("subprotocols") and not any(n == _OFFER for n, _ in headers):
        headers.append((_OFFER, ", ".join(scope["subprotocols"])))  # uvicorn with wsproto
    return Request(
        method="GET" if websocket else scope["method"],
        target=target_of(scope),
        headers=headers,
        body=b"" if websocket else None,
        client=peer,
        scheme="https" if scope.get("scheme") in ("https", "wss") else "http",
        websocket=websocket,
    )


def usual(scope: Scope) -> tuple[str, str, bytes] | None:
    """
    Return what `Verifier.known` takes: the target of a request, its `Host`, its `Authorization`.

    None unless it has each field once, and a target without a query or anything encoded; others are
    never known.
    """
    target: str = scope["path"]
    raw = scope.get("raw_path")
    if raw is None or raw.decode("latin-1") != target or "%" in target:
        return None
    if scope.get("query_string"):
        return None
    authorization = host = None
    for name, value in scope["headers"]:
        length = len(name)  # most names are of another: to look at their letters takes longer
        if length == 13 and name.lower() == b"authorization":
            if authorization is not None:
                return None
            authorization = value
        elif length == 4 and name.lower() == b"host":
            if host is not None:
                return None
            host = value
    if authorization is None or host is None:
        return None
    return target, host.decode("latin-1"), authorization


def target_of(scope: Scope) -> str:
    """Return the target as it was sent; `NO_TARGET` where the scope tells two of them."""
    path: str = scope["path"]
    query = scope.get("query_string", b"").decode("latin-1")
    raw = scope.get("raw_path")
    if raw is None:
        return quoted_target(path, query)
    target = raw.partition(b"?")[0].decode("latin-1")  # some servers leave the query in it
    if target == path and "%" not in target:  # most: one spelling, and so one account
        return f"{target}?{query}" if query else target
    if query:
        target += "?" + query
    return raw_target(target, _latin(path), _latin(scope.get("root_path", "") + path))


def _latin(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
