"""
Flask: `RPCGuard(app, registry)` once, `@rpcguard.protect` and `current_principal` on views.

Longer than other modules because the extension stands here in one piece, with its documentation.
"""

from __future__ import annotations

import functools
import inspect
import re
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, ParamSpec, Protocol, TypeVar, overload

from flask import Blueprint, Flask, Response, abort, current_app, request
from flask import Request as CurrentRequest
from werkzeug.local import LocalProxy

from rpcguard.contrib._flask_body import BODY, read_body
from rpcguard.contrib._http import (
    Passed,
    Registry,
    Source,
    chosen,
    issued,
    passed_before,
    refusal,
    refusal_text,
)
from rpcguard.contrib._sockets import POLICY_VIOLATION, RECHECK, Watch, interval
from rpcguard.contrib._wsgi import request_of, usual
from rpcguard.contrib._wsgi_socket import VERSION, Wire, attend, flaw
from rpcguard.errors import AuthError
from rpcguard.issuing import MAX_BODY, ROUTES
from rpcguard.observer import Observer
from rpcguard.principal import Principal
from rpcguard.verifier import Verifier

__all__ = ["RPCGuard", "current_principal", "protect"]

P = ParamSpec("P")
R = TypeVar("R")

_EXTENSION: Final = "rpcguard"
_PRINCIPAL: Final = "rpcguard.principal"
_PASSED: Final = "rpcguard.passed"
_GUARD: Final = "__rpcguard__"  # on a protected view: what its guard asks for
_WATCH: Final = "rpcguard.watch"
_WIRE: Final = "rpcguard.wire"


def _principal() -> Principal:
    principal: Principal | None = request.environ.get(_PRINCIPAL)
    if principal is None:
        raise RuntimeError("current_principal is for requests that rpcguard.protect has let in")
    return principal


current_principal: Principal = LocalProxy(_principal)  # type: ignore[assignment]


class RPCGuard:
    """The extension. One object may serve several applications; it keeps none of them."""

    def __init__(
        self,
        app: Flask | None = None,
        registry: Registry = None,
        *,
        recheck: float = RECHECK,
        observers: Iterable[Observer] = (),
    ) -> None:
        """
        Args:
            app: The application, or None to call `init_app` later.
            registry: Path of the registry, or a verifier, which its owner closes; by default
                `app.config["RPCGUARD_REGISTRY"]`, else the environment variable of that name.
            recheck: Seconds between two rechecks of an open WebSocket.
            observers: As those of `Verifier.from_yaml`; a verifier has its own.

        Raises:
            ConfigError: If there is no registry, or it does not load.
            ValueError: If *recheck* is not in (0, 86400], or a verifier comes with *observers*.
        """
        self._registry = registry
        self._recheck = interval(recheck)
        self._observers = tuple(observers)
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
        found = next((each for each in given if each is not None), None)
        self._source = Source(found, self._recheck, self._observers)
        app.extensions[_EXTENSION] = self._source
        _attend_websockets(app)
        # `protect` returns its refusals; this is for those that the application raises itself
        app.register_error_handler(AuthError, _answer)
        weakref.finalize(app, self._source.close)

    def blueprint(self, *, project: str | None = None, prefix: str = "") -> Blueprint:
        """
        Return the routes that issue credentials: `/auth/challenge`, `/auth/verify`, `/auth/logout`,
        `/auth/refresh` and `/account/api-key`.

        Args:
            project: The project they belong to, whatever its `match` says; it may be left out when
                exactly one project has a `session`.
            prefix: Path in front of them.

        Raises:
            LookupError: If there is no such project.
        """
        self.verifier.registry.issuing_project(project)
        # Flask wants one name per blueprint, without dots
        name = re.sub(r"[^A-Za-z0-9_-]", "-", f"rpcguard-{project or 'session'}{prefix}")
        blueprint = Blueprint(name, __name__)
        for route in ROUTES:
            view = functools.partial(_issuing, route, project)
            blueprint.add_url_rule(prefix + route, route, view, methods=["POST"])
        return blueprint

    def check_message(self, principal: Principal, text: bytes | str) -> None:
        """
        Judge one message of a WebSocket as a request is judged: by the methods and addresses that
        *principal* may use now, and by every limit.
        Call it before the message is answered.

        Args:
            principal: Who opened the WebSocket.
            text: The message.

        Raises:
            AuthError: If the message is refused; `refusal_text` says it to the client.
        """
        self.verifier.check_message(principal, text)

    refusal_text = staticmethod(refusal_text)

    @property
    def verifier(self) -> Verifier:
        """The verifier of the current application, else of the one set up last."""
        source = current_app.extensions.get(_EXTENSION) if current_app else self._source
        if source is None:
            raise RuntimeError(_NOT_SET_UP)
        verifier: Verifier = source.verifier
        return verifier


_NOT_SET_UP: Final = "rpcguard needs RPCGuard(app, ...) or init_app on this application"
_UNSEEN: Final = "rpcguard sees WebSocket routes that Flask.add_url_rule adds, as flask-sock does"


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
def protect(
    *, schemes: Iterable[str] | None = ..., project: str | None = ..., frames: bool = ...
) -> _Decorator: ...
def protect(
    view: Callable[..., Any] | None = None,
    /,
    *,
    schemes: Iterable[str] | None = None,
    project: str | None = None,
    frames: bool = False,
) -> Any:
    """
    Let only authenticated requests through to *view*; answer the others.

    Goes under the route decorator, bare or called, on sync and async views.

    Args:
        view: The view.
        schemes: The only kinds of credential to take.
        project: The project to use, whatever the request's target says.
        frames: The view gives every message of its WebSocket to `RPCGuard.check_message` before it
            answers. Without it, a project or key whose methods or addresses are restricted opens no
            WebSocket.

    Raises:
        ValueError: If *schemes* is empty or names something else.
    """
    kinds = chosen(schemes)
    if view is None:
        return functools.partial(_protected, kinds, project, frames)
    return _protected(kinds, project, frames, view)


def _protected(
    schemes: frozenset[str] | None, project: str | None, frames: bool, view: Callable[..., Any]
) -> Callable[..., Any]:
    awaited = inspect.iscoroutinefunction(view)

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        current = _current()
        # A socket in the arguments: flask-sock has shaken hands before it came here
        late = bool(args) and _is_websocket(current) and _WIRE not in current.environ
        try:
            _authenticate(current, schemes, project, frames)
        except AuthError as error:
            if late:
                args[0].close(POLICY_VIOLATION)
            return _answer(error)
        if late:
            current.environ[_WIRE].adopt(args[0])
        return (current_app.ensure_sync(view) if awaited else view)(*args, **kwargs)

    setattr(guarded, _GUARD, (schemes, project, frames))
    return guarded


# The request and the application themselves: each look through Flask's proxies costs some time
_current: Callable[[], CurrentRequest] = request._get_current_object  # type: ignore[attr-defined] # noqa: SLF001
_application: Callable[[], Flask] = current_app._get_current_object  # type: ignore[attr-defined] # noqa: SLF001


def _attend_websockets(app: Flask) -> None:
    """
    Guard the handshakes of *app* from its first WebSocket route on: Flask's way to a hook before
    each request and to one behind it takes some 4 us of every request.
    """
    add_url_rule = app.add_url_rule

    @functools.wraps(add_url_rule)
    def watched(*args: Any, **options: Any) -> None:
        add_url_rule(*args, **options)
        if options.get("websocket"):
            _guard_handshakes(app)

    app.add_url_rule = watched  # type: ignore[method-assign]
    if any(rule.websocket for rule in app.url_map.iter_rules()):
        _guard_handshakes(app)


def _guard_handshakes(app: Flask) -> None:
    if not _guards_handshakes(app):
        app.before_request(_guard_handshake)
        app.teardown_request(_released)


def _guards_handshakes(app: Flask) -> bool:
    return _guard_handshake in app.before_request_funcs.get(None, ())


def _guard_handshake() -> Response | None:
    """Refuse the handshake of a protected view before flask-sock accepts it and calls the view."""
    current = _current()
    rule = current.url_rule
    if rule is None or not rule.websocket:
        return None
    guard = getattr(current_app.view_functions[rule.endpoint], _GUARD, None)
    if guard is not None:
        try:
            _authenticate(current, *guard)
        except AuthError as error:
            return _answer(error)
    return None


def _released(_: BaseException | None) -> None:
    wire: Wire | None = _current().environ.get(_WIRE)
    if wire is not None:
        wire.end()


def _is_websocket(current: CurrentRequest) -> bool:
    # By the route, not by the headers: those of a handshake on another route must not count
    rule = current.url_rule
    return rule is not None and rule.websocket


def _authenticate(
    current: CurrentRequest, schemes: frozenset[str] | None, project: str | None, frames: bool
) -> None:
    source: Source | None = _application().extensions.get(_EXTENSION)
    if source is None:
        raise RuntimeError(_NOT_SET_UP)
    environ, verifier, websocket = current.environ, source.verifier, _is_websocket(current)
    if not (websocket or schemes or _PASSED in environ):
        # Most requests are judged by three of their values; a `Request` takes longer to make
        values = usual(environ)
        if values is not None:
            target, host, authorization = values  # a call with a star takes longer
            known = verifier.known(target, host, authorization, project)
            if known is not None:
                environ[_PASSED] = ((verifier, known),)
                environ[_PRINCIPAL] = known
                return
    # A recheck asks the registry of its time, which may look at other fields
    wanted = None if websocket else verifier.registry.reads
    asked = request_of(environ, websocket=websocket, wanted=wanted)
    passed: Passed = environ.get(_PASSED, ())
    principal = passed_before(passed, verifier, asked, project, schemes) if passed else None
    if principal is None:
        watch: Watch | None = environ.get(_WATCH)
        if watch is not None:
            asked = watch.request
        elif asked.websocket:
            _check_form(environ)
        principal = verifier.verify(
            asked, read_body, project=project, schemes=schemes, frames=frames
        )
        environ[_PASSED] = (*passed, (verifier, principal))
        if asked.websocket:
            if watch is None:
                if not _guards_handshakes(_application()):  # and so nobody would end the watch
                    raise RuntimeError(_UNSEEN)
                watch = Watch(asked.with_body(environ.get(BODY, b"")), source.recheck)
                environ[_WATCH] = watch
                environ[_WIRE] = attend(environ, watch)
            watch.add(verifier, project, schemes, principal, frames=frames)
    environ[_PRINCIPAL] = principal


def _check_form(environ: dict[str, Any]) -> None:
    wrong = flaw(environ)
    if wrong:  # the answer names the version, as RFC 6455 section 4.4 has it
        headers = {"Sec-WebSocket-Version": VERSION}
        abort(Response(f"no WebSocket handshake: {wrong}\n", 400, headers, mimetype="text/plain"))


def _issuing(route: str, project: str | None) -> Response:
    try:
        body: bytes | None = read_body(MAX_BODY)
    except AuthError:
        body = None
    asked = request_of(request.environ, websocket=False).with_body(body)
    source: Source = current_app.extensions[_EXTENSION]
    status, headers, content = issued(source.verifier, route, asked, project)
    return Response(content, status, headers)


def _answer(error: AuthError) -> Response:
    status, headers, content = refusal(error, request.environ.get(BODY))
    return Response(content, status, headers)
