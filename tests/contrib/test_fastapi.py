"""What is FastAPI's own: the dependency's forms, OpenAPI, body models, scopes of other servers."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Security, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import HTTPConnection

from contrib import credentials as cred
from contrib import fastapi_routes
from contrib.asgi_driver import Outcome, body_messages, call
from contrib.servers import asgi
from contrib.wire import chunked, connection, head, read_answer, request
from rpcguard import AuthError, Principal, Verifier
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth

Caller = Annotated[Principal, Depends(require_rpc_auth)]
CALL = b'{"jsonrpc":"2.0","id":7,"method":"getSlot"}'


@pytest.fixture(scope="module")
def verifier(registry: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(registry, watch=False) as opened:
        yield opened


@pytest.fixture
def app(verifier: Verifier) -> FastAPI:
    app = FastAPI()
    RPCGuard(app, verifier)
    return app


def _add_echo(app: FastAPI, caller: Any = require_rpc_auth) -> None:
    @app.post("/{path:path}")
    async def echo(request: Request, principal: Principal = Depends(caller)) -> str:  # noqa: B008, FAST002
        assert request.state.principal is principal
        return f"{principal.project} {(await request.body()).decode()}"


def _post(app: Any, path: str, headers: Any, *chunks: bytes, **scope: Any) -> Outcome:
    return call(app, path, headers, body_messages(*(chunks or (b"",))), **scope)


class TestDependency:
    def test_equal_narrowings_are_one_object(self) -> None:
        one = require_rpc_auth(schemes=["jwt", "signature"], project="p")
        assert one is require_rpc_auth(project="p", schemes=("signature", "jwt"))
        assert one is not require_rpc_auth(schemes=["jwt"], project="p")
        assert require_rpc_auth(project="p")(schemes=["signature", "jwt"]) is one

    def test_called_with_nothing_it_is_itself(self) -> None:
        assert require_rpc_auth() is require_rpc_auth

    def test_a_kind_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ValueError, match="schemes must be"):
            require_rpc_auth(schemes=["wallet"])

    def test_it_can_be_overridden(self, app: FastAPI) -> None:
        _add_echo(app)
        somebody = Principal("me", "test", "jwt")

        @app.get("/who")
        def who(caller: Caller) -> str:
            return caller.subject

        app.dependency_overrides[require_rpc_auth] = lambda: somebody
        assert call(app, "/who", method="GET").json == "me"

    def test_a_narrowing_can_be_overridden(self, app: FastAPI) -> None:
        narrow = require_rpc_auth(schemes=["signature"])

        @app.get("/who")
        def who(caller: Principal = Depends(narrow)) -> str:  # noqa: B008, FAST002
            return caller.subject

        again = require_rpc_auth(schemes=["signature"])
        app.dependency_overrides[again] = lambda: Principal("me", "test", "jwt")
        assert call(app, "/who", method="GET").json == "me"

    def test_a_narrowing_takes_only_its_kinds(self, app: FastAPI) -> None:
        _add_echo(app, require_rpc_auth(schemes=["signature"]))
        assert _post(app, "/v1/", cred.meganode()).reason == "missing_credentials"
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"

    def test_a_narrowing_names_its_project_whatever_the_path(self, app: FastAPI) -> None:
        _add_echo(app, require_rpc_auth(project="solana"))
        assert _post(app, "/v1/", cred.meganode()).status == 401
        assert _post(app, "/v1/", cred.nodius(b"x"), b"x").json == "solana x"

    def test_guards_of_application_router_and_route_spend_one_nonce(
        self, verifier: Verifier
    ) -> None:
        app = FastAPI(dependencies=[Depends(require_rpc_auth)])
        RPCGuard(app, verifier)
        router = APIRouter(dependencies=[Security(require_rpc_auth, scopes=["a"])])

        @router.post("/solana")
        async def handler(
            caller: Annotated[
                Principal, Security(require_rpc_auth(schemes=["signature"]), scopes=["b"])
            ],
        ) -> str:
            return caller.project

        app.include_router(router)
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana"

    def test_query_parameters_are_not_its_arguments(self, app: FastAPI) -> None:
        _add_echo(app)
        query = b"project=solana&schemes=signature&connection=x&self=y"
        assert _post(app, "/v1/", cred.meganode(), query_string=query).json == "bsc "

    def test_without_rpcguard_it_says_so_and_lets_nobody_in(self) -> None:
        app = FastAPI()
        _add_echo(app)
        with pytest.raises(RuntimeError, match="needs RPCGuard"):
            _post(app, "/v1/", cred.meganode())

    def test_its_repr_is_for_people(self) -> None:
        assert repr(require_rpc_auth(project="p", schemes=["jwt"])) == "<rpcguard-jwt-at-p>"


class TestOpenAPI:
    def _document(self, app: FastAPI) -> Any:
        return call(app, "/openapi.json", method="GET").json

    def test_nothing_of_ours_is_a_parameter(self, app: FastAPI) -> None:
        _add_echo(app)

        @app.get("/x")
        async def x(
            caller: Annotated[Principal, Depends(require_rpc_auth(project="solana"))], q: int
        ) -> int:
            return q

        paths = self._document(app)["paths"]
        assert [p["name"] for p in paths["/x"]["get"]["parameters"]] == ["q"]
        assert "parameters" not in paths["/{path}"]["post"]

    def test_a_guarded_operation_lists_the_schemes_of_every_project(
        self, app: FastAPI, verifier: Verifier
    ) -> None:
        _add_echo(app)
        app.get("/open")(lambda: 1)
        document = self._document(app)
        schemes = document["components"]["securitySchemes"]
        assert not any(name.startswith("rpcguard") for name in schemes)
        security = document["paths"]["/{path}"]["post"]["security"]
        assert "security" not in document["paths"]["/open"]["get"]
        assert {name for entry in security for name in entry} == set(schemes)
        kinds = {
            (scheme["type"], scheme.get("scheme") or scheme.get("name"))
            for scheme in schemes.values()
        }
        assert {("http", "bearer"), ("apiKey", "x-signature"), ("apiKey", "x-auth-key")} <= kinds

    def test_headers_that_belong_together_are_one_alternative(self, app: FastAPI) -> None:
        _add_echo(app, require_rpc_auth(schemes=["signature"], project="solana"))
        document = self._document(app)
        schemes = document["components"]["securitySchemes"]
        names = [
            {schemes[name]["name"] for name in entry}
            for entry in document["paths"]["/{path}"]["post"]["security"]
        ]
        assert any(
            {"x-pubkey", "x-signature", "x-timestamp", "x-nonce"} <= alternative
            for alternative in names
        )
        assert all(scheme["type"] == "apiKey" for scheme in schemes.values())

    def test_a_credential_that_openapi_cannot_say_is_left_out(self, app: FastAPI) -> None:
        _add_echo(app, require_rpc_auth(schemes=["api_key"], project="bsc"))
        document = self._document(app)
        assert document["components"]["securitySchemes"] == {}
        assert "security" not in document["paths"]["/{path}"]["post"]

    def test_the_applications_own_schemes_stay(self, app: FastAPI) -> None:
        @app.get(
            "/x", dependencies=[Depends(HTTPBasic()), Depends(require_rpc_auth(project="engine"))]
        )
        async def x() -> int:
            return 1

        document = self._document(app)
        assert {"HTTPBasic": []} in document["paths"]["/x"]["get"]["security"]
        assert "HTTPBasic" in document["components"]["securitySchemes"]

    def test_making_it_twice_gives_it_twice(self, app: FastAPI) -> None:
        _add_echo(app)
        assert self._document(app) == self._document(app)

    def test_without_guarded_routes_it_is_as_it_was(self, app: FastAPI) -> None:
        app.get("/open")(lambda: 1)
        assert "components" not in self._document(app)


class Rpc(BaseModel):
    text: str


class TestBodyModel:
    @pytest.fixture
    def app(self, verifier: Verifier) -> FastAPI:
        app, sub = FastAPI(), FastAPI()
        RPCGuard(app, verifier)
        app.mount("/mnt", sub)
        for each in (sub, app):

            @each.post("/{path:path}")
            async def model(body: Rpc, caller: Caller, request: Request) -> list[Any]:
                return [body.text, len(await request.body())]

        return app

    def _headers(self, headers: Any) -> Any:
        return [*headers, ("Content-Type", "application/json")]

    def _body(self, size: int) -> bytes:
        return b'{"text":"' + b"x" * (size - 11) + b'"}'

    @pytest.mark.parametrize("prefix", ["", "/mnt"])
    def test_the_guard_sees_the_body_that_fastapi_has_read(self, app: FastAPI, prefix: str) -> None:
        body = self._body(100)
        headers = self._headers(cred.nodius(body))
        assert _post(app, f"{prefix}/solana", headers, body[:5], body[5:]).json == ["x" * 89, 100]
        refused = _post(app, f"{prefix}/solana", self._headers(cred.nodius(b"other")), body)
        assert refused.reason == "invalid_credentials"

    @pytest.mark.parametrize("prefix", ["", "/mnt"])
    def test_a_body_above_the_limit_that_the_guard_needs_is_413(
        self, app: FastAPI, prefix: str
    ) -> None:
        body = self._body(cred.MAX_BODY + 1)
        headers = self._headers(cred.nodius(body))
        outcome = _post(app, f"{prefix}/solana", headers, body[:1000], body[1000:], b"dropped")
        assert (outcome.status, outcome.reason) == (413, "body_too_large")
        assert outcome.json["error"]["data"]["project"] == "solana"
        assert outcome.types == ["http.response.start", *["http.response.body"] * 2]
        assert [each.get("more_body", False) for each in outcome.sent[1:]] == [True, False]

    @pytest.mark.parametrize("digits", [20, 5000])
    def test_a_declared_length_is_a_number_of_any_size(self, app: FastAPI, digits: int) -> None:
        _add_echo(app)
        headers = [*cred.nodius(b""), ("Content-Length", "9" * digits)]
        assert _post(app, "/solana", headers).reason == "body_too_large"

    def test_a_body_above_the_limit_with_a_bad_proof_has_the_proofs_refusal(
        self, app: FastAPI
    ) -> None:
        headers = [pair for pair in cred.nodius(b"") if pair[0] != "X-Nonce"]
        outcome = _post(app, "/solana", self._headers(headers), self._body(cred.MAX_BODY + 1))
        assert (outcome.status, outcome.reason) == (401, "malformed_credentials")

    def test_a_body_above_the_limit_that_the_guard_does_not_need_passes(self, app: FastAPI) -> None:
        body = self._body(cred.MAX_BODY + 1)
        outcome = _post(app, "/v1/", self._headers(cred.meganode()), body)
        assert outcome.json[1] == len(body)
        assert _post(app, "/v1/", self._headers([]), body).reason == "missing_credentials"

    def test_an_open_route_reads_what_it_likes_whatever_the_policy_of_its_path(
        self, app: FastAPI
    ) -> None:
        sub = FastAPI()
        app.mount("/limited", sub)
        app.router.routes.insert(0, app.router.routes.pop())

        @sub.post("/open")
        async def upload(request: Request) -> int:
            return len(await request.body())

        body = bytes(cred.MAX_BODY + 1)
        foreign = [("Authorization", "Bearer another-systems")]
        for headers in ([], foreign, cred.nodius(b"")):
            assert _post(app, "/limited/open", headers, body).json == len(body)

    def test_malformed_json_may_be_422_before_the_guard(self, app: FastAPI) -> None:
        assert _post(app, "/v1/", self._headers([]), b"{").status == 422

    def test_over_the_wire_the_413_comes_before_the_rest_of_the_body(self, registry: Path) -> None:
        headers = self._headers(cred.nodius(b""))
        with asgi(fastapi_routes.create(str(registry))) as port, connection(port) as sock:
            coding = ("Transfer-Encoding", "chunked")
            unfinished = chunked(bytes(cred.MAX_BODY + 1), 65536).removesuffix(b"0\r\n\r\n")
            sock.sendall(head("POST", "/model/solana", [*headers, coding]) + unfinished)
            answer = read_answer(sock)
            assert (answer.status, answer.reason) == (413, "body_too_large")


class TestGarbage:
    @pytest.mark.parametrize("known", [False, True])
    @pytest.mark.parametrize("credential", [cred.usual, lambda: cred.nodius(b"x")])
    def test_an_answered_request_leaves_nothing_to_the_garbage_collector(
        self, app: FastAPI, credential: Any, known: bool
    ) -> None:
        """A server would collect it several times per thousand requests, in the middle of one."""

        class Marker:
            pass

        _add_echo(app)
        headers = credential()
        path = "/engine" if credential is cred.usual else "/solana"
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


class TestMiddleware:
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
            RPCGuard(app, verifier)
        app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
        if not outside:
            RPCGuard(app, verifier)
        _add_echo(app)
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"

    def test_a_middleware_that_rewrites_the_path_alone_lets_nobody_in(
        self, verifier: Verifier
    ) -> None:
        app = FastAPI()
        RPCGuard(app, verifier)
        _add_echo(app)

        async def rewriting(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "path": "/v1/"}, receive, send)

        assert _post(rewriting, "/evm", cred.meganode()).reason == "invalid_target"

    def test_an_applications_own_handler_for_refusals_stays(self, verifier: Verifier) -> None:
        app = FastAPI()
        app.add_exception_handler(AuthError, lambda *_: PlainTextResponse("mine", 418))
        RPCGuard(app, verifier)
        _add_echo(app)
        assert _post(app, "/v1/", []).status == 418

    def test_a_refusal_that_the_application_raises_itself_is_answered(self, app: FastAPI) -> None:
        @app.get("/x")
        async def x() -> None:
            raise AuthError("forbidden_method")

        assert call(app, "/x", method="GET").reason == "forbidden_method"

    def test_a_guard_after_the_body_is_gone_says_so(self, app: FastAPI) -> None:
        @app.post("/v1/")
        async def late(request: Request, caller: Caller) -> None:
            async for _ in request.stream():
                pass
            await require_rpc_auth(project="solana")(request)

        with pytest.raises(RuntimeError, match="consumed"):
            _post(app, "/v1/", [*cred.meganode(), *cred.nodius(b"x")], b"x", b"y")

    def test_a_middleware_may_ask_too(self, verifier: Verifier) -> None:
        app, seen = FastAPI(), []

        class Asking:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                seen.append(await require_rpc_auth(HTTPConnection(scope)))
                await self.app(scope, receive, send)

        app.add_middleware(Asking)
        RPCGuard(app, verifier)
        _add_echo(app)
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"
        assert [principal.project for principal in seen] == ["solana"]

    def test_an_application_may_go_on_without_a_principal(self, app: FastAPI) -> None:
        async def optional(connection: HTTPConnection) -> Principal | None:
            try:
                return await require_rpc_auth(connection)
            except AuthError:
                return None

        @app.post("/solana")
        async def handler(
            request: Request,
            caller: Principal | None = Depends(optional),  # noqa: B008, FAST002
        ) -> str:
            data = await request.body()
            assert await request.is_disconnected()
            return f"{caller and caller.project} {data.decode()}"

        assert _post(app, "/solana", cred.nodius(b"x"), b"x").json == "solana x"
        assert _post(app, "/solana", cred.nodius(b"y"), b"x", b"z").json == "None xz"


class TestScope:
    @pytest.fixture
    def app(self, app: FastAPI) -> FastAPI:
        _add_echo(app)
        return app

    def test_without_a_raw_path_a_plain_path_is_enough(self, app: FastAPI) -> None:
        headers = cred.nodius(b"x", target="/solana/x?a=b")
        outcome = _post(app, "/solana/x", headers, b"x", raw_path=..., query_string=b"a=b")
        assert outcome.json == "solana x"

    @pytest.mark.parametrize("path", ["/solana/a b", "/solana/\u00e9", "/solana/a:b"])
    def test_without_a_raw_path_one_with_two_spellings_is_refused(
        self, app: FastAPI, path: str
    ) -> None:
        outcome = _post(app, path, cred.nodius(b"x"), b"x", raw_path=...)
        assert outcome.reason == "invalid_target"

    def test_a_query_in_the_raw_path_is_cut_off(self, app: FastAPI) -> None:
        headers = cred.nodius(b"x", target="/solana?a")
        scope = {"raw_path": b"/solana?a", "query_string": b"a"}
        assert _post(app, "/solana", headers, b"x", **scope).json == "solana x"

    def test_a_server_may_keep_its_prefix_out_of_the_path(self, app: FastAPI) -> None:
        headers = cred.nodius(b"x", target="/api/solana")
        scope = {"raw_path": b"/api/solana", "root_path": "/api"}
        assert _post(app, "/solana", headers, b"x", **scope).json == "solana x"

    def test_a_client_that_leaves_is_no_verdict_and_no_hang(self, app: FastAPI) -> None:
        headers = cred.nodius(b"xy")
        part = [{"type": "http.request", "body": b"x", "more_body": True}]
        assert call(app, "/solana", headers, part).status == 400
        assert _post(app, "/solana", headers, b"xy").json == "solana xy"

    def test_G7_an_unknown_kind_of_scope_reaches_no_handler(self, app: FastAPI) -> None:
        with pytest.raises(AssertionError):
            call(app, "/v1/", type="webtransport")

    @pytest.mark.parametrize("extensions", [{}, ...])
    def test_without_denial_responses_a_websocket_is_closed_before_it_is_accepted(
        self, app: FastAPI, extensions: Any
    ) -> None:
        @app.websocket("/ws/v1/")
        async def ws(websocket: WebSocket, caller: Caller) -> None:
            raise AssertionError

        outcome = call(
            app, "/ws/v1/", type="websocket", scheme="wss", method=..., extensions=extensions
        )
        assert outcome.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]

    def test_a_refusal_in_an_open_websocket_closes_it(self, app: FastAPI) -> None:
        @app.websocket("/ws/v1/")
        async def ws(websocket: WebSocket) -> None:
            await websocket.accept()
            raise AuthError("revoked")

        outcome = call(
            app,
            "/ws/v1/",
            messages=[{"type": "websocket.connect"}],
            type="websocket",
            method=...,
            extensions={"websocket.http.response": {}},
        )
        assert outcome.types == ["websocket.accept", "websocket.close"]


class TestRootPath:
    @pytest.mark.parametrize("where", ["server", "application"])
    def test_the_prefix_of_the_server_counts(self, verifier: Verifier, where: str) -> None:
        app = FastAPI()
        app.root_path = "/api" if where == "application" else ""
        RPCGuard(app, verifier)
        _add_echo(app)
        options = {"root_path": "/api"} if where == "server" else {}
        sent = "/solana/x" if where == "server" else "/api/solana/x"
        with asgi(app, **options) as port:
            headers = cred.nodius(b"x", target="/api/solana/x")
            assert request(port, "POST", sent, headers, b"x").json == "solana x"
            headers = cred.nodius(b"x", target="/solana/x")
            assert request(port, "POST", sent, headers, b"x").status == 401


class TestLifespan:
    def _run(self, app: FastAPI, inside: Any = None) -> list[str]:
        sent: list[str] = []

        async def session() -> None:
            queue: asyncio.Queue[Any] = asyncio.Queue()
            await queue.put({"type": "lifespan.startup"})

            async def send(message: Any) -> None:
                sent.append(message["type"])
                if message["type"] == "lifespan.startup.complete":
                    if inside is not None:
                        await inside()
                    await queue.put({"type": "lifespan.shutdown"})

            await app({"type": "lifespan", "state": {}}, queue.get, send)

        asyncio.run(session())
        return sent

    def test_the_applications_own_lifespan_runs_and_the_verifier_reopens(
        self, registry: Path
    ) -> None:
        seen: list[str] = []

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, int]]:
            seen.append("up")
            yield {"x": 1}
            seen.append("down")

        app = FastAPI(lifespan=lifespan)
        guard = RPCGuard(app, registry)
        first = guard.verifier
        complete = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert self._run(app) == complete
        assert self._run(app) == complete
        assert seen == ["up", "down"] * 2
        assert guard.verifier is not first

    def test_a_verifier_that_was_given_stays_open(self, verifier: Verifier) -> None:
        app = FastAPI()
        guard = RPCGuard(app, verifier)
        _add_echo(app)
        self._run(app)
        assert guard.verifier is verifier
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").status == 200

    def test_a_request_during_the_second_life_is_served(self, registry: Path) -> None:
        app = FastAPI()
        guard = RPCGuard(app, registry)
        _add_echo(app)
        self._run(app)
        outcomes: list[Any] = []

        async def inside() -> None:
            outcomes.append(guard.verifier.registry.projects["bsc"].name)

        self._run(app, inside)
        assert outcomes == ["bsc"]


def test_json_of_a_refusal_is_json(app: FastAPI) -> None:
    _add_echo(app)
    assert json.loads(_post(app, "/v1/", [], CALL).body)["id"] is None
