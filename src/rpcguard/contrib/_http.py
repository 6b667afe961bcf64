"""
What the adapters share, knowing no framework: a refusal as an HTTP response, the raw target where
a server gives none, the verifier they were given or must open, and one verdict per request.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from rpcguard import jsonrpc
from rpcguard.contrib._sockets import RECHECK, interval
from rpcguard.errors import AuthError, ConfigError
from rpcguard.observer import Observer
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

ENVIRONMENT: Final = "RPCGUARD_REGISTRY"
SCHEMES: Final = frozenset({"jwt", "signature", "api_key", "session"})

SLOW: Final = "body_timeout"  # the cause of a refusal after which the connection must close

# What the core refuses as `invalid_target`: the honest value where the server gave no usable target
NO_TARGET: Final = ""

_HEADERS: Final = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))

Registry = str | os.PathLike[str] | Verifier | None

# The principals that the guards of one request have let in, and the verifier of each
Passed = tuple[tuple[Verifier, Principal], ...]

# Characters with one spelling in a target (RFC 3986 section 2.3), and the separator
_ONE_SPELLING = re.compile(r"/[A-Za-z0-9._~/-]*")


class Reply(NamedTuple):
    """
    A response of rpcguard's own: to a refused request, or of a route that issues credentials.

    Attributes:
        status: HTTP status.
        headers: Header fields, in order; `WWW-Authenticate` may occur more than once.
        body: JSON, as ASCII bytes.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refusal(error: AuthError, body: bytes | None = None) -> Reply:
    """
    Return the response that says *error*.

    Args:
        error: Why the request is refused.
        body: The request's body if somebody has read it, for its `id`; else None.
    """
    headers = list(_HEADERS)
    headers.extend(("WWW-Authenticate", challenge) for challenge in error.challenges)
    headers.extend(error.headers)
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    return Reply(error.status, headers, refusal_text(error, body).encode("ascii"))


def refusal_text(error: AuthError, body: bytes | str | None = None) -> str:
    """
    Return what says *error* to a JSON-RPC client: the body of a response, or a WebSocket's message.

    Args:
        error: Why the request or message is refused.
        body: The request's body or the message if somebody has read it, for its `id`; else None.
    """
    content: dict[str, object] = {"code": error.code, "message": error.message}
    if error.bare:
        return json.dumps({**content, "project": error.project})
    data = {"reason": error.reason}
    if error.method is not None:
        data["method"] = error.method
    if error.project is not None:
        data["project"] = error.project
    content["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": jsonrpc.request_id(body), "error": content})


def issued(verifier: Verifier, route: str, request: Request, project: str | None) -> Reply:
    """
    Return the answer of a route that issues credentials. It may block.

    Args:
        verifier: Asked.
        route: A key of `rpcguard.issuing.ROUTES`.
        request: The request; its body is None where it exceeds `rpcguard.issuing.MAX_BODY`.
        project: Name of the project, or None for the only one with sessions.
    """
    try:
        return _given(verifier.serve(route, request, project))
    except AuthError as error:
        return refusal(error)


async def aissued(verifier: Verifier, route: str, request: Request, project: str | None) -> Reply:
    """`issued` for a running event loop; see there."""
    try:
        return _given(await verifier.aserve(route, request, project))
    except AuthError as error:
        return refusal(error)


def _given(answer: Mapping[str, object]) -> Reply:
    return Reply(200, list(_HEADERS), json.dumps(answer).encode("ascii"))


def raw_target(raw: str, *decoded: str) -> str:
    """
    Return *raw*, or `NO_TARGET` if the server's two accounts of the path differ.

    A rewritten path would be routed by one name and matched to a project by another.

    Args:
        raw: The target before percent-decoding, as the server reports it.
        decoded: The paths that the framework may route by, as Latin-1 text of their bytes.
    """
    path = raw.partition("?")[0]
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1", "replace")).decode("latin-1")
    return raw if path in decoded else NO_TARGET


def quoted_target(path: str, query: str) -> str:
    """
    Return the raw target of a decoded *path*, or `NO_TARGET` if it has a second spelling.

    For servers that do not report the raw path.
    """
    if not _ONE_SPELLING.fullmatch(path):
        return NO_TARGET
    return f"{path}?{query}" if query else path


def as_sent(paths: Iterable[str]) -> frozenset[str]:
    """Return *paths* as clients send them, so that no second spelling of one is exempt too."""
    return frozenset(quote(path, safe="/!$&'()*+,;=:@") for path in paths)


def chosen(schemes: Iterable[str] | None) -> frozenset[str] | None:
    """
    Return *schemes* as a set, None for all.

    Raises:
        ValueError: If it is empty or names no scheme. A misspelt narrowing must not pass unseen.
        TypeError: If it is one string.
    """
    if schemes is None:
        return None
    if isinstance(schemes, str):
        raise TypeError("schemes is a list of names, such as ['signature']")
    names = frozenset(schemes)
    if not names or names - SCHEMES:
        raise ValueError(f"schemes must be some of {', '.join(sorted(SCHEMES))}")
    return names


def slow_body(seconds: float) -> AuthError:
    """Return the refusal of a body that has not come within *seconds*."""
    return AuthError("invalid_body", cause=SLOW, detail=f"the body took more than {seconds:g} s")


class Source:
    """
    A verifier, and whether it is ours to close.

    Args of the constructor:
        registry: A verifier (its owner closes it), the path of a registry, or None for the path in
            the environment variable RPCGUARD_REGISTRY.
        recheck: Seconds between two rechecks of an open WebSocket.
        observers: Observers of the verifier that is opened here.
    """

    def __init__(
        self,
        registry: Registry,
        recheck: float = RECHECK,
        observers: Iterable[Observer] = (),
    ) -> None:
        """
        Raises:
            ConfigError: If there is no registry, or it does not load.
            ValueError: If *recheck* is not more than 0 and at most a day, or if there are
                *observers* for a verifier, which has its own.
        """
        self.recheck = interval(recheck)
        self._observers = tuple(observers)
        if self._observers and isinstance(registry, Verifier):
            raise ValueError("give the observers to the verifier: Verifier.from_yaml(observers=…)")
        self._lock = threading.Lock()
        self._path: str | None = None
        if registry is None or isinstance(registry, str | os.PathLike):
            self._path = os.fspath(registry or os.environ.get(ENVIRONMENT, ""))
            if not self._path:
                raise ConfigError(f"no registry was given, and {ENVIRONMENT} is not set")
            registry = self._opened(self._path)
        self._closed = False
        self.verifier = registry

    def _opened(self, path: str) -> Verifier:
        return Verifier.from_yaml(path, observers=self._observers)

    def open(self) -> None:
        """Open the verifier again if `close` closed it: test clients start one app many times."""
        with self._lock:
            if self._closed and self._path is not None:
                self.verifier = self._opened(self._path)
                self._closed = False

    def close(self) -> None:
        """Close the verifier if it was opened here."""
        with self._lock:
            if not self._closed and self._path is not None:
                self._closed = True
                self.verifier.close()


def passed_before(
    passed: Passed,
    verifier: Verifier,
    request: Request,
    project: str | None,
    schemes: frozenset[str] | None,
) -> Principal | None:
    """
    Return the principal that an earlier guard of this request let in for the same question: by the
    same registry, in the same project.

    A single-use credential is spent by the first guard; a second one on the same request (of an
    application and again of a route) must not see it as a replay.
    """
    for asked, principal in passed:
        if asked is not verifier or (schemes is not None and principal.scheme not in schemes):
            continue
        if principal.project == (verifier.matching(request) if project is None else project):
            return principal
    return None
