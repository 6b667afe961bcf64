"""
aiohttp: `rpc_auth_middleware(registry)` on the application, `principal_of` in its handlers.

Longer than other modules because an application's whole interface is read in one piece.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from rpcguard.contrib._aiohttp_body import BODY, read_body
from rpcguard.contrib._aiohttp_request import is_handshake, request_of, usual
from rpcguard.contrib._aiohttp_socket import attend
from rpcguard.contrib._http import (
    SLOW,
    Passed,
    Registry,
    Source,
    aissued,
    as_sent,
    chosen,
    passed_before,
    refusal,
    refusal_text,
)
from rpcguard.contrib._sockets import RECHECK, Watch
from rpcguard.errors import AuthError
from rpcguard.issuing import MAX_BODY, ROUTES
from rpcguard.observer import Observer
from rpcguard.principal import Principal
from rpcguard.verifier import Verifier

__all__ = [
    "RPCAuthMiddleware",
    "add_auth_routes",
    "checks_frames",
    "principal_of",
    "rpc_auth_middleware",
]

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

_FRAMES: Final = "__rpcguard_frames__"  # on a handler: it checks every message


# What a request keeps once a middleware has let it in: who sent it, what every middleware of it has
# found, and what tells when to close its WebSocket, None where it opens none. No named tuple, which
# a function of Python makes
_Admitted = tuple[Principal, Passed, Watch | None]

_ADMITTED: Final[Any] = web.RequestKey("rpcguard_admitted", tuple)
_VERIFIER: Final = web.RequestKey("rpcguard_verifier", Verifier)


def principal_of(request: web.Request) -> Principal:
    """
    Return who sent *request*.

    Raises:
        RuntimeError: If no `rpc_auth_middleware` has let it in: none is there, or it is exempt.
    """
    admitted: _Admitted | None = request.get(_ADMITTED)
    if admitted is None:
        raise RuntimeError("principal_of is for requests that rpc_auth_middleware has let in")
    return admitted[0]


def checks_frames(handler: _Handler) -> _Handler:
    """
    Declare that *handler* gives every message of its WebSocket to `RPCAuthMiddleware.check_message`
    before it answers. Without it, a project or key whose methods or addresses are restricted opens
    no WebSocket.
    """
    setattr(handler, _FRAMES, True)
    return handler


def rpc_auth_middleware(
    registry: Registry = None,
    *,
    exempt: Iterable[str] = (),
    project: str | None = None,
    schemes: Iterable[str] | None = None,
    recheck: float = RECHECK,
    observers: Iterable[Observer] = (),
) -> RPCAuthMiddleware:
    """
    Return a middleware that lets only authenticated requests through, and answers the others.

    It guards every path of the application and of its sub-applications, unknown paths included. A
    sub-application may narrow with one more: `rpc_auth_middleware(guard.verifier, schemes=[…])`.

    Args:
        registry: Path of the registry, or a verifier, which its owner closes; by default the path
            in the environment variable RPCGUARD_REGISTRY.
        exempt: What stays open: paths, compared exactly with the path as it was sent, and names of
            routes, of sub-applications too.
        project: The project to use, whatever the request's target says.
        schemes: The only kinds of credential to take.
        recheck: Seconds between two rechecks of an open WebSocket.
        observers: As those of `Verifier.from_yaml`; a verifier has its own.

    Raises:
        ConfigError: If there is no registry, or it does not load.
        ValueError: If *schemes* is empty or names something else, *recheck* is not more than 0 and
            at most a day, or there are *observers* for a verifier.
    """
    if isinstance(exempt, str):
        raise TypeError("exempt is a list of paths and route names, such as ['/healthz']")
    source = Source(registry, recheck, observers)
    return RPCAuthMiddleware(source, frozenset(exempt), project, chosen(schemes))


def add_auth_routes(app: web.Application, *, project: str | None = None, prefix: str = "") -> None:
    """
    Add the routes that issue credentials: `/auth/challenge`, `/auth/verify`, `/auth/logout`,
    `/auth/refresh` and `/account/api-key`. The `rpc_auth_middleware` of *app*, or of an application
    above it, leaves them open and answers for them.

    Args:
        app: The application.
        project: The project they belong to, whatever its `match` says; it may be left out when
            exactly one project has a `session`.
        prefix: Path in front of them.

    Raises:
        LookupError: If *app*'s own middleware knows no such project.
    """
    for middleware in app.middlewares:
        if isinstance(middleware, RPCAuthMiddleware):
            middleware.verifier.registry.issuing_project(project)
    for route in ROUTES:
        app.router.add_post(prefix + route, _Issuing(route, project).answer)


class _Issuing:
    """
    One route that issues credentials; the middleware knows it by its type.

    Attributes:
        known: Whether there is one in this process. Most have none, and to ask each request for its
            handler takes three properties of aiohttp.
    """

    known = False

    def __init__(self, route: str, project: str | None) -> None:
        self._route = route
        self._project = project
        _Issuing.known = True

    async def answer(self, request: web.Request) -> web.Response:
        verifier: Verifier | None = request.get(_VERIFIER)
        if verifier is None:
            raise RuntimeError("add_auth_routes needs rpc_auth_middleware on this application")
        try:
            body: bytes | None = await read_body(request, verifier, MAX_BODY)
        except AuthError as error:
            if error.cause == SLOW:
                return _refused(error)
            body = None
        asked = request_of(request).with_body(body)
        reply = await aissued(verifier, self._route, asked, self._project)
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


class RPCAuthMiddleware:
    """The middleware; `rpc_auth_middleware` makes it."""

    __middleware_version__ = 1

    def __init__(
        self,
        source: Source,
        exempt: frozenset[str],
        project: str | None,
        schemes: frozenset[str] | None,
    ) -> None:
        self._source = source
        paths = {name for name in exempt if name.startswith("/")}
        self._paths = as_sent(paths)
        self._names = exempt - paths
        self._exempts = bool(exempt)
        self._project = project
        self._schemes = schemes
        weakref.finalize(self, source.close)

    @property
    def verifier(self) -> Verifier:
        """The verifier that is asked."""
        return self._source.verifier

    def check_message(self, principal: Principal, text: bytes | str) -> Awaitable[None]:
        """
        Judge one message of a WebSocket as a request is judged: by the methods and addresses that
        *principal* may use now, and by every limit. To be awaited, before the message is answered.

        Args:
            principal: Who opened the WebSocket.
            text: The message.

        Raises:
            AuthError: If the message is refused; `refusal_text` says it to the client.
        """
        return self.verifier.acheck_message(principal, text)

    refusal_text = staticmethod(refusal_text)

    def close(self) -> None:
        """Close the verifier if it was opened here; done by itself when the application is gone."""
        self._source.close()

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let *handler* answer, if the request is exempt or authenticated."""
        if (self._exempts or _Issuing.known) and self._is_exempt(request):
            return await handler(request)
        try:
            socket = hdrs.UPGRADE in request.headers and is_handshake(request)
            # Asked in the public way, a request tells by an exception that it holds nothing
            kept = request._state  # noqa: SLF001
            earlier: _Admitted | None = kept.get(_ADMITTED)
            principal = None
            if not (socket or earlier or self._schemes):
                # Most requests are judged by three of their values; a `Request` takes longer to
                # make, and each coroutine more than a microsecond
                verifier, values = self._source.verifier, usual(request)
                if values is not None:
                    target, host, authorization = values  # a call with a star takes longer
                    if verifier.at_once:
                        principal = verifier.known(target, host, authorization, self._project)
                    else:
                        principal = await verifier.aknown(
                            target, host, authorization, self._project
                        )
            if principal is None:
                watch = await self._judge(request, socket, earlier)
                if watch is not None:
                    return await attend(request, handler, watch)
            else:
                kept[_ADMITTED] = principal, ((verifier, principal),), None
            return await handler(request)
        except AuthError as error:
            return _refused(error, request.get(BODY))

    async def _judge(
        self, request: web.Request, websocket: bool, earlier: _Admitted | None
    ) -> Watch | None:
        """
        Let *request* in, which an *earlier* middleware may have let in, and return what tells when
        to close the WebSocket that it opens, None if nothing is to be attended.
        """
        verifier, project, schemes = self._source.verifier, self._project, self._schemes
        asked = request_of(request, websocket=websocket)
        principal: Principal | None = None
        passed: Passed = ()
        watch: Watch | None = None
        if earlier is not None:
            _, passed, watch = earlier
            principal = passed_before(passed, verifier, asked, project, schemes)
            asked = asked if watch is None else watch.request
        if principal is None:
            frames = websocket and getattr(request.match_info.handler, _FRAMES, False)
            body = partial(read_body, request, verifier)
            principal = await verifier.averify(
                asked, body, project=project, schemes=schemes, frames=frames
            )
            passed = (*passed, (verifier, principal))
            if websocket:
                watch = watch or Watch(asked.with_body(b""), self._source.recheck)
                watch.add(verifier, project, schemes, principal, frames=frames)
        request[_ADMITTED] = principal, passed, watch
        return None if earlier is not None and earlier[2] is not None else watch

    def _is_exempt(self, request: web.Request) -> bool:
        final = request.match_info.handler
        if isinstance(getattr(final, "__self__", None), _Issuing):
            request[_VERIFIER] = self.verifier
            return True
        if self._paths and request.raw_path.partition("?")[0] in self._paths:
            return True
        return bool(self._names) and request.match_info.route.name in self._names


def _refused(error: AuthError, body: bytes | None = None) -> web.Response:
    status, headers, content = refusal(error, body)
    response = web.Response(status=status, headers=headers, body=content)
    if error.cause == SLOW:
        response.force_close()
    return response
