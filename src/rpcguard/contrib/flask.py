"""Flask: `RPCGuard(app, registry)` once, `@rpcguard.protect` and `current_principal` on views."""

from __future__ import annotations

import functools
import io
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, ParamSpec, Protocol, TypeVar, overload

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.local import LocalProxy
from werkzeug.wsgi import get_content_length, get_input_stream

from rpcguard.contrib._http import (
    Registry,
    Source,
    Verdicts,
    chosen,
    quoted_target,
    raw_target,
    refusal,
)
from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

__all__ = ["RPCGuard", "current_principal", "protect"]

P = ParamSpec("P")
R = TypeVar("R")

_EXTENSION: Final = "rpcguard"
_BODY: Final = "rpcguard.body"
_PRINCIPAL: Final = "rpcguard.principal"
_VERDICTS: Final = "rpcguard.verdicts"
_UNIX_PEERS: Final = frozenset(
    {"", "<local>"}
)  # gunicorn's and werkzeug's REMOTE_ADDR of a Unix socket
_POLICY_VIOLATION: Final = 1008  # RFC 6455 section 7.4.1


def _principal() -> Principal:
    principal: Principal | None = request.environ.get(_PRINCIPAL)
    if principal is None:
        raise RuntimeError("current_principal is for requests that rpcguard.protect has let in")
    return principal


current_principal: Principal = LocalProxy(_principal)  # type: ignore[assignment]


class RPCGuard:
    """The extension. One object may serve several applications; it keeps none of them."""

    def __init__(self, app: Flask | None = None, registry: Registry = None) -> None:
        """
        Args:
            app: The application, or None to call `init_app` later.
            registry: Path of the registry, or a verifier, which its owner closes; by default
                `app.config["RPCGUARD_REGISTRY"]`, else the environment variable of that name.

        Raises:
            ConfigError: If there is no registry, or it does not load.
        """
        self._registry = registry
        self._source: Source | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, registry: Registry = None) -> None:
        """
        Set *app* up.

        Raises:
            ConfigError: If there is no registry, or it does not load.
        """
        given = (registry, self._registry, app.config.get("RPCGUARD_REGISTRY"))
        self._source = Source(next((each for each in given if each is not None), None))
        app.extensions[_EXTENSION] = self._source
        # `protect` returns its refusals; this is for those that the application raises itself
        app.register_error_handler(AuthError, _answer)
        weakref.finalize(app, self._source.close)

    @property
    def verifier(self) -> Verifier:
        """The verifier of the current application, else of the one set up last."""
        source = current_app.extensions.get(_EXTENSION) if current_app else self._source
        if source is None:
            raise RuntimeError(_NOT_SET_UP)
        verifier: Verifier = source.verifier
        return verifier


_NOT_SET_UP: Final = "rpcguard needs RPCGuard(app, ...) or init_app on this application"


class _Decorator(Protocol):
    @overload
    def __call__(
        self, view: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, R | Response]: ...
    @overload
    def __call__(self, view: Callable[P, R], /) -> Callable[P, R | Response]: ...


@overload
def protect(view: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, R | Response]: ...
@overload
def protect(view: Callable[P, R], /) -> Callable[P, R | Response]: ...
@overload
def protect(*, schemes: Iterable[str] | None = ..., project: str | None = ...) -> _Decorator: ...
def protect(
    view: Callable[..., Any] | None = None,
    /,
    *,
    schemes: Iterable[str] | None = None,
    project: str | None = None,
) -> Any:
    """
    Let only authenticated requests through to *view*; answer the others.

    Goes under the route decorator, bare or called, on sync and async views.

    Args:
        view: The view.
        schemes: The only kinds of credential to take.
        project: The project to use, whatever the request's target says.

    Raises:
        ValueError: If *schemes* is empty or names something else.
    """
    kinds = chosen(schemes)
    if view is None:
        return functools.partial(_protected, kinds, project)
    return _protected(kinds, project, view)


def _protected(
    schemes: frozenset[str] | None, project: str | None, view: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            _authenticate(schemes, project)
        except AuthError as error:
            if args and request.url_rule is not None and request.url_rule.websocket:
                args[0].close(_POLICY_VIOLATION)  # flask-sock has shaken hands before it came here
            return _answer(error)
        return current_app.ensure_sync(view)(*args, **kwargs)

    return guarded


def _authenticate(schemes: frozenset[str] | None, project: str | None) -> None:
    source = current_app.extensions.get(_EXTENSION)
    if source is None:
        raise RuntimeError(_NOT_SET_UP)
    environ, verifier = request.environ, source.verifier
    asked = _request_of(environ)
    verdicts: Verdicts = environ.setdefault(_VERDICTS, Verdicts())
    principal = verdicts.find(verifier, asked, project, schemes)
    if principal is None:
        principal = verifier.verify(asked, _read_body, project=project, schemes=schemes)
        verdicts.add(verifier, principal)
    environ[_PRINCIPAL] = principal


def _answer(error: AuthError) -> Response:
    status, headers, content = refusal(error, request.environ.get(_BODY))
    return Response(content, status, headers)


def _request_of(environ: dict[str, Any]) -> Request:
    headers = [
        (key[5:].replace("_", "-"), value)
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    peer = environ.get("REMOTE_ADDR")
    return Request(
        method=environ["REQUEST_METHOD"],
        target=_target(environ),
        headers=headers,
        body=None,
        client="unix" if peer in _UNIX_PEERS else peer,
        scheme=_scheme(environ),
        # By the route, not by the headers: those of a handshake on another route must not count
        websocket=request.url_rule is not None and request.url_rule.websocket,
        joined=True,
    )


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
    return raw_target(raw, mounted, path)


def _read_body(limit: int) -> bytes:
    environ = request.environ
    if _BODY not in environ:
        environ[_BODY] = _taken_body(environ, limit)
    body: bytes = environ[_BODY]
    if len(body) > limit:
        raise AuthError("body_too_large")
    return body


def _taken_body(environ: dict[str, Any], limit: int) -> bytes:
    state = vars(request)
    cached: bytes | None = state.get("_cached_data")
    if cached is not None:
        return cached
    if "stream" in state:
        raise RuntimeError("the body was consumed before rpcguard could read it")
    length = get_content_length(environ)
    if length is not None and length > limit:
        raise AuthError("body_too_large")
    try:
        # One byte more than the limit, since werkzeug stops silently when it has read what it may
        body = get_input_stream(environ, max_content_length=limit + 1).read()
    except Exception as error:
        raise ClientDisconnected from error
    if len(body) > limit:
        raise AuthError("body_too_large")
    if length is not None and len(body) < length:
        raise ClientDisconnected
    environ["wsgi.input"] = io.BytesIO(body)
    return body
