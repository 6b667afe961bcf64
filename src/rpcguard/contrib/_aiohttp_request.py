"""A request of aiohttp as rpcguard's, and whether it opens a WebSocket."""

from __future__ import annotations

from aiohttp import hdrs, web

from rpcguard.errors import AuthError
from rpcguard.request import Request


def is_handshake(request: web.Request) -> bool:
    """
    Return whether *request* opens a WebSocket (RFC 6455 section 4.1).

    Raises:
        AuthError: `invalid_target`, for what is none and aiohttp may take for one: with another
            method, with a body, or with blanks that it strips. Nobody would watch that socket.
    """
    upgrade = request.headers.get("Upgrade")
    if upgrade is None or "websocket" not in upgrade.lower():
        return False
    if request.method != "GET" or request.body_exists or upgrade.lower() != "websocket":
        raise AuthError("invalid_target", detail="not a handshake, and like one")
    return "Sec-WebSocket-Key" in request.headers and "Sec-WebSocket-Version" in request.headers


def usual(request: web.Request) -> tuple[str, str, bytes] | None:
    """
    Return what `Verifier.known` takes: the target of *request*, its `Host`, its `Authorization`.

    None unless it has each field once.
    """
    headers = request.headers
    hosts, values = headers.getall(hdrs.HOST, ()), headers.getall(hdrs.AUTHORIZATION, ())
    if len(hosts) != 1 or len(values) != 1:
        return None
    return request.raw_path, hosts[0], values[0].encode("ascii", "replace")  # no token has a "?"


def request_of(request: web.Request, *, websocket: bool = False) -> Request:
    """Return *request* as rpcguard sees it; its body is not read."""
    # The socket's own facts, whatever an earlier middleware made of `remote` and `scheme`
    transport = request.transport
    name = tls = None
    if transport is not None:
        name = transport.get_extra_info("peername")
        tls = transport.get_extra_info("sslcontext")
    return Request(
        method=request.method,
        target=request.raw_path,
        headers=[
            (field.decode("latin-1"), value.decode("latin-1"))
            for field, value in request.raw_headers
        ],
        body=None,
        client=_peer(name),
        scheme="http" if tls is None else "https",
        websocket=websocket,
    )


def _peer(name: object) -> str | None:
    """Return the address in the *name* of the socket's peer."""
    if isinstance(name, tuple | list):
        return str(name[0])
    return None if name is None else "unix"
