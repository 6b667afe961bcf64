"""
The guard of a whole FastAPI application, in front of its routes and behind its middleware: CORS
answers a preflight before it, and the application's handlers answer its refusals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.routing import Match

from rpcguard.contrib._asgi_body import KEY, Body, Receive, Send
from rpcguard.contrib._asgi_request import target_of
from rpcguard.contrib._asgi_socket import Scope
from rpcguard.contrib._http import as_sent
from rpcguard.contrib._openapi import Narrowing
from rpcguard.issuing import ROUTES
from rpcguard.principal import Principal

_ISSUES: Final = "rpcguard.issues"  # in a scope: a route that issues credentials has matched it
_ENDINGS: Final = tuple(ROUTES)


class IssuingRoute(APIRoute):
    """
    A route that issues credentials, which guards itself.

    Attributes:
        known: Whether there is one in this process; most have none.
    """

    known = False

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what `APIRoute` takes."""
        super().__init__(*args, **options)
        IssuingRoute.known = True

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether it matches, and say so in *scope*; see `Route.matches`."""
        match, child_scope = super().matches(scope)
        if match is Match.FULL:
            scope[_ISSUES] = True
        return match, child_scope


class Everywhere:
    """
    Lets only authenticated requests through to a router.

    Attributes:
        exempt: Paths that stay open, as they are sent.
        narrowing: What the guard takes.
    """

    def __init__(
        self,
        router: APIRouter,
        guard: Callable[[HTTPConnection], Awaitable[Principal]],
        narrowing: Narrowing,
        exempt: Collection[str],
    ) -> None:
        """
        Args:
            router: The application's, which is asked through this from now on.
            guard: The dependency that judges a connection.
            narrowing: What it takes.
            exempt: Paths that stay open.
        """
        self.exempt = as_sent(exempt)
        self.narrowing = narrowing
        self._router = router
        self._guard = guard
        self._app = router.middleware_stack
        router.middleware_stack = self  # type: ignore[assignment]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return the router's answer, or the refusal, to be awaited."""
        # A plain function, and no `Request`: for most requests nothing of ours is awaited, and to
        # call a dependency takes FastAPI longer than the verifier to judge
        exchange, asked = scope.get(KEY), self.narrowing
        if isinstance(exchange, Body) and asked.schemes is None and exchange.verifier.at_once:
            path = scope["path"]
            # Of a path that was sent otherwise nobody is known, and `_judge` looks again
            may_be_open = path in self.exempt or (IssuingRoute.known and path.endswith(_ENDINGS))
            if may_be_open and self.is_open(scope):
                return self._app(scope, receive, send)
            principal = exchange.known(scope, asked.project)
            if principal is not None:
                exchange.ahead = True
                scope.setdefault("state", {})["principal"] = principal
                return self._app(scope, receive, send)
        return self._judge(scope, receive, send)

    async def _judge(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and not self.is_open(scope):
            await self._guard(HTTPConnection(scope))
            exchange = scope[KEY]
            if isinstance(exchange, Body):
                exchange.ahead = True
        await self._app(scope, receive, send)

    def is_open(self, scope: Scope) -> bool:
        """Return whether a request or handshake needs no credential."""
        if self.exempt and target_of(scope).partition("?")[0] in self.exempt:
            return True
        may_issue = IssuingRoute.known and scope["path"].endswith(_ENDINGS)
        return may_issue and self._leads_to_issuing(scope)

    def _leads_to_issuing(self, scope: Scope) -> bool:
        """
        Return whether it is a route that issues credentials to which the router will send *scope*.

        What a mounted application does with it, nobody knows before: there it is guarded.
        """
        asked: dict[str, Any] = {**scope, _ISSUES: False}
        for route in self._router.routes:
            match, _ = route.matches(asked)
            if match is Match.FULL:
                break
        return bool(asked[_ISSUES])
