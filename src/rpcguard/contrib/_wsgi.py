"""What a WSGI environment says of a request, told apart from what the peer makes it say."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from rpcguard.contrib._http import quoted_target, raw_target
from rpcguard.request import Request

# gunicorn's and werkzeug's REMOTE_ADDR of a Unix socket
_UNIX_PEERS: Final = frozenset({"", "<local>"})


def request_of(
    environ: dict[str, Any], *, websocket: bool, wanted: frozenset[str] | None = None
) -> Request:
    """
    Return the request or handshake that *environ* describes; its body is not read.

    Args:
        environ: The WSGI environment.
        websocket: Whether the route is one of WebSockets.
        wanted: The header fields to take, in lower case; all by default. To look for some is half
            the work of going through an environment.
    """
    if wanted is None:
        headers = [
            (key[5:].replace("_", "-"), value)
            for key, value in environ.items()
            if key.startswith("HTTP_")
        ]
    else:
        headers = [(name, environ[key]) for key, name in _keys(wanted) if key in environ]
    peer = environ.get("REMOTE_ADDR")
    return Request(
        method=environ["REQUEST_METHOD"],
        target=_target(environ),
        headers=headers,
        body=None,
        client="unix" if peer in _UNIX_PEERS else peer,
        scheme=_scheme(environ),
        websocket=websocket,
        joined=True,
    )


def usual(environ: dict[str, Any]) -> tuple[str, str, bytes] | None:
    """
    Return what `Verifier.known` takes: the target of a request, its `Host`, its `Authorization`.

    None unless it has both fields. Of a repeated one, what the server has joined is never known.
    """
    host, authorization = environ.get("HTTP_HOST"), environ.get("HTTP_AUTHORIZATION")
    if host is None or authorization is None:
        return None
    return _target(environ), host, authorization.encode("latin-1", "replace")


@lru_cache(maxsize=8)  # of the registries of a process, each in its generations
def _keys(fields: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Return the names of *fields* in an environment, and as they are."""
    return tuple((f"HTTP_{name.upper().replace('-', '_')}", name) for name in fields)


def _scheme(environ: dict[str, Any]) -> str:
    socket = environ.get("gunicorn.socket")
    if socket is None:
        scheme: str = environ["wsgi.url_scheme"]
        return scheme
    # gunicorn's wsgi.url_scheme repeats the X-Forwarded-Proto of any peer on the loopback interface
    return "https" if hasattr(socket, "getpeercert") else "http"


def _target(environ: dict[str, Any]) -> str:
    query, path = environ.get("QUERY_STRING", ""), environ.get("PATH_INFO", "")
    mounted = environ.get("SCRIPT_NAME", "") + path
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw is None:
        return quoted_target(mounted, query)
    if raw == mounted and "%" not in raw and "?" not in raw:  # most: one spelling, and no query
        return str(raw)
    return raw_target(raw, mounted, path)
