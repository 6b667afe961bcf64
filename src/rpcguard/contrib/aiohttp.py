"""aiohttp: `rpc_auth_middleware(registry)` on the application, `principal_of` in its handlers."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from rpcguard.contrib._aiohttp_body import Body
from rpcguard.contrib._aiohttp_socket import attend
from rpcguard.contrib._http import (
    SLOW,
    Registry,
    Source,
    Verdicts,
    chosen,
    issued,
    refusal,
    refusal_text,
)
from rpcguard.contrib._sockets import RECHECK, Watch
from rpcguard.errors import AuthError
from rpcguard.issuing import MAX_BODY, ROUTES
from rpcguard.observer import Observer
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

__all__ = [
    "RPCAuthMiddleware",
    "add_auth_routes",
    "checks_frames",
    "principal_of",
    "rpc_auth_middleware",
]

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

_RequestKey: Any = getattr(web, "RequestKey", None)  # aiohttp 3.14
_PRINCIPAL: Final[Any] = (
    _RequestKey("rpcguard_principal", Principal) if _RequestKey else "rpcguard_principal"
)
_VERDICTS: Final[Any] = (
    _RequestKey("rpcguard_verdicts", Verdicts) if _RequestKey else "rpcguard_verdicts"
)
_VERIFIER: Final[Any] = (
    _RequestKey("rpcguard_verifier", Verifier) if _RequestKey else "rpcguard_verifier"
)
_FRAMES: Final = "__rpcguard_frames__"  # on a handler: it checks every message
_WATCH: Final[Any] = _RequestKey("rpcguard_watch", Watch) if _RequestKey else "rpcguard_watch"


def principal_of(request: web.Request) -> Principal:
    """
    Return who sent *request*.

    Raises:
        RuntimeError: If no `rpc_auth_middleware` has let it in: none is there, or it is exempt.
    """
    principal: Principal | None = request.get(_PRINCIPAL)
    if principal is None:
        raise RuntimeError("principal_of is for requests that rpc_auth_middleware has let in")
    return principal


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
    """One route that issues credentials; the middleware knows it by its type."""

    def __init__(self, route: str, project: str | None) -> None:
        self._route = route
        self._project = project

    async def answer(self, request: web.Request) -> web.Response:
        verifier: Verifier | None = request.get(_VERIFIER)
        if verifier is None:
            raise RuntimeError("add_auth_routes needs rpc_auth_middleware on this application")
        try:
            body: bytes | None = await Body(request, verifier).read(MAX_BODY)
        except AuthError as error:
            if error.cause == SLOW:
                return _refused(error)
            body = None
        asked = _request_of(request).with_body(body)
        reply = await asyncio.to_thread(issued, verifier, self._route, asked, self._project)
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
        # A path is compared as it was sent, so that no second spelling of it is open too
        paths = {name for name in exempt if name.startswith("/")}
        self._paths = {quote(path, safe="/!$&'()*+,;=:@") for path in paths}
        self._names = exempt - paths
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
        request[_VERIFIER] = self.verifier
        if self._is_exempt(request):
            return await handler(request)
        body = Body(request, self.verifier)
        try:
            watched = _WATCH in request
            await self._authenticate(request, body)
            watch: Watch | None = request.get(_WATCH)
            if watch is None or watched:
                return await handler(request)
            return await attend(request, handler, watch)
        except AuthError as error:
            return _refused(error, body.data)

    def _is_exempt(self, request: web.Request) -> bool:
        if request.raw_path.partition("?")[0] in self._paths:
            return True
        owner = getattr(request.match_info.handler, "__self__", None)
        return isinstance(owner, _Issuing) or request.match_info.route.name in self._names

    async def _authenticate(self, request: web.Request, body: Body) -> None:
        verdicts: Verdicts | None = request.get(_VERDICTS)
        if verdicts is None:
            verdicts = request[_VERDICTS] = Verdicts()
        verifier, asked = self.verifier, _request_of(request, websocket=_is_handshake(request))
        principal = verdicts.find(verifier, asked, self._project, self._schemes)
        if principal is None:
            watch: Watch | None = request.get(_WATCH)
            if watch is not None:
                asked = watch.request
            frames = getattr(request.match_info.handler, _FRAMES, False)
            principal = await verifier.averify(
                asked, body.read, project=self._project, schemes=self._schemes, frames=frames
            )
            verdicts.add(verifier, principal)
            if asked.websocket:
                if watch is None:
                    watch = Watch(asked.with_body(b""), self._source.recheck)
                    request[_WATCH] = watch
                watch.add(verifier, self._project, self._schemes, principal, frames=frames)
        request[_PRINCIPAL] = principal


def _refused(error: AuthError, body: bytes | None = None) -> web.Response:
    status, headers, content = refusal(error, body)
    response = web.Response(status=status, headers=headers, body=content)
    if error.cause == SLOW:
        response.force_close()
    return response


def _is_handshake(request: web.Request) -> bool:
    """
    Return whether *request* opens a WebSocket (RFC 6455 section 4.1).

    Raises:
        AuthError: `invalid_target`, for what is none and aiohttp may take for one: with another
            method, with a body, or with blanks that it strips. Nobody would watch that socket.
    """
    upgrade = request.headers.get("Upgrade", "")
    if "websocket" not in upgrade.lower():
        return False
    if request.method != "GET" or request.body_exists or upgrade.lower() != "websocket":
        raise AuthError("invalid_target", detail="not a handshake, and like one")
    return "Sec-WebSocket-Key" in request.headers and "Sec-WebSocket-Version" in request.headers


def _request_of(request: web.Request, *, websocket: bool = False) -> Request:
    return Request(
        method=request.method,
        target=request.raw_path,
        headers=[
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        ],
        body=None,
        client=_peer(request),
        scheme="https" if request.get_extra_info("sslcontext") is not None else "http",
        websocket=websocket,
    )


def _peer(request: web.Request) -> str | None:
    """Return the address of the socket's peer, whatever an earlier middleware made of `remote`."""
    name = request.get_extra_info("peername")
    if isinstance(name, tuple | list):
        return str(name[0])
    return None if name is None else "unix"
