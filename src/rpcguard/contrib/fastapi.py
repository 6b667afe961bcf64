"""
FastAPI: `RPCGuard(app, registry)` once, `Depends(require_rpc_auth)` on HTTP and WebSocket routes;
or `RPCGuard(app, registry, everywhere=require_rpc_auth)`, in front of all routes.

A route with a body model may answer 422 to malformed JSON before the guard: FastAPI reads the body
first. A body that the guard needs is bounded there too.

Longer than other modules because the public API stands here in one piece, with its documentation.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, overload

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from rpcguard.contrib._asgi import Exchange, Layer
from rpcguard.contrib._asgi_body import KEY, Body, DisconnectedError
from rpcguard.contrib._asgi_request import encoded, request_of
from rpcguard.contrib._asgi_socket import Scope
from rpcguard.contrib._fastapi_everywhere import Everywhere, IssuingRoute
from rpcguard.contrib._http import (
    SLOW,
    Registry,
    Source,
    aissued,
    as_sent,
    chosen,
    passed_before,
    refusal,
    refusal_text,
)
from rpcguard.contrib._openapi import Narrowing, expanded, required
from rpcguard.contrib._sockets import POLICY_VIOLATION, RECHECK
from rpcguard.errors import AuthError
from rpcguard.issuing import MAX_BODY, ROUTES
from rpcguard.observer import Observer
from rpcguard.principal import Principal
from rpcguard.verifier import Verifier

__all__ = ["RPCGuard", "RequireRPCAuth", "require_rpc_auth"]


class RequireRPCAuth(SecurityBase):
    """
    The dependency: gives the `Principal`, or refuses. Use the module's `require_rpc_auth`.

    As a dependency it takes the connection alone; called with keywords it gives a narrower one.
    The principal is also at `request.state.principal`.
    """

    def __init__(self, narrowing: Narrowing) -> None:
        schemes, project, frames = self.narrowing = narrowing
        parts = ["rpcguard", *sorted(schemes or ()), *([f"at-{project}"] if project else ())]
        parts += ["frames"] if frames else []
        self.scheme_name = "-".join(parts)
        self.model = HTTPBearer(description="A stand-in that RPCGuard replaces.")
        connection = inspect.Parameter(
            "connection", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection
        )
        self.__signature__ = inspect.Signature([connection])
        # FastAPI asks the instance's `__call__` whether to await it; Python calls the class's
        vars(self)["__call__"] = self._authenticate

    @overload
    def __call__(self, connection: HTTPConnection) -> Coroutine[Any, Any, Principal]: ...

    @overload
    def __call__(
        self,
        *,
        schemes: Iterable[str] | None = ...,
        project: str | None = ...,
        frames: bool = ...,
    ) -> RequireRPCAuth: ...

    def __call__(
        self,
        connection: HTTPConnection | None = None,
        *,
        schemes: Iterable[str] | None = None,
        project: str | None = None,
        frames: bool = False,
    ) -> Coroutine[Any, Any, Principal] | RequireRPCAuth:
        """
        Authenticate *connection*, or return a narrower dependency.

        Equal narrowings are one object, so that each is verified once per request and can be a key
        of `dependency_overrides`.

        Args:
            connection: The request or WebSocket; FastAPI passes it.
            schemes: The only kinds of credential to take.
            project: The project to use, whatever the request's target says.
            frames: The route gives every message of its WebSocket to `RPCGuard.check_message`
                before it answers. Without it, a project or key whose methods or addresses are
                restricted opens no WebSocket.

        Raises:
            AuthError: When awaited, if the request is refused.
            ValueError: If *schemes* is empty or names something else.
        """
        if connection is not None:
            return self._authenticate(connection)
        own = self.narrowing
        narrowing = Narrowing(
            own.schemes if schemes is None else chosen(schemes),
            project or own.project,
            frames or own.frames,
        )
        return _guards.setdefault(narrowing, RequireRPCAuth(narrowing))

    async def _authenticate(self, connection: HTTPConnection) -> Principal:
        scope, asked = connection.scope, self.narrowing
        exchange: Exchange | None = scope.get(KEY)
        if exchange is None:
            raise RuntimeError(_NOT_SET_UP)
        handlers = scope.get("starlette.exception_handlers")
        if handlers is not None:  # of the innermost application: a mounted one knows no AuthError
            handlers[0].setdefault(AuthError, _answer)
        principal = None
        if asked.schemes is None and isinstance(exchange, Body):
            # Most requests are judged by three of their values; a `Request` takes longer to make
            if exchange.verifier.at_once:
                principal = exchange.known(scope, asked.project)
            else:
                principal = await exchange.aknown(scope, asked.project)
        if principal is None:
            principal = await self._judge(scope, exchange)
        scope.setdefault("state", {})["principal"] = principal  # what `connection.state` wraps
        return principal

    async def _judge(self, scope: Scope, exchange: Exchange) -> Principal:
        asked, verifier, watch = self.narrowing, exchange.verifier, exchange.watch
        # Of a WebSocket as it came to the first guard: its token is hidden since then
        request = request_of(scope) if watch is None else watch.request
        principal = None
        if isinstance(exchange, Body):
            exchange.ahead = False
        if exchange.passed:
            principal = passed_before(
                exchange.passed, verifier, request, asked.project, asked.schemes
            )
        # A guard above said that messages are checked, and this one does not: a caller whose
        # methods are restricted opens no WebSocket here
        unchecked = watch is not None and watch.frames and not asked.frames
        if principal is not None and not unchecked:
            return principal
        try:
            principal = await verifier.averify(
                request,
                exchange.read,
                project=asked.project,
                schemes=asked.schemes,
                standing=principal is not None,  # then its nonce is spent
                frames=asked.frames,
            )
        except DisconnectedError:
            raise HTTPException(400, "the client went away") from None
        exchange.passed = (*exchange.passed, (verifier, principal))
        if isinstance(exchange, Body):
            exchange.keeping = False
        else:
            exchange.admit(scope, request, asked, principal)
        return principal

    def __repr__(self) -> str:
        return f"<{self.scheme_name}>"


_NOT_SET_UP: Final = "require_rpc_auth needs RPCGuard(app, ...) on this application or above it"

_ALL: Final = Narrowing(None, None, frames=False)
require_rpc_auth: Final = RequireRPCAuth(_ALL)
_guards: dict[Narrowing, RequireRPCAuth] = {_ALL: require_rpc_auth}


class RPCGuard:
    """Sets an application up: its verifier, the answers to refusals, OpenAPI, the end of life."""

    def __init__(
        self,
        app: FastAPI,
        registry: Registry = None,
        *,
        everywhere: RequireRPCAuth | None = None,
        exempt: Iterable[str] = (),
        recheck: float = RECHECK,
        observers: Iterable[Observer] = (),
    ) -> None:
        """
        Args:
            app: The application; the applications that it mounts are covered too.
            registry: Path of the registry, or a verifier, which its owner closes; by default the
                path in the environment variable RPCGUARD_REGISTRY.
            everywhere: The guard of every request and WebSocket that reaches the application's
                routes, `require_rpc_auth` or a narrower one: mounted applications of any kind, the
                documentation and unknown paths too. What the application's middleware answers
                itself, such as a CORS preflight, it does not see. By default each route has its
                own guard or none.
            exempt: Paths that *everywhere* leaves open, to every method and to WebSockets, compared
                exactly with the path as it was sent. The routes of `router` are open where they are
                included.
            recheck: Seconds between two rechecks of an open WebSocket.
            observers: As those of `Verifier.from_yaml`; a verifier has its own.

        Raises:
            ConfigError: If there is no registry, or it does not load.
            TypeError: If *everywhere* is no such guard, or *exempt* is one string.
            ValueError: If *recheck* is not in (0, 86400], a verifier comes with *observers*,
                *exempt* without *everywhere* or with something else than paths, or *everywhere*
                where the application has an `RPCGuard`.
        """
        paths = _exempt_paths(everywhere, exempt)
        layers: list[Any] = [each.cls for each in app.user_middleware]
        if everywhere is not None and Layer in layers:
            raise ValueError("this application has an RPCGuard, whose verifier its guards ask")
        self._source = Source(registry, recheck, observers)
        app.add_middleware(Layer, source=self._source, guard_of=_guard_of)  # not once it has begun
        self._everywhere: Everywhere | None = None
        if everywhere is not None:
            self._everywhere = Everywhere(app.router, everywhere, everywhere.narrowing, paths)
        app.exception_handlers.setdefault(AuthError, _answer)  # type: ignore[arg-type]
        self._wrap_lifespan(app)
        self._wrap_openapi(app)

    @property
    def verifier(self) -> Verifier:
        """The verifier that the application's guards ask."""
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

    def router(self, *, project: str | None = None, prefix: str = "") -> APIRouter:
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
        router = APIRouter(prefix=prefix, tags=["authentication"])
        for route in ROUTES:
            router.add_api_route(
                route,
                _issuing(route, project),
                methods=["POST"],
                name=f"rpcguard:{route}",
                route_class_override=IssuingRoute,  # not of the router, which may get other routes
                openapi_extra={"security": []},  # it guards itself, whatever stands in front
            )
        return router

    def _wrap_lifespan(self, app: FastAPI) -> None:
        inner, source = app.router.lifespan_context, self._source

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            source.open()
            try:
                async with inner(app) as state:
                    yield state
            finally:
                source.close()

        app.router.lifespan_context = lifespan

    def _wrap_openapi(self, app: FastAPI) -> None:
        inner, source, everywhere = app.openapi, self._source, self._everywhere

        def openapi() -> dict[str, Any]:
            guards = {guard.scheme_name: narrowing for narrowing, guard in _guards.items()}
            document = inner()
            if everywhere is not None:
                name = _guards[everywhere.narrowing].scheme_name
                document = required(document, name, guards, partial(_is_exempt, app, everywhere))
            return expanded(document, guards, source.verifier)

        app.openapi = openapi  # type: ignore[method-assign]


def _exempt_paths(everywhere: RequireRPCAuth | None, exempt: Iterable[str]) -> tuple[str, ...]:
    if everywhere is not None and not isinstance(everywhere, RequireRPCAuth):
        raise TypeError("everywhere is require_rpc_auth, or a narrower one")
    if isinstance(exempt, str):
        raise TypeError("exempt is a list of paths, such as ['/healthz']")
    paths = tuple(exempt)
    if paths and everywhere is None:
        raise ValueError("exempt is for everywhere=require_rpc_auth: no path is guarded without it")
    for path in paths:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f"exempt takes paths, such as '/healthz', and not {path!r}")
    return paths


def _is_exempt(app: FastAPI, everywhere: Everywhere, path: str) -> bool:
    if "{" in path:  # of many paths; one that is exempt has no parameters
        return False
    return not everywhere.exempt.isdisjoint(as_sent([path, app.root_path + path]))


def _issuing(route: str, project: str | None) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        exchange: Exchange | None = request.scope.get(KEY)
        if exchange is None:
            raise RuntimeError(_NOT_SET_UP)
        assert isinstance(exchange, Body)  # an HTTP route has one
        try:
            body: bytes | None = await exchange.read(MAX_BODY)
        except AuthError as error:
            if error.cause == SLOW:
                raise
            body = None
        except DisconnectedError:
            raise HTTPException(400, "the client went away") from None
        asked = request_of(request.scope).with_body(body)
        reply = await aissued(exchange.verifier, route, asked, project)
        response = Response(reply.body, reply.status)
        response.raw_headers.extend(encoded(reply.headers))
        return response

    return answer


def _guard_of(scope: Scope) -> Narrowing | None:
    """Return what the guard of the route that FastAPI has matched takes; None for an open one."""
    # Of an included router FastAPI (0.13x) has the route as it was made, and what has come to it
    route, effective = scope.get("route"), scope.get("fastapi", {}).get("effective_route_context")
    if effective is not None and effective.original_route is route:  # not of one that mounts it
        route = effective
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        dependant = waiting.pop()
        if dependant is not None:
            if isinstance(dependant.call, RequireRPCAuth):
                return dependant.call.narrowing
            waiting.extend(dependant.dependencies)
    return None


async def _answer(connection: HTTPConnection, error: AuthError) -> Response | None:
    exchange: Exchange | None = connection.scope.get(KEY)
    body = None
    if isinstance(exchange, Body):
        exchange.refused = True
        body = exchange.whole
    status, headers, content = refusal(error, body)
    response = Response(content, status)
    response.raw_headers.extend(encoded(headers))
    if not isinstance(connection, WebSocket):
        return response
    opening = connection.application_state is WebSocketState.CONNECTING
    if opening and "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(response)
    else:  # before the handshake is accepted, servers turn this into HTTP 403
        await connection.close(POLICY_VIOLATION)
    return None
