"""
The short way of the adapters, which ask `Verifier.known` first, and the long one, which makes a
`Request`: the same answer to every request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from contrib import aiohttp_routes, fastapi_routes, flask_routes
from contrib import credentials as cred
from contrib.servers import aio, asgi, wsgi
from contrib.wire import Answer, Headers, request
from rpcguard import Principal, Verifier
from rpcguard.contrib import _aiohttp_request, _asgi_request, _wsgi, aiohttp, fastapi, flask

CALL = b'{"jsonrpc":"2.0","id":7,"method":"eth_call"}'
TARGET = "/engine"  # exactly: in this registry, what follows a prefix may be a key
MADE_AT = 1_800_000_000


class Clock:
    """The verifiers' clock."""

    def __init__(self) -> None:
        self.now = float(MADE_AT)

    def __call__(self) -> float:
        return self.now


class Careful(Verifier):
    """Judges every request the long way, as any subclass does that judges by itself."""

    def verify(self, *args: Any, **options: Any) -> Principal:
        return super().verify(*args, **options)

    async def averify(self, *args: Any, **options: Any) -> Principal:
        return await super().averify(*args, **options)


@dataclass(frozen=True)
class Ways:
    """Two servers of one application: the first takes the short way where it can."""

    ports: tuple[int, int]
    verifiers: tuple[Verifier, Verifier]
    clock: Clock

    def ask(self, method: str, target: str, headers: Headers, body: bytes | None = CALL) -> Answer:
        """Return the one answer of both."""
        short, long = (request(port, method, target, headers, body) for port in self.ports)
        assert _seen(short) == _seen(long)
        return short


def _seen(answer: Answer) -> tuple[int, Headers, bytes]:
    return (
        answer.status,
        [pair for pair in answer.headers if pair[0].lower() != "date"],
        answer.body,
    )


SERVERS: dict[str, Any] = {
    "fastapi": lambda verifier: asgi(fastapi_routes.create(verifier)),
    "fastapi-whole": lambda verifier: asgi(fastapi_routes.create(verifier, whole=True)),
    "flask": lambda verifier: wsgi(flask_routes.create(verifier)),
    "aiohttp": lambda verifier: aio(lambda: aiohttp_routes.create(verifier)),
}


@contextmanager
def _serving(framework: str, registry: Path, backend: str | None = None) -> Iterator[Ways]:
    clock, options = Clock(), {"watch": False, "backend": backend}
    with ExitStack() as stack:
        verifiers = tuple(
            stack.enter_context(kind.from_yaml(registry, clock=clock, **options))
            for kind in (Verifier, Careful)
        )
        ports = tuple(stack.enter_context(SERVERS[framework](each)) for each in verifiers)
        yield Ways(ports, verifiers, clock)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=SERVERS)
def ways(request: pytest.FixtureRequest, registry: Path) -> Iterator[Ways]:
    with _serving(request.param, registry) as served:
        yield served


@pytest.fixture(params=SERVERS)
def own_ways(request: pytest.FixtureRequest, registry: Path) -> Iterator[Ways]:
    """Some of a test's own, which may end them."""
    with _serving(request.param, registry) as served:
        yield served


def _token(**claims: Any) -> str:
    return jwt.encode({"iat": MADE_AT, **claims}, cred.ENGINE_SECRET, "HS256")


TOKEN = _token(exp=MADE_AT + 50)
GOOD: Headers = [("Authorization", f"Bearer {TOKEN}")]
MEGANODE: Headers = [
    (
        "Authorization",
        f"Bearer {jwt.encode({'exp': MADE_AT + 50}, cred.MEGANODE_SECRET, 'HS256')}",
    )
]
FLIPPED = TOKEN[:-2] + ("A" if TOKEN[-2] != "A" else "B") + TOKEN[-1]


def _with(*fields: tuple[str, str]) -> Headers:
    return [*GOOD, *fields]


# What comes after the same target was asked for with the good token: method, target, fields
CASES: dict[str, tuple[str, str, Headers]] = {
    "the same again": ("POST", TARGET, GOOD),
    "another method": ("PUT", TARGET, GOOD),
    "without a body": ("HEAD", TARGET, GOOD),
    "no credential": ("POST", TARGET, []),
    "a field name in other letters": ("POST", TARGET, [("aUTHORIZATION", GOOD[0][1])]),
    "a scheme in other letters": ("POST", TARGET, [("Authorization", f"bearer {TOKEN}")]),
    "two spaces": ("POST", TARGET, [("Authorization", f"Bearer  {TOKEN}")]),
    "a blank behind": ("POST", TARGET, [("Authorization", f"Bearer {TOKEN} ")]),
    "a word behind": ("POST", TARGET, [("Authorization", f"Bearer {TOKEN} x")]),
    "padding": ("POST", TARGET, [("Authorization", f"Bearer {TOKEN}=")]),
    "a letter of another alphabet": ("POST", TARGET, [("Authorization", f"Bearer {TOKEN}\xe9")]),
    "another signature": ("POST", TARGET, [("Authorization", f"Bearer {FLIPPED}")]),
    "no signature": ("POST", TARGET, [("Authorization", f"Bearer {TOKEN.rpartition('.')[0]}.")]),
    "the field twice": ("POST", TARGET, [*GOOD, *GOOD]),
    "the field twice, in other letters": ("POST", TARGET, _with(("authorization", GOOD[0][1]))),
    "and an empty one": ("POST", TARGET, _with(("Authorization", ""))),
    "and another scheme": ("POST", TARGET, _with(("Authorization", "Basic eDp5"))),
    "two tokens in one field": (
        *("POST", TARGET),
        [("Authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")],
    ),
    "another token": ("POST", TARGET, [("Authorization", f"Bearer {_token(n=1)}")]),
    "an expired token": ("POST", TARGET, [("Authorization", f"Bearer {_token(exp=MADE_AT)}")]),
    "another host": ("POST", TARGET, _with(("Host", "other.example"))),
    "the host in other letters": ("POST", TARGET, _with(("Host", "NODE.example"))),
    "the host with a port": ("POST", TARGET, _with(("Host", "node.example:80"))),
    "no host's name": ("POST", TARGET, _with(("Host", "node.example,node.example"))),
    "an empty host": ("POST", TARGET, _with(("Host", ""))),
    "the host twice": ("POST", TARGET, _with(("Host", "node.example"), ("host", "node.example"))),
    "a query": ("POST", f"{TARGET}?a=1", GOOD),
    "an empty query": ("POST", f"{TARGET}?", GOOD),
    "a slash behind": ("POST", f"{TARGET}/", GOOD),
    "an encoded letter": ("POST", "/%65ngine", GOOD),
    "an encoded blank": ("POST", f"{TARGET}%20", GOOD),
    "two slashes": ("POST", f"/{TARGET}", GOOD),
    "a dot segment": ("POST", f"/x/..{TARGET}", GOOD),
    "an encoded slash": ("POST", f"{TARGET}%2F", GOOD),
    "an absolute form": ("POST", f"http://node.example{TARGET}", GOOD),
    "another project": ("POST", "/evm", GOOD),
    "a project that may read more": ("POST", "/solana", GOOD),
    "a project with keys in the path": ("POST", "/v1/", MEGANODE),
    "no project": ("POST", "/nowhere", GOOD),
    "a compressed body": ("POST", TARGET, _with(("Content-Encoding", "gzip"))),
    "an upgrade": ("POST", TARGET, _with(("Upgrade", "other"))),
    "a subprotocol": ("POST", TARGET, _with(("Sec-WebSocket-Protocol", "auth.x"))),
    "a forwarded scheme": ("POST", TARGET, _with(("X-Forwarded-Proto", "http"))),
    "a wallet's field": ("POST", TARGET, _with(("X-Pubkey", cred.PUBKEY))),
    "a key's field": ("POST", TARGET, _with(("x-auth-key", cred.AUTH_KEY))),
    "HTTPS alone": ("POST", "/secure", MEGANODE),
    "an address": ("POST", "/local", MEGANODE),
    "a user agent": ("POST", "/browsers", MEGANODE),
    "a method": ("POST", "/limited", MEGANODE),
    "another scheme alone": ("POST", f"/narrow{TARGET}", GOOD),
    "two guards": ("POST", f"/twice{TARGET}", GOOD),
    "a mounted application": ("POST", f"/mnt{TARGET}", GOOD),
}


@pytest.mark.parametrize("case", CASES)
def test_both_ways_give_the_same_answer(ways: Ways, case: str) -> None:
    method, target, headers = CASES[case]
    assert ways.ask("POST", TARGET, GOOD).status == 200
    first, again = (ways.ask(method, target, headers) for _ in range(2))
    assert first.status == again.status
    assert ways.ask("POST", TARGET, GOOD).status == 200


def test_a_token_ends_in_time(own_ways: Ways) -> None:
    for _ in range(2):
        assert own_ways.ask("POST", TARGET, GOOD).status == 200
    for now, status in ((MADE_AT + 49.9, 200), (MADE_AT + 50, 401), (MADE_AT - 61, 401)):
        own_ways.clock.now = now
        assert own_ways.ask("POST", TARGET, GOOD).status == status


def test_a_token_that_is_revoked_is_refused_at_once(own_ways: Ways) -> None:
    assert own_ways.ask("POST", TARGET, GOOD).status == 200
    for verifier in own_ways.verifiers:
        verifier.revoke("engine", token=TOKEN)
    assert own_ways.ask("POST", TARGET, GOOD).reason == "revoked"


def test_a_backend_that_cannot_answer_lets_nobody_in(own_ways: Ways) -> None:
    assert own_ways.ask("POST", TARGET, GOOD).status == 200
    for verifier in own_ways.verifiers:
        verifier._backend.close()
    assert own_ways.ask("POST", TARGET, GOOD).reason == "backend_unavailable"


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("framework", SERVERS)
def test_no_request_is_made_of_what_is_known(
    framework: str,
    backend: str,
    registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = None if backend == "memory" else f"sqlite:///{tmp_path}/known.db"
    with _serving(framework, registry, url) as served:
        assert served.ask("POST", TARGET, GOOD).status == 200
        made: list[object] = []
        for adapter in (fastapi, flask, aiohttp):
            real = adapter.request_of

            def told(*args: Any, _real: Any = real, **options: Any) -> Any:
                made.append(args)
                return _real(*args, **options)

            monkeypatch.setattr(adapter, "request_of", told)
        assert served.ask("POST", TARGET, GOOD).status == 200
        assert len(made) == 1, "the long way alone makes one"


def test_what_another_middleware_of_aiohttp_keeps_in_a_request_is_no_earlier_verdict(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = web.RequestKey("another", str)
    made: list[object] = []

    @web.middleware
    async def keeping(request: web.Request, handler: Any) -> web.StreamResponse:
        request[key] = "kept"
        answer: web.StreamResponse = await handler(request)
        return answer

    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request[key] + " " + aiohttp.principal_of(request).project)

    with Verifier.from_yaml(registry, clock=Clock(), watch=False) as verifier:

        def app() -> web.Application:
            made_app = web.Application(middlewares=[keeping, aiohttp.rpc_auth_middleware(verifier)])
            made_app.router.add_post(TARGET, who)
            return made_app

        with aio(app) as port:
            assert request(port, "POST", TARGET, GOOD).body == b"kept engine"
            monkeypatch.setattr(aiohttp, "request_of", made.append)
            assert request(port, "POST", TARGET, GOOD).body == b"kept engine"
    assert not made


VALUES = ("/v1/", "a.example", b"Bearer x")


def _of_asgi(headers: Headers, **more: Any) -> object:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"path": "/v1/", "raw_path": b"/v1/", "query_string": b"", "headers": raw, **more}
    return _asgi_request.usual({name: value for name, value in scope.items() if value is not None})


def _of_aiohttp(headers: Headers) -> object:
    return _aiohttp_request.usual(make_mocked_request("POST", "/v1/", CIMultiDict(headers)))


@pytest.mark.parametrize("values_of", [_of_asgi, _of_aiohttp])
class TestValues:
    def test_each_field_once_is_usual(self, values_of: Any) -> None:
        assert values_of([("host", "a.example"), ("authorization", "Bearer x")]) == VALUES
        headers = [("accept", "*/*"), ("HOST", "a.example"), ("AuthorizatioN", "Bearer x")]
        assert values_of([*headers, ("misauthorized", "y"), ("hose", "z")]) == VALUES

    @pytest.mark.parametrize(
        "fields",
        ["", "host", "authorization", "host host authorization", "Host authorization host"]
        + ["host authorization authorization", "authorization host Authorization"],
    )
    def test_a_field_that_is_missing_or_doubled_is_not(self, values_of: Any, fields: str) -> None:
        assert values_of([(name, "x") for name in fields.split()]) is None


@pytest.mark.parametrize(
    "more",
    [
        {"raw_path": None},
        {"raw_path": b"/v1"},
        {"raw_path": b"/%761/"},
        {"path": "/v%31/", "raw_path": b"/v%31/"},
        {"path": "/é", "raw_path": "/é".encode()},
        {"query_string": b"a=1"},
    ],
    ids=str,
)
def test_a_target_that_two_may_read_differently_is_not_usual(more: dict[str, Any]) -> None:
    assert _of_asgi([("host", "a.example"), ("authorization", "x")], **more) is None


def test_a_scope_without_a_query_has_none() -> None:
    headers = [("host", "a.example"), ("authorization", "Bearer x")]
    assert _of_asgi(headers, query_string=None) == VALUES


@pytest.mark.parametrize("missing", ["HTTP_HOST", "HTTP_AUTHORIZATION"])
def test_an_environment_without_one_of_the_fields_is_not_usual(missing: str) -> None:
    environ = {
        "PATH_INFO": "/v1/",
        "RAW_URI": "/v1/",
        "HTTP_HOST": "a.example",
        "HTTP_AUTHORIZATION": "Bearer x",
    }
    assert _wsgi.usual(environ) == VALUES
    del environ[missing]
    assert _wsgi.usual(environ) is None
