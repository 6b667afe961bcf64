"""A FastAPI application that is guarded as a whole: what its guard covers, and what lies open."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Route

from contrib import credentials as cred
from contrib.asgi_driver import Outcome, body_messages, call
from contrib.servers import asgi
from contrib.wire import HANDSHAKE, Headers, handshake, request, websocket
from rpcguard import AuthError, Principal, Verifier
from rpcguard.contrib._asgi_body import Body
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth
from rpcguard.testing import as_principal

Caller = Annotated[Principal, Depends(require_rpc_auth)]
Signer = Annotated[Principal, Depends(require_rpc_auth(schemes=["signature"], project="solana"))]


@pytest.fixture(scope="module")
def verifier(registry: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(registry, watch=False) as opened:
        yield opened


@pytest.fixture(params=["memory", "sqlite"])
def any_verifier(
    request: pytest.FixtureRequest, registry: Path, tmp_path: Path
) -> Iterator[Verifier]:
    """One whose backend answers at once, and one that may have to wait."""
    backend = None if request.param == "memory" else f"sqlite:///{tmp_path}/state.db"
    with Verifier.from_yaml(registry, backend=backend, watch=False) as opened:
        yield opened


def _guarded(registry: Any, app: FastAPI | None = None, **options: Any) -> FastAPI:
    app = FastAPI() if app is None else app
    RPCGuard(app, registry, **{"everywhere": require_rpc_auth, **options})
    return app


def _add_echo(app: FastAPI | APIRouter) -> None:
    @app.post("/{path:path}")
    async def echo(request: Request) -> str:
        return f"{request.state.principal.project} {(await request.body()).decode()}"


def _post(app: Any, path: str, headers: Any, *chunks: bytes, **scope: Any) -> Outcome:
    return call(app, path, headers, body_messages(*(chunks or (b"",))), **scope)


def _get(app: Any, path: str, headers: Headers = (), **scope: Any) -> Outcome:  # type: ignore[assignment]
    return call(app, path, headers, method="GET", **scope)


class TestWhatIsGuarded:
    @pytest.fixture
    def app(self, verifier: Verifier, tmp_path: Path) -> FastAPI:
        app = _guarded(verifier, exempt=["/healthz"])
        (tmp_path / "page.txt").write_text("page")

        async def plain(_: Any) -> PlainTextResponse:
            return PlainTextResponse("a page")

        other = Starlette(routes=[Route("/x", plain)])
        app.mount("/limited/other", other)
        app.mount("/limited/files", StaticFiles(directory=tmp_path))
        app.host("hosted.example", Starlette(routes=[Route("/limited", plain)]))
        included = APIRouter()
        included.get("/limited/included")(lambda: "a page")
        app.include_router(included)
        app.get("/healthz")(lambda: "ok")
        app.get("/limited")(lambda: "a page")
        return app

    @pytest.mark.parametrize(
        "path",
        [
            *("/limited", "/limited/included", "/limited/other/x", "/limited/files/page.txt"),
            *("/docs", "/openapi.json", "/redoc", "/unknown", "/", "/limited/", "/healthz/"),
        ],
    )
    def test_every_path_needs_a_credential(self, app: FastAPI, path: str) -> None:
        outcome = _get(app, path)
        ours = path.startswith("/limited")  # the others are no project's
        expected = (401, "missing_credentials") if ours else (403, "no_project")
        assert (outcome.status, outcome.reason) == expected

    def test_the_routes_of_another_host_too(self, app: FastAPI) -> None:
        hosted = [("Host", "hosted.example")]
        assert _get(app, "/limited", hosted).status == 401

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "BREW"])
    def test_every_method_does(self, app: FastAPI, method: str) -> None:
        assert call(app, "/v1/", method=method).status == 401

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/v1/", 404), ("/ws/v1/", 404)],
    )
    def test_who_is_let_in_meets_the_routers_own_answer(
        self, app: FastAPI, path: str, status: int
    ) -> None:
        for _ in range(2):
            assert _get(app, path, cred.meganode()).status == status

    def test_an_exempt_path_is_open_and_takes_any_credential(self, app: FastAPI) -> None:
        for headers in ([], [("Authorization", "Bearer x")], cred.meganode()):
            assert _get(app, "/healthz", headers).json == "ok"

    def test_a_socket_at_an_unknown_path_is_refused(self, verifier: Verifier) -> None:
        with asgi(_guarded(verifier)) as port:
            assert handshake(port, "/ws/v1/").status == 401
            assert handshake(port, "/ws/v1/", cred.meganode()).status == 403  # the router's answer

    def test_a_kind_of_scope_that_nobody_knows_reaches_no_handler(self, app: FastAPI) -> None:
        with pytest.raises(AssertionError):
            call(app, "/v1/", type="webtransport")


class TestPrincipal:
    def test_handlers_find_who_it_is(self, any_verifier: Verifier) -> None:
        app = _guarded(any_verifier)
        _add_echo(app)
        for _ in range(3):
            assert _post(app, "/v1/", cred.meganode(), b"x").json == "bsc x"
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"

    def test_a_nonce_is_spent_once_by_all_guards_of_a_request(self, any_verifier: Verifier) -> None:
        app = _guarded(any_verifier, FastAPI(dependencies=[Depends(require_rpc_auth)]))

        @app.post("/solana")
        async def handler(caller: Signer, again: Caller, request: Request) -> list[Any]:
            return [caller is again, caller is request.state.principal]

        headers = cred.nodius(b"x")
        assert _post(app, "/solana", headers, b"x").json == [True, True]
        assert _post(app, "/solana", headers, b"x").reason == "replayed"

    def test_a_narrower_guard_of_a_route_still_narrows(self, verifier: Verifier) -> None:
        app = _guarded(verifier)

        @app.post("/{path:path}")
        async def handler(caller: Signer) -> str:
            return caller.scheme

        for _ in range(2):
            assert _post(app, "/v1/", cred.meganode()).reason == "missing_credentials"
        both = [*cred.meganode(), *cred.nodius(b"x", target="/v1/")]
        assert _post(app, "/v1/", both, b"x").json == "signature"

    def test_a_guard_of_one_kind_takes_no_other(self, verifier: Verifier) -> None:
        narrow = require_rpc_auth(schemes=["signature"], project="solana")
        app = _guarded(verifier, everywhere=narrow)
        _add_echo(app)
        for _ in range(2):
            assert _post(app, "/v1/", cred.meganode()).reason == "missing_credentials"
            assert _post(app, "/v1/", cred.nodius(b"x", target="/v1/"), b"x").json == "solana x"

    def test_a_guard_of_one_project_asks_no_path(self, verifier: Verifier) -> None:
        app = _guarded(verifier, everywhere=require_rpc_auth(project="bsc"))
        _add_echo(app)
        for _ in range(2):
            assert _post(app, "/any/where", cred.meganode(), b"x").json == "bsc x"
        assert _post(app, "/evm", cred.nodius(b"x", target="/evm"), b"x").status == 401

    def test_a_middleware_may_ask_before_it(self, verifier: Verifier) -> None:
        app = FastAPI()

        class Asking:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                await require_rpc_auth(HTTPConnection(scope))
                await self.app(scope, receive, send)

        app.add_middleware(Asking)
        _add_echo(_guarded(verifier, app))
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"
        assert _post(app, "/v1/", cred.meganode(), b"x").json == "bsc x"

    def test_as_principal_stands_in_for_it(self, verifier: Verifier) -> None:
        app = _guarded(verifier)
        _add_echo(app)
        with as_principal(app, Principal("bob", "bsc", "jwt")):
            assert _post(app, "/v1/", [], b"x").json == "bsc x"
        assert _post(app, "/v1/", []).status == 401


class TestExempt:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"exempt": ["/x"]}, ValueError, "exempt is for everywhere="),
            ({"everywhere": require_rpc_auth, "exempt": "/x"}, TypeError, "list of paths"),
            ({"everywhere": require_rpc_auth, "exempt": ["x"]}, ValueError, "not 'x'"),
            ({"everywhere": require_rpc_auth, "exempt": [""]}, ValueError, "not ''"),
            ({"everywhere": True}, TypeError, "everywhere is require_rpc_auth"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self, verifier: Verifier, options: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            RPCGuard(FastAPI(), verifier, **options)

    @pytest.mark.parametrize(
        ("path", "raw", "opened"),
        [
            ("/open", b"/open", True),
            ("/open", b"/open?x=1", True),
            ("/open", b"/%6fpen", False),
            ("/open", None, True),
            ("/open", b"/v1/", False),
            ("/open/", b"/open/", False),
            ("//open", b"//open", False),
            ("/OPEN", b"/OPEN", False),
            ("/x/open", b"/x/open", False),
            ("/open;x", b"/open;x", False),
            ("/v1/../open", b"/v1/../open", False),
            ("/a b", b"/a%20b", True),
            ("/a b", b"/a+b", False),
            ("/caf\u00e9", b"/caf%C3%A9", True),
            ("/caf\u00e9", b"/caf%c3%a9", False),
            ("/50%", b"/50%25", True),
            ("/deep/open", b"/deep/open", True),
        ],
    )
    def test_a_path_is_open_as_it_is_sent_and_in_no_other_spelling(
        self, verifier: Verifier, path: str, raw: bytes | None, opened: bool
    ) -> None:
        exempt = ["/open", "/a b", "/caf\u00e9", "/50%", "/deep/open"]
        app = _guarded(verifier, exempt=exempt)
        app.get("/{path:path}")(lambda: "open")
        query = b"x=1" if raw is not None and b"?" in raw else b""
        scope = {"raw_path": ... if raw is None else raw, "query_string": query}
        assert (_get(app, path, **scope).status == 200) is opened

    def test_a_proxys_prefix_counts_as_it_does_for_a_signature(self, verifier: Verifier) -> None:
        app = _guarded(verifier, exempt=["/api/open"])
        app.get("/open")(lambda: "open")
        assert _get(app, "/open", raw_path=b"/api/open", root_path="/api").status == 200
        assert _get(app, "/api/open", raw_path=b"/api/open", root_path="/api").status == 200
        assert _get(app, "/open").status == 403

    def test_a_middleware_that_rewrites_the_path_opens_nothing(self, verifier: Verifier) -> None:
        app = _guarded(verifier, exempt=["/open"])
        app.get("/{path:path}")(lambda: "open")

        async def rewriting(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "path": "/secret"}, receive, send)

        assert _get(rewriting, "/open").reason == "invalid_target"

    def test_a_socket_at_an_exempt_path_is_open(self, verifier: Verifier) -> None:
        app = _guarded(verifier, exempt=["/ws"])

        @app.websocket("/ws")
        async def ws(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text("hello")

        with asgi(app) as port, websocket(port, "/ws") as (socket, _):
            assert socket.receive() == "hello"

    def test_a_guard_of_an_exempt_route_guards_it(self, verifier: Verifier) -> None:
        app = _guarded(verifier, exempt=["/v1/"])

        @app.post("/v1/")
        async def handler(caller: Caller, request: Request) -> str:
            return f"{caller.project} {(await request.body()).decode()}"

        assert _post(app, "/v1/", []).status == 401
        for _ in range(2):
            assert _post(app, "/v1/", cred.meganode(), b"x").json == "bsc x"


class TestMiddleware:
    @pytest.mark.parametrize("before", [True, False])
    def test_cors_answers_a_preflight_and_marks_a_refusal(
        self, verifier: Verifier, before: bool
    ) -> None:
        app = FastAPI()
        if before:
            app.add_middleware(
                CORSMiddleware, allow_origins=["https://a.example"], allow_methods=["POST"]
            )
        _add_echo(_guarded(verifier, app))
        if not before:
            app.add_middleware(
                CORSMiddleware, allow_origins=["https://a.example"], allow_methods=["POST"]
            )
        origin = [("Origin", "https://a.example")]
        asks = [*origin, ("Access-Control-Request-Method", "POST")]
        assert call(app, "/v1/", asks, method="OPTIONS").status == 200
        refused = _post(app, "/v1/", origin)
        assert refused.status == 401
        allowed = (b"access-control-allow-origin", b"https://a.example")
        assert allowed in refused.sent[0]["headers"]

    def test_an_applications_own_handler_answers_its_refusals(self, verifier: Verifier) -> None:
        app = FastAPI()
        app.add_exception_handler(AuthError, lambda *_: PlainTextResponse("mine", 418))
        assert _get(_guarded(verifier, app), "/v1/").status == 418

    @pytest.mark.parametrize("outside", [True, False])
    @pytest.mark.parametrize("reads", [True, False])
    def test_a_base_http_middleware_may_read_the_body_too(
        self, verifier: Verifier, outside: bool, reads: bool
    ) -> None:
        app = FastAPI()

        async def dispatch(request: Request, call_next: Any) -> Any:
            if reads:
                assert await request.body() == b"x"
            return await call_next(request)

        if outside:
            _guarded(verifier, app)
        app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
        if not outside:
            _guarded(verifier, app)
        _add_echo(app)
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"
        assert _post(app, "/v1/", cred.meganode(), b"x").json == "bsc x"

    @pytest.mark.parametrize(("path", "status"), [("/solana", 413), ("/open", 404)])
    def test_a_body_above_the_limit_that_a_middleware_has_read_is_413_where_the_guard_needs_it(
        self, verifier: Verifier, path: str, status: int
    ) -> None:
        app = FastAPI()

        async def dispatch(request: Request, call_next: Any) -> Any:
            assert len(await request.body()) > cred.MAX_BODY
            return await call_next(request)

        app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
        _guarded(verifier, app, exempt=["/open"])
        half = bytes(cred.MAX_BODY // 2 + 1)
        headers = cred.nodius(half + half, target=path)
        assert _post(app, path, headers, half, half).status == status


class Text(BaseModel):
    text: str


class TestBody:
    """What the guard in front does not read, a guard of the route may still need."""

    BODY = b'{"text":"' + b"x" * 200 + b'"}'

    @pytest.fixture(params=["route", "router"])
    def app(self, request: pytest.FixtureRequest, verifier: Verifier) -> FastAPI:
        app = _guarded(verifier)
        needs = Depends(require_rpc_auth(schemes=["signature"], project="solana"))
        router = APIRouter(dependencies=[needs] if request.param == "router" else [])
        own = [needs] if request.param == "route" else []

        @router.post("/v1/", dependencies=own)
        async def model(body: Text, request: Request) -> list[Any]:
            return [body.text, len(await request.body())]

        app.include_router(router)
        return app

    def _both(self, body: bytes) -> Headers:
        signed = cred.nodius(body, target="/v1/")
        return [*cred.meganode(), *signed, ("Content-Type", "application/json")]

    @pytest.mark.parametrize("chunks", [1, 2, 7])
    @pytest.mark.parametrize("known", [False, True])
    def test_a_body_model_is_read_before_the_routes_guard_and_kept_for_it(
        self, app: FastAPI, chunks: int, known: bool
    ) -> None:
        if known:
            assert _post(app, "/v1/", cred.meganode(), b"{").status in (401, 422)
        size = -(-len(self.BODY) // chunks)
        parts = [self.BODY[at : at + size] for at in range(0, len(self.BODY), size)]
        assert _post(app, "/v1/", self._both(self.BODY), *parts).json == ["x" * 200, 211]
        refused = _post(app, "/v1/", self._both(b"another"), *parts)
        assert (refused.status, refused.reason) == (401, "invalid_credentials")

    @pytest.mark.parametrize("chunks", [1, 2])
    def test_it_is_bounded_there(self, app: FastAPI, chunks: int) -> None:
        body = b'{"text":"' + bytes(b"x" * cred.MAX_BODY) + b'"}'
        half = len(body) // chunks
        parts = [body[:half], *([body[half:]] if chunks == 2 else [])]
        outcome = _post(app, "/v1/", self._both(body), *parts)
        assert (outcome.status, outcome.reason) == (413, "body_too_large")

    @pytest.mark.parametrize("guarded", [False, True])
    @pytest.mark.parametrize("known", [False, True])
    def test_an_upload_that_no_guard_needs_is_not_kept(
        self, verifier: Verifier, guarded: bool, known: bool
    ) -> None:
        app, seen = _guarded(verifier), []
        dependencies = [Depends(require_rpc_auth)] if guarded else []

        @app.post("/v1/", dependencies=dependencies)
        async def upload(request: Request) -> int:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                seen.append(len(request.scope["rpcguard"]._kept))
            return size

        for _ in range(1 + known):
            seen.clear()
            chunk = bytes(cred.MAX_BODY // 2)
            outcome = _post(app, "/v1/", cred.meganode(), *[chunk] * 5)
            assert outcome.json == 5 * len(chunk)
        assert set(seen) == {0}

    def test_a_signed_body_that_the_guard_has_read_serves_the_routes_guard_too(
        self, verifier: Verifier
    ) -> None:
        app = _guarded(verifier)
        narrow = require_rpc_auth(schemes=["jwt"], project="bsc")

        @app.post("/solana", dependencies=[Depends(narrow)])
        async def model(body: Text, request: Request, caller: Signer) -> str:
            return caller.scheme + (await request.body()).decode()

        headers = [*cred.meganode(), *cred.nodius(self.BODY)]
        headers.append(("Content-Type", "application/json"))
        parts = [self.BODY[:7], self.BODY[7:]]
        assert _post(app, "/solana", headers, *parts).json == "signature" + self.BODY.decode()


class TestMounted:
    """An application with an `RPCGuard` of its own, mounted in one that is guarded as a whole."""

    def _outer(self, outer: Any, inner: Any, **options: Any) -> FastAPI:
        app, sub = _guarded(outer), FastAPI()
        RPCGuard(sub, inner, **options)

        @sub.post("/{path:path}")
        async def echo(path: str, request: Request, caller: Caller) -> str:
            return f"{caller.project} {(await request.body()).decode()}"

        @sub.websocket("/ws/{path:path}")
        async def ws(socket: WebSocket, caller: Caller) -> None:
            await socket.accept()
            await socket.send_text(caller.project)

        app.mount("/mnt", sub)
        return app

    @pytest.mark.parametrize("whole", [False, True])
    def test_with_one_verifier_a_nonce_is_spent_once(self, verifier: Verifier, whole: bool) -> None:
        options = {"everywhere": require_rpc_auth} if whole else {}
        app = self._outer(verifier, verifier, **options)
        headers = cred.nodius(b"x", target="/mnt/solana")
        assert _post(app, "/mnt/solana", headers, b"x").json == "solana x"
        assert _post(app, "/mnt/solana", headers, b"x").reason == "replayed"
        for _ in range(2):
            assert _post(app, "/mnt/v1/", cred.meganode(), b"x").json == "bsc x"

    def test_with_two_verifiers_both_must_agree(self, registry: Path, verifier: Verifier) -> None:
        with Verifier.from_yaml(registry, watch=False) as other:
            app = self._outer(verifier, other)
            headers = cred.nodius(b"x", target="/mnt/solana")
            assert _post(app, "/mnt/solana", headers, b"x").json == "solana x"
            for _ in range(2):
                assert _post(app, "/mnt/v1/", cred.meganode(), b"x").json == "bsc x"
            other.revoke("bsc", key="a")
            assert _post(app, "/mnt/v1/", cred.meganode(), b"x").reason == "revoked"

    @pytest.mark.parametrize("whole", [False, True])
    def test_a_socket_is_watched_once_and_its_principal_found(
        self, verifier: Verifier, whole: bool
    ) -> None:
        options = {"everywhere": require_rpc_auth} if whole else {}
        app = self._outer(verifier, verifier, **options)
        with asgi(app) as port:
            headers = cred.meganode()
            with websocket(port, "/mnt/ws/v1", headers) as (socket, answer):
                assert answer.status == 101
                assert socket.receive() == "bsc"


class TestIssuing:
    """The routes that issue credentials guard themselves, wherever they really are."""

    @pytest.fixture
    def made(self, tmp_path: Path) -> tuple[FastAPI, RPCGuard]:
        path = tmp_path / "registry.yaml"
        path.write_text(
            "version: 1\n"
            'backend: "memory://?restart_guard=off"\n'
            "projects:\n"
            "  solana:\n"
            "    preset: nodius\n"
            "    match: {path: /}\n"
            "    wallets: open\n"
            '    session: {secret: "a session secret of more than 32 bytes"}\n'
        )
        app = FastAPI()
        return app, RPCGuard(app, str(path), everywhere=require_rpc_auth)

    def _asks(self, app: FastAPI, path: str, method: str = "POST") -> Outcome:
        body = b'{"pubkey":"%s"}' % cred.PUBKEY.encode()
        return call(app, path, [], body_messages(body), method=method)

    def test_they_are_open(self, made: tuple[FastAPI, RPCGuard]) -> None:
        app, guard = made
        app.include_router(guard.router())
        _add_echo(app)
        assert self._asks(app, "/auth/challenge").json["challenge"]
        assert self._asks(app, "/auth/verify").status == 400

    @pytest.mark.parametrize("where", ["prefix", "include", "nested", "mounted"])
    def test_wherever_they_are_included(self, made: tuple[FastAPI, RPCGuard], where: str) -> None:
        app, guard = made
        if where == "prefix":
            app.include_router(guard.router(prefix="/a/b"))
        elif where == "include":
            app.include_router(guard.router(), prefix="/a/b")
        elif where == "nested":
            router = APIRouter(prefix="/b")
            router.include_router(guard.router())
            app.include_router(router, prefix="/a")
        else:
            sub, subsub = FastAPI(), FastAPI()
            subsub.include_router(guard.router())
            sub.mount("/b", subsub)
            app.mount("/a", sub)
        _add_echo(app)
        assert self._asks(app, "/a/b/auth/challenge").json["challenge"]
        assert self._asks(app, "/auth/challenge").reason == "missing_credentials"
        assert self._asks(app, "/a/auth/challenge").reason == "missing_credentials"

    def test_a_route_that_comes_before_them_is_guarded(
        self, made: tuple[FastAPI, RPCGuard]
    ) -> None:
        app, guard = made
        _add_echo(app)
        app.include_router(guard.router())
        assert self._asks(app, "/auth/challenge").reason == "missing_credentials"

    def test_a_mount_that_comes_before_them_is_guarded(
        self, made: tuple[FastAPI, RPCGuard]
    ) -> None:
        app, guard = made

        async def anything(scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("open")(scope, receive, send)

        app.mount("/auth", anything)
        app.include_router(guard.router())
        assert self._asks(app, "/auth/challenge").reason == "missing_credentials"

    def test_where_they_are_not_included_nothing_is_open(
        self, made: tuple[FastAPI, RPCGuard]
    ) -> None:
        app, guard = made
        guard.router()
        _add_echo(app)
        assert self._asks(app, "/auth/challenge").reason == "missing_credentials"

    @pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
    def test_another_method_at_their_paths_is_guarded(
        self, made: tuple[FastAPI, RPCGuard], method: str
    ) -> None:
        app, guard = made
        app.include_router(guard.router())
        app.put("/auth/challenge")(lambda: "open")
        assert self._asks(app, "/auth/challenge", method).reason == "missing_credentials"

    def test_a_handshake_at_their_paths_is_guarded(self, made: tuple[FastAPI, RPCGuard]) -> None:
        app, guard = made
        app.include_router(guard.router())
        with asgi(app) as port:
            assert handshake(port, "/auth/challenge").status == 401


class TestOpenAPI:
    def _document(self, app: FastAPI) -> Any:
        return _get(app, "/openapi.json").json

    @pytest.fixture
    def app(self, verifier: Verifier) -> FastAPI:
        app = _guarded(verifier, exempt=["/openapi.json", "/healthz"])
        app.get("/healthz")(lambda: 1)
        app.get("/x")(lambda: 1)
        app.post("/x")(lambda: 1)
        return app

    def test_every_operation_lists_the_schemes_of_every_project(
        self, app: FastAPI, verifier: Verifier
    ) -> None:
        document = self._document(app)
        schemes = document["components"]["securitySchemes"]
        assert not any(name.startswith("rpcguard") for name in schemes)
        by_route = FastAPI()
        RPCGuard(by_route, verifier)
        by_route.get("/x", dependencies=[Depends(require_rpc_auth)])(lambda: 1)
        expected = self._document(by_route)["paths"]["/x"]["get"]["security"]
        assert document["paths"]["/x"]["get"]["security"] == expected
        assert document["paths"]["/x"]["post"]["security"] == expected

    def test_an_exempt_one_lists_none(self, app: FastAPI) -> None:
        assert "security" not in self._document(app)["paths"]["/healthz"]["get"]

    def test_a_narrower_guard_of_a_route_says_what_it_takes(self, app: FastAPI) -> None:
        app.get("/narrow", dependencies=[Depends(require_rpc_auth(project="engine"))])(lambda: 1)
        security = self._document(app)["paths"]["/narrow"]["get"]["security"]
        assert len(security) == 1

    def test_the_applications_own_schemes_stay(self, app: FastAPI) -> None:
        app.get("/basic", dependencies=[Depends(HTTPBasic())])(lambda: 1)
        security = self._document(app)["paths"]["/basic"]["get"]["security"]
        assert {"HTTPBasic": []} in security
        assert len(security) > 1

    def test_the_routes_that_issue_say_that_they_are_open(self, tmp_path: Path) -> None:
        path = tmp_path / "registry.yaml"
        path.write_text(
            "version: 1\nbackend: memory://\nprojects:\n"
            "  solana: {preset: nodius, match: {path: /x}, wallets: open,"
            ' session: {secret: "a session secret of more than 32 bytes"}}\n'
        )
        app = FastAPI()
        guard = RPCGuard(app, str(path), everywhere=require_rpc_auth, exempt=["/openapi.json"])
        app.include_router(guard.router())
        paths = self._document(app)["paths"]
        assert paths["/auth/challenge"]["post"]["security"] == []


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("credential", [cred.meganode, lambda: cred.nodius(b"x")])
def test_an_answered_request_leaves_nothing_to_the_garbage_collector(
    verifier: Verifier, credential: Any, known: bool
) -> None:
    class Marker:
        pass

    app = _guarded(verifier)
    _add_echo(app)
    path = "/v1/" if credential is cred.meganode else "/solana"
    headers = credential()
    if known:
        assert _post(app, path, headers, b"x").status == 200
        headers = headers if credential is cred.meganode else credential()
    marker = Marker()
    alive = weakref.ref(marker)
    gc.disable()
    try:
        assert _post(app, path, headers, b"x", marker=marker).status == 200
        del marker
        assert alive() is None
    finally:
        gc.enable()


def test_the_applications_life_begins_and_ends_as_without_it(registry: Path) -> None:
    app, sent = _guarded(str(registry)), []
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return asked.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_over_the_wire_a_refusal_and_an_answer(registry: Path) -> None:
    app = _guarded(str(registry))
    _add_echo(app)
    with asgi(app) as port:
        assert request(port, "POST", "/v1/", [], b"x").reason == "missing_credentials"
        for _ in range(2):
            assert request(port, "POST", "/v1/", cred.meganode(), b"x").json == "bsc x"
        assert request(port, "GET", "/ws/v1/", [*HANDSHAKE, *cred.meganode()], None).status in (
            403,
            404,
        )


class TestKnownAlready:
    """The short way, of a token that was seen before: at a path that can hold no key, with a Host."""

    @pytest.fixture
    def short(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Whether each request so far took the short way."""
        taken: list[bool] = []
        known, aknown = Body.known, Body.aknown

        def noting(body: Body, scope: Any, project: str | None) -> Principal | None:
            principal = known(body, scope, project)
            taken.append(principal is not None)
            return principal

        async def anoting(body: Body, scope: Any, project: str | None) -> Principal | None:
            principal = await aknown(body, scope, project)
            taken.append(principal is not None)
            return principal

        monkeypatch.setattr(Body, "known", noting)
        monkeypatch.setattr(Body, "aknown", anoting)
        return taken

    @pytest.fixture
    def token(self) -> Headers:
        return [("Host", "rpc.example"), *cred.engine()]

    def _learn(self, app: FastAPI, token: Headers, path: str = "/engine") -> None:
        for _ in range(3):
            _post(app, path, token, b"{}")

    def test_handlers_find_who_it_is_and_the_body(
        self, any_verifier: Verifier, token: Headers, short: list[bool]
    ) -> None:
        app = _guarded(any_verifier)
        _add_echo(app)
        self._learn(app, token)
        short.clear()
        assert _post(app, "/engine", token, b"x", b"y").json == "engine xy"
        assert _post(app, "/engine", token, b"x").json == "engine x"
        assert short == [True, True]
        any_verifier.revoke("engine", key="jwt")
        assert _post(app, "/engine", token, b"x").reason == "revoked"

    def test_the_state_of_the_applications_life_stays(
        self, verifier: Verifier, token: Headers, short: list[bool]
    ) -> None:
        app = _guarded(verifier)

        @app.post("/engine")
        async def handler(request: Request) -> list[str]:
            return [request.state.db, request.state.principal.project]

        for _ in range(3):
            assert _post(app, "/engine", token, state={"db": "open"}).json == ["open", "engine"]
        assert short[-1]

    def test_a_guard_of_the_route_finds_it_decided(
        self, any_verifier: Verifier, token: Headers, short: list[bool]
    ) -> None:
        app = _guarded(any_verifier)

        @app.post("/engine")
        async def handler(caller: Caller, request: Request) -> bool:
            return caller is request.state.principal

        self._learn(app, token)
        short.clear()
        assert _post(app, "/engine", token).json is True
        assert short == [True, False]  # the second has not judged anew

    @pytest.mark.parametrize("chunks", [1, 2, 7])
    def test_a_body_model_is_read_before_the_routes_guard_and_kept_for_it(
        self, any_verifier: Verifier, token: Headers, short: list[bool], chunks: int
    ) -> None:
        app = _guarded(any_verifier)

        @app.post("/engine")
        async def handler(text: Text, caller: Signer, request: Request) -> list[Any]:
            return [text.text, caller.project, len(await request.body())]

        body = TestBody.BODY
        size = -(-len(body) // chunks)
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        token = [*token, ("Content-Type", "application/json")]
        self._learn(app, token)
        short.clear()
        both = [*token, *cred.nodius(body, target="/engine")]
        assert _post(app, "/engine", both, *parts).json == ["x" * 200, "solana", len(body)]
        another = [*token, *cred.nodius(b"another", target="/engine")]
        assert _post(app, "/engine", another, *parts).reason == "invalid_credentials"
        assert short == [True, True]

    @pytest.mark.parametrize("guarded", [False, True])
    def test_an_upload_is_not_kept(
        self, any_verifier: Verifier, token: Headers, short: list[bool], guarded: bool
    ) -> None:
        app, seen = FastAPI(), []
        _guarded(any_verifier, app, **({"everywhere": None} if guarded else {}))

        @app.post("/engine", dependencies=[Depends(require_rpc_auth)] if guarded else [])
        async def upload(request: Request) -> None:
            async for _ in request.stream():
                seen.append(len(request.scope["rpcguard"]._kept))

        self._learn(app, token)
        seen.clear()
        assert _post(app, "/engine", token, *[b"x" * 1000] * 3).status == 200
        assert short[-1]
        assert set(seen) == {0}

    @pytest.mark.parametrize(
        "narrow", [require_rpc_auth(project="bsc"), require_rpc_auth(schemes=["signature"])]
    )
    def test_what_the_guard_does_not_take_is_refused_each_time(
        self, any_verifier: Verifier, token: Headers, narrow: Any
    ) -> None:
        app = _guarded(any_verifier, everywhere=narrow)
        _add_echo(app)
        for _ in range(4):
            assert _post(app, "/engine", token, b"x").status == 401

    def test_an_exempt_path_is_not_judged(
        self, verifier: Verifier, token: Headers, short: list[bool]
    ) -> None:
        app = _guarded(verifier, exempt=["/engine"])
        app.post("/engine")(lambda: "open")
        self._learn(app, token)
        assert short == []
