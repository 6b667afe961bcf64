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
from contrib.wire import Headers, handshake, request, websocket
from rpcguard import AuthError, Principal, Verifier
from rpcguard.contrib import _asgi_body, fastapi
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth
from rpcguard.testing import as_principal

SECRET = f'"{cred.ENGINE_SECRET.hex()}"'
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
        assert _post(app, "/v1/", cred.meganode(), b"x").json == "bsc x"
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"

    @pytest.mark.parametrize("state", [..., {"lifespan": 1}])
    def test_no_request_is_made_of_one_that_is_known(
        self, any_verifier: Verifier, monkeypatch: pytest.MonkeyPatch, state: Any
    ) -> None:
        app = _guarded(any_verifier, exempt=["/healthz"])
        _add_echo(app)
        headers, made = cred.usual(), []
        for _ in range(2):
            assert _post(app, "/engine", headers, b"x", state=state).json == "engine x"
            monkeypatch.setattr(fastapi, "request_of", made.append)
            if any_verifier.at_once:  # nor is anything awaited
                monkeypatch.setattr(fastapi.RequireRPCAuth, "_authenticate", made.append)
        assert not made

    @pytest.mark.parametrize("backend", ["memory://", "sqlite:///state.db"])
    def test_a_token_that_is_known_counts_for_the_guards_project_alone(
        self, tmp_path: Path, backend: str
    ) -> None:
        path = tmp_path / "registry.yaml"
        path.write_text(
            f"version: 1\nbackend: {backend}\nprojects:\n"
            f"  a: {{preset: engine-api, match: {{path: /a}}, secrets: [{{id: s, secret: {SECRET}}}]}}\n"
            f"  b: {{preset: engine-api, match: {{path: /b}}, secrets: [{{id: s, secret: {SECRET}}}]}}\n"
        )
        with Verifier.from_yaml(path, watch=False) as verifier:
            app, by_path = _guarded(verifier, everywhere=require_rpc_auth(project="b")), FastAPI()
            for each in (app, _guarded(verifier, by_path)):
                _add_echo(each)
            headers = cred.usual()
            for _ in range(2):
                assert _post(by_path, "/a", headers).json == "a "
                assert _post(app, "/a", headers).json == "b "

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

        usual = cred.usual()
        for _ in range(2):
            assert _post(app, "/engine", usual).reason == "missing_credentials"
        both = [*usual, *cred.nodius(b"x", target="/engine")]
        assert _post(app, "/engine", both, b"x").json == "signature"

    def test_a_guard_of_one_kind_takes_no_other(self, verifier: Verifier) -> None:
        narrow = require_rpc_auth(schemes=["signature"], project="solana")
        app = _guarded(verifier, everywhere=narrow)
        _add_echo(app)
        usual, other = cred.usual(), _guarded(verifier)
        _add_echo(other)
        for _ in range(2):
            assert _post(other, "/engine", usual).json == "engine "
            assert _post(app, "/engine", usual).reason == "missing_credentials"
            signed = cred.nodius(b"x", target="/engine")
            assert _post(app, "/engine", signed, b"x").json == "solana x"
        wallets = _guarded(verifier, everywhere=require_rpc_auth(schemes=["signature"]))
        assert _post(wallets, "/engine", usual).reason == "missing_credentials"

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
            ({"everywhere": require_rpc_auth, "exempt": [b"/x"]}, ValueError, "not b'/x'"),
            ({"everywhere": require_rpc_auth, "exempt": [Path("/x")]}, ValueError, "not .*Path"),
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

    def test_any_iterable_of_paths_will_do(self, verifier: Verifier) -> None:
        app = _guarded(verifier, exempt=(path for path in ("/open", "/too")))
        app.get("/too")(lambda: "open")
        assert _get(app, "/too").json == "open"

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

    def test_an_exempt_path_asks_nothing_of_a_token_that_is_known_there(
        self, registry: Path
    ) -> None:
        with Verifier.from_yaml(registry, watch=False) as verifier:
            guarded, exempt = _guarded(verifier), _guarded(verifier, exempt=["/engine"])
            for app in (guarded, exempt):
                app.post("/engine")(lambda: "answered")
            token = cred.usual()
            for _ in range(2):
                assert _post(guarded, "/engine", token).json == "answered"
            verifier.revoke("engine", token=token[1][1].removeprefix("Bearer "))
            assert _post(guarded, "/engine", token).reason == "revoked"
            assert _post(exempt, "/engine", token).json == "answered"

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


class Call(BaseModel):
    method: str


class TestBody:
    """What the guard in front does not read, a guard of the route may still need."""

    BODY = b'{"text":"' + b"x" * 200 + b'"}'

    @pytest.fixture(params=["route", "router", "include"])
    def app(self, request: pytest.FixtureRequest, verifier: Verifier) -> FastAPI:
        app = _guarded(verifier)
        needs = Depends(require_rpc_auth(schemes=["signature"], project="solana"))
        router = APIRouter(dependencies=[needs] if request.param == "router" else [])
        own = [needs] if request.param == "route" else []

        @router.post("/engine", dependencies=own)
        async def model(body: Text, request: Request) -> list[Any]:
            return [body.text, len(await request.body())]

        app.include_router(router, dependencies=[needs] if request.param == "include" else [])
        return app

    def _both(self, body: bytes, usual: Headers) -> Headers:
        signed = cred.nodius(body, target="/engine")
        return [*usual, *signed, ("Content-Type", "application/json")]

    @pytest.mark.parametrize("chunks", [1, 2, 7])
    @pytest.mark.parametrize("known", [False, True])
    def test_a_body_model_is_read_before_the_routes_guard_and_kept_for_it(
        self, app: FastAPI, chunks: int, known: bool
    ) -> None:
        usual = cred.usual()
        if known:
            assert _post(app, "/engine", self._both(self.BODY, usual), self.BODY).status == 200
        size = -(-len(self.BODY) // chunks)
        parts = [self.BODY[at : at + size] for at in range(0, len(self.BODY), size)]
        both = self._both(self.BODY, usual)
        assert _post(app, "/engine", both, *parts).json == ["x" * 200, 211]
        refused = _post(app, "/engine", self._both(b"another", usual), *parts)
        assert (refused.status, refused.reason) == (401, "invalid_credentials")

    @pytest.mark.parametrize("chunks", [1, 2])
    def test_it_is_bounded_there(self, app: FastAPI, chunks: int) -> None:
        body = b'{"text":"' + bytes(b"x" * cred.MAX_BODY) + b'"}'
        half = len(body) // chunks
        parts = [body[:half], *([body[half:]] if chunks == 2 else [])]
        outcome = _post(app, "/engine", self._both(body, cred.usual()), *parts)
        assert (outcome.status, outcome.reason) == (413, "body_too_large")

    @pytest.mark.parametrize("guarded", [False, True])
    @pytest.mark.parametrize("known", [False, True])
    def test_an_upload_that_no_guard_needs_is_not_kept(
        self, verifier: Verifier, guarded: bool, known: bool
    ) -> None:
        app, seen = _guarded(verifier), []
        dependencies = [Depends(require_rpc_auth)] if guarded else []

        @app.post("/engine", dependencies=dependencies)
        async def upload(request: Request) -> int:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                seen.append(len(request.scope["rpcguard"]._kept))
            return size

        usual = cred.usual()
        for _ in range(1 + known):
            seen.clear()
            chunk = bytes(cred.MAX_BODY // 2)
            outcome = _post(app, "/engine", usual, *[chunk] * 5)
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

    @pytest.mark.parametrize("chunks", [1, 2])
    def test_it_is_kept_for_a_mounted_applications_route_too(
        self, verifier: Verifier, chunks: int
    ) -> None:
        app, sub, router = _guarded(verifier), FastAPI(), APIRouter()
        needs = Depends(require_rpc_auth(schemes=["signature"], project="solana"))

        @sub.post("/v1", dependencies=[needs])
        async def model(body: Text) -> int:
            return len(body.text)

        router.mount("/mnt", sub)
        app.include_router(router)  # of which FastAPI leaves its account in the scope
        app.mount("/mnt", sub)  # FastAPI before 0.13x does not include mounted applications
        assert self._sent(app, chunks).json == 200

    @pytest.mark.parametrize("chunks", [1, 2])
    def test_it_is_kept_where_a_mounted_applications_middleware_reads_it(
        self, verifier: Verifier, chunks: int
    ) -> None:
        async def dispatch(request: Request, call_next: Any) -> Any:
            await request.body()
            return await call_next(request)

        app, sub = _guarded(verifier), FastAPI()
        sub.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)

        @sub.post("/v1")
        async def handler(caller: Signer, request: Request) -> int:
            return len(await request.body())

        app.mount("/mnt", sub)
        assert self._sent(app, chunks).json == len(self.BODY)

    def _sent(self, app: FastAPI, chunks: int) -> Outcome:
        signed = cred.nodius(self.BODY, target="/mnt/v1")
        headers = [*cred.meganode(), *signed, ("Content-Type", "application/json")]
        size = -(-len(self.BODY) // chunks)
        parts = [self.BODY[at : at + size] for at in range(0, len(self.BODY), size)]
        return _post(app, "/mnt/v1", headers, *parts)

    def test_a_signed_body_that_fastapi_has_read_is_there_for_a_guard_that_must_see_its_method(
        self, verifier: Verifier
    ) -> None:
        app = _guarded(verifier)
        narrow = require_rpc_auth(schemes=["jwt"], project="limited")

        @app.post("/solana", dependencies=[Depends(narrow)])
        async def model(body: Call, request: Request) -> str:
            return body.method + str(len(await request.body()))

        for method, status in (("eth_call", 200), ("admin_peers", 403)):
            body = b'{"jsonrpc":"2.0","id":1,"method":"%s"}' % method.encode()
            headers = [*cred.meganode(), *cred.nodius(body), ("Content-Type", "application/json")]
            assert _post(app, "/solana", headers, body[:9], body[9:]).status == status

    @pytest.mark.parametrize("known", [False, True])
    @pytest.mark.parametrize("chunks", [(b"x",), (b"x", b"y"), (b"",)])
    def test_an_application_gets_it_once_and_then_hears_of_the_end(
        self, verifier: Verifier, known: bool, chunks: tuple[bytes, ...]
    ) -> None:
        app, heard = _guarded(verifier), []

        async def listening(scope: Any, receive: Any, send: Any) -> None:
            while not heard or heard[-1]["type"] == "http.request":
                heard.append(await receive())
            await PlainTextResponse("heard")(scope, receive, send)

        app.mount("/", listening)
        usual, signed = cred.usual(), cred.nodius(b"".join(chunks))
        for _ in range(1 + known):
            heard.clear()
            assert _post(app, "/engine", usual, *chunks).status == 200
            assert [message.get("body") for message in heard] == [*chunks, None]
        heard.clear()
        assert _post(app, "/solana", signed, *chunks).status == 200
        assert [message.get("body") for message in heard] == [b"".join(chunks), None]


class TestWithinARequest:
    """A handler that asks its own application, with a copy of its request's scope."""

    @pytest.mark.parametrize("everywhere", [None, require_rpc_auth])
    def test_the_inner_request_is_judged_by_its_own_credential_and_body(
        self, verifier: Verifier, everywhere: Any
    ) -> None:
        app, asked = _guarded(verifier, everywhere=everywhere), []

        @app.post("/v1/")
        async def batch(caller: Caller, request: Request) -> int:
            await request.body()
            return (await inner({**request.scope}, *asked.pop())).status

        @app.post("/mnt/{path:path}")
        async def one(caller: Caller) -> str:
            return caller.project

        def ask(headers: Headers, body: bytes) -> Any:
            asked.append((headers, body))
            return _post(app, "/v1/", cred.meganode(), b"outer").json

        async def inner(scope: Any, headers: Headers, body: bytes) -> Outcome:
            path, outcome = "/mnt/solana", Outcome()
            scope.update(path=path, raw_path=path.encode())
            scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in headers]
            waiting = body_messages(body)

            async def receive() -> Any:
                return waiting.pop(0)

            async def send(message: Any) -> None:
                outcome.sent.append(message)

            await app(scope, receive, send)
            return outcome

        for _ in range(2):
            assert ask([], b"inner") == 401
            assert ask(cred.nodius(b"inner", target="/mnt/solana"), b"inner") == 200
            assert ask(cred.nodius(b"outer", target="/mnt/solana"), b"inner") == 401


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
        usual = cred.usual()
        for _ in range(2):
            assert _post(app, "/mnt/engine", usual, b"x").json == "engine x"

    def test_with_two_verifiers_both_must_agree(self, registry: Path, verifier: Verifier) -> None:
        with Verifier.from_yaml(registry, watch=False) as other:
            app = self._outer(verifier, other)
            headers = cred.nodius(b"x", target="/mnt/solana")
            assert _post(app, "/mnt/solana", headers, b"x").json == "solana x"
            usual = cred.usual()
            for _ in range(2):
                assert _post(app, "/mnt/engine", usual, b"x").json == "engine x"
            other.revoke("engine", token=usual[1][1].removeprefix("Bearer "))
            assert _post(app, "/mnt/engine", usual, b"x").reason == "revoked"

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


@pytest.mark.parametrize("first", [{}, {"everywhere": require_rpc_auth}])
def test_a_second_guard_of_one_application_is_refused(
    registry: Path, verifier: Verifier, first: dict[str, Any]
) -> None:
    """The verifier that was given first would be asked, and the second never."""
    app = FastAPI()
    RPCGuard(app, verifier, **first)
    with (
        Verifier.from_yaml(registry, watch=False) as other,
        pytest.raises(ValueError, match="has an RPCGuard"),
    ):
        RPCGuard(app, other, everywhere=require_rpc_auth)


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

    @pytest.mark.parametrize("where", ["prefix", "include", "nested"])
    def test_wherever_they_are_included(self, made: tuple[FastAPI, RPCGuard], where: str) -> None:
        app, guard = made
        if where == "prefix":
            app.include_router(guard.router(prefix="/a/b"))
        elif where == "include":
            app.include_router(guard.router(), prefix="/a/b")
        else:
            router = APIRouter(prefix="/b")
            router.include_router(guard.router())
            app.include_router(router, prefix="/a")
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

    def test_a_route_that_somebody_adds_to_them_is_guarded(
        self, made: tuple[FastAPI, RPCGuard]
    ) -> None:
        app, guard = made
        router = guard.router()
        router.delete("/account/api-key")(lambda: "open")
        router.post("/admin/auth/verify")(lambda: "open")
        app.include_router(router)
        assert self._asks(app, "/account/api-key", "DELETE").reason == "missing_credentials"
        assert self._asks(app, "/admin/auth/verify").reason == "missing_credentials"
        assert self._asks(app, "/auth/challenge").json["challenge"]

    def test_in_a_mounted_application_they_are_guarded_unless_exempt(
        self, made: tuple[FastAPI, RPCGuard]
    ) -> None:
        app, guard = made
        exempt = _guarded(guard.verifier, exempt=["/a/auth/challenge"])
        sub = FastAPI()
        sub.include_router(guard.router())
        for each in (app, exempt):
            each.mount("/a", sub)
        assert self._asks(app, "/a/auth/challenge").reason == "missing_credentials"
        assert self._asks(exempt, "/a/auth/challenge").json["challenge"]

    def test_a_handshake_at_their_paths_is_guarded(self, made: tuple[FastAPI, RPCGuard]) -> None:
        app, guard = made
        app.include_router(guard.router())
        with asgi(app) as port:
            assert handshake(port, "/auth/challenge").status == 401


class TestOpenAPI:
    def test_it_is_that_of_an_application_whose_every_route_depends_on_the_guard(
        self, verifier: Verifier
    ) -> None:
        documents = []
        for whole in (True, False):
            dependencies = [] if whole else [Depends(require_rpc_auth)]
            app = FastAPI(dependencies=dependencies, servers=[{"url": "https://node.example"}])
            everywhere = {"everywhere": require_rpc_auth} if whole else {}
            RPCGuard(app, verifier, **everywhere)

            @app.post("/x/{y}")
            async def x(y: int, text: Text) -> Text:
                return text

            @app.get("/z", dependencies=[Depends(HTTPBasic())])
            async def z() -> int:
                return 1

            @app.webhooks.post("told")
            def told(text: Text) -> None:
                pass

            documents.append(app.openapi())
        whole, by_route = documents
        for document in documents:  # FastAPI lists those of the application first
            document["paths"]["/z"]["get"]["security"].sort(key=str)
        assert whole == by_route

    def test_a_narrowed_guard_says_what_it_takes(self, verifier: Verifier) -> None:
        narrow, documents = require_rpc_auth(project="engine"), []
        for options in ({"everywhere": narrow}, {}):
            app = FastAPI(dependencies=[] if options else [Depends(narrow)])
            RPCGuard(app, verifier, **options)
            app.get("/x")(lambda: 1)
            documents.append(app.openapi())
        assert documents[0] == documents[1]

    @pytest.mark.parametrize(
        ("root_path", "exempt", "path", "opened"),
        [
            ("", "/x", "/x", True),
            ("/api", "/api/x", "/x", True),
            ("/api", "/x", "/x", True),
            ("/api", "/other/x", "/x", False),
            ("", "/a b", "/a b", True),
            ("", "/users/{user}", "/users/{user}", False),
        ],
    )
    def test_an_operation_is_open_where_its_path_is_exempt(
        self, verifier: Verifier, root_path: str, exempt: str, path: str, opened: bool
    ) -> None:
        app = _guarded(verifier, exempt=[exempt])
        app.root_path = root_path
        app.get(path)(lambda: 1)
        assert ("security" not in app.openapi()["paths"][path]["get"]) is opened

    def test_what_a_path_says_of_itself_stays(self, verifier: Verifier) -> None:
        app = FastAPI()
        item = {"summary": "a path", "get": {"responses": {}}}
        app.openapi = lambda: {"paths": {"/x": item}}  # type: ignore[method-assign]
        path = _guarded(verifier, app).openapi()["paths"]["/x"]
        assert path["summary"] == "a path"
        assert path["get"]["security"]

    def test_an_application_without_routes_has_a_document(self, verifier: Verifier) -> None:
        app = _guarded(verifier)
        assert app.openapi()["paths"] == {}

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
@pytest.mark.parametrize("credential", [cred.usual, lambda: cred.nodius(b"x")])
def test_an_answered_request_leaves_nothing_to_the_garbage_collector(
    verifier: Verifier, credential: Any, known: bool
) -> None:
    class Marker:
        pass

    app = _guarded(verifier)
    _add_echo(app)
    path = "/engine" if credential is cred.usual else "/solana"
    headers = credential()
    if known:
        assert _post(app, path, headers, b"x").status == 200
        headers = headers if credential is cred.usual else credential()
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


def test_an_application_that_has_begun_is_left_as_it_is(verifier: Verifier) -> None:
    app = FastAPI()
    app.get("/x")(lambda: "as it was")
    assert _get(app, "/x").json == "as it was"
    with pytest.raises(RuntimeError, match="Cannot add middleware"):
        _guarded(verifier, app)
    assert _get(app, "/x").json == "as it was"


def test_over_the_wire_a_refusal_and_an_answer(registry: Path) -> None:
    app = _guarded(str(registry))
    _add_echo(app)
    with asgi(app) as port:
        assert request(port, "POST", "/v1/", [], b"x").reason == "missing_credentials"
        for _ in range(2):
            assert request(port, "POST", "/v1/", cred.meganode(), b"x").json == "bsc x"


class TestKnownAlready:
    """The short way, of a token that was seen before: at a path that can hold no key, with a Host."""

    @pytest.fixture
    def short(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Whether each request so far took the short way."""
        taken: list[bool] = []
        kept = _asgi_body.Body
        known, aknown = kept.known, kept.aknown

        def noting(body: Any, scope: Any, project: str | None) -> Principal | None:
            principal = known(body, scope, project)
            taken.append(principal is not None)
            return principal

        async def anoting(body: Any, scope: Any, project: str | None) -> Principal | None:
            principal = await aknown(body, scope, project)
            taken.append(principal is not None)
            return principal

        monkeypatch.setattr(kept, "known", noting)
        monkeypatch.setattr(kept, "aknown", anoting)
        return taken

    @pytest.fixture
    def token(self) -> Headers:
        return cred.usual()

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
