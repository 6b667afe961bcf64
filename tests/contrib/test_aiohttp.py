"""What is aiohttp's own: exemptions, sub-applications, its own limits, bodies touched first."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from contrib import credentials as cred
from contrib.servers import aio
from contrib.wire import HANDSHAKE, Answer, chunked_request, request
from rpcguard import AuthError, ConfigError, Verifier
from rpcguard.contrib.aiohttp import principal_of, rpc_auth_middleware


@pytest.fixture(scope="module")
def verifier(registry: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(registry, watch=False) as opened:
        yield opened


async def _open(_: web.Request) -> web.Response:
    return web.Response(text="open")


async def _secret(request: web.Request) -> web.Response:
    return web.Response(text="secret")


async def _echo(request: web.Request) -> web.Response:
    data = await request.read()
    return web.Response(body=principal_of(request).project.encode() + b" " + data)


def _serve(handler: Any, *middlewares: Any, **options: Any) -> Any:
    def create() -> web.Application:
        app = web.Application(middlewares=middlewares, **options)
        app.router.add_route("*", "/{path:.*}", handler)
        return app

    return aio(create)


@pytest.mark.parametrize("target", ["/mnt/solana", "/mnt/v1/"])
@pytest.mark.parametrize("guards", ["one", "two"])
def test_guards_above_each_other_spend_one_credential(
    verifier: Verifier, guards: str, target: str
) -> None:
    outer = rpc_auth_middleware(verifier)
    inner = rpc_auth_middleware(verifier) if guards == "two" else outer

    def create() -> web.Application:
        app = web.Application(middlewares=[outer, inner])
        sub = web.Application(middlewares=[inner])
        sub.router.add_post("/{path:.*}", _echo)
        app.add_subapp("/mnt", sub)
        return app

    with aio(create) as port:
        for _ in range(2):  # and again when its place is known
            headers = cred.nodius(b"x") if "solana" in target else cred.meganode()
            assert request(port, "POST", target, headers, b"x").status == 200


@pytest.mark.parametrize("guards", ["one", "two"])
@pytest.mark.parametrize("between", ["the token is revoked", "a token for others is put in"])
def test_guards_above_each_other_give_one_verdict(
    registry: Path, guards: str, between: str
) -> None:
    others = cred.meganode()[0]  # of another project

    @web.middleware
    async def changing(request: web.Request, handler: Any) -> web.StreamResponse:
        if between == "the token is revoked":
            bearer = request.headers["Authorization"]
            guarded.revoke("engine", token=bearer.removeprefix("Bearer "))
        else:  # as a proxy does
            request = request.clone(headers={**request.headers, others[0]: others[1]})
        answer: web.StreamResponse = await handler(request)
        return answer

    with Verifier.from_yaml(registry, watch=False) as guarded:
        outer = rpc_auth_middleware(guarded)
        inner = rpc_auth_middleware(guarded) if guards == "two" else outer
        with _serve(_echo, outer, changing, inner) as port:
            for token in (cred.engine(jti="1"), cred.engine(jti="2")):  # its place is known then
                assert request(port, "POST", "/engine", token, b"x").body == b"engine x"


@pytest.fixture(scope="module")
def port(verifier: Verifier) -> Iterator[int]:
    guard = rpc_auth_middleware(verifier, exempt=["/healthz", "/a/b", "/sp ace", "status"])

    def create() -> web.Application:
        app = web.Application(middlewares=[guard])
        app.router.add_get("/healthz", _open)
        app.router.add_get("/status/{x}", _open, name="status")
        app.router.add_get("/a/{x}", _secret)
        app.router.add_get("/{x}", _secret)
        app.router.add_get("/{path:.*}", _secret)
        return app

    with aio(create) as port:
        yield port


class TestExempt:
    @pytest.mark.parametrize("target", ["/healthz", "/healthz?x=/../y", "/status/1", "/sp%20ace"])
    def test_what_is_exempt_is_open(self, port: int, target: str) -> None:
        assert request(port, "GET", target, body=None).status == 200

    @pytest.mark.parametrize(
        "target",
        [
            "/",
            "/rpc",
            "//rpc",
            "/healthz/",
            "//healthz",
            "/HEALTHZ",
            "/healthz/../rpc",
            "/healthz/..",
            "/rpc/../healthz",
            "/./healthz",
            "/healthz%2F..%2Frpc",
            "/%68ealthz",
            "/healthz%00",
            "/healthz;x",
            "/healthz%3Fx",
            "/a%2Fb",
            "/a%2fb",
            "http://node.example/healthz",
            "/status",
        ],
    )
    def test_no_other_spelling_of_it_is(self, port: int, target: str) -> None:
        answer = request(port, "GET", target, body=None)
        assert answer.status in (400, 401, 403)
        assert b"secret" not in answer.body

    def test_exempt_is_a_list(self, verifier: Verifier) -> None:
        with pytest.raises(TypeError):
            rpc_auth_middleware(verifier, exempt="/healthz")

    def test_an_unknown_path_is_refused_before_it_is_not_found(self, verifier: Verifier) -> None:
        guard = rpc_auth_middleware(verifier)
        with aio(lambda: web.Application(middlewares=[guard])) as port:
            assert request(port, "POST", "/v1/").status == 401
            assert request(port, "POST", "/v1/", cred.meganode()).status == 404

    def test_an_exempt_request_has_no_principal(self, verifier: Verifier) -> None:
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            with pytest.raises(RuntimeError, match="has let in") as caught:
                principal_of(request)
            seen.append(str(caught.value))
            return web.Response()

        with _serve(handler, rpc_auth_middleware(verifier, exempt=["/x"])) as port:
            assert request(port, "GET", "/x", body=None).status == 200
        assert len(seen) == 1


class TestNarrowing:
    def test_it_takes_only_its_kinds_and_its_project(self, verifier: Verifier) -> None:
        guard = rpc_auth_middleware(verifier, project="solana", schemes=["signature"])
        with _serve(_echo, guard) as port:
            assert request(port, "POST", "/v1/", cred.meganode()).reason == "missing_credentials"
            assert request(port, "POST", "/v1/", cred.nodius(b"x"), b"x").body == b"solana x"

    def test_a_misspelt_one_fails_at_once(self, verifier: Verifier) -> None:
        with pytest.raises(ValueError, match="schemes must be"):
            rpc_auth_middleware(verifier, schemes=["wallet"])


class TestBody:
    def _post(
        self, handler: Any, verifier: Verifier, body: bytes, *more: Any, **options: Any
    ) -> Answer:
        headers = [*cred.nodius(body), *options.pop("headers", [])]
        with _serve(handler, *more, rpc_auth_middleware(verifier), **options) as port:
            return request(port, "POST", "/solana", headers, body)

    def test_aiohttps_own_limit_does_not_bound_the_guard(self, verifier: Verifier) -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.Response(text=str(len(await request.content.read())))

        body = bytes(1_500_000)  # above client_max_size, which is 1 MiB
        assert self._post(handler, verifier, body).body == b"1500000"

    def test_aiohttps_own_limit_still_bounds_the_handler(self, verifier: Verifier) -> None:
        body = bytes(1_500_000)
        assert self._post(_echo, verifier, body).status == 413
        assert self._post(_echo, verifier, body, client_max_size=2_000_000).status == 200

    def test_forms_can_be_parsed_afterwards(self, verifier: Verifier) -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response(dict(await request.post()))

        headers = [("Content-Type", "application/x-www-form-urlencoded")]
        answer = self._post(handler, verifier, b"a=1&b=2", headers=headers)
        assert answer.json == {"a": "1", "b": "2"}

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_handshake_headers_do_not_hide_it_from_the_policy(
        self, verifier: Verifier, method: str
    ) -> None:
        body = b'{"jsonrpc":"2.0","id":7,"method":"eth_send"}'
        with _serve(_echo, rpc_auth_middleware(verifier)) as port:
            headers = [*cred.meganode(), *HANDSHAKE]
            answer = request(port, method, "/limited", headers, body)
            assert answer.status in (400, 403)

    @pytest.mark.parametrize("how", ["post", "multipart"])
    def test_multipart_can_be_parsed_afterwards(self, verifier: Verifier, how: str) -> None:
        async def handler(request: web.Request) -> web.Response:
            if how == "post":
                return web.json_response(dict(await request.post()))
            part: Any = await (await request.multipart()).next()
            return web.json_response({part.name: await part.text()})

        body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n12\r\n--b--\r\n'
        headers = [("Content-Type", "multipart/form-data; boundary=b")]
        assert self._post(handler, verifier, body, headers=headers).json == {"a": "12"}

    def test_a_body_that_was_read_before_is_the_one_that_counts(self, verifier: Verifier) -> None:
        @web.middleware
        async def first(request: web.Request, handler: Any) -> web.StreamResponse:
            await request.read()
            response: web.StreamResponse = await handler(request)
            return response

        assert self._post(_echo, verifier, b"xy", first).body == b"solana xy"
        body = bytes(cred.MAX_BODY + 1)
        guard = rpc_auth_middleware(verifier)
        with _serve(_echo, first, guard, client_max_size=2 * len(body)) as port:
            answer = chunked_request(port, "/solana", cred.nodius(body), body, 1 << 20)
        assert (answer.status, answer.reason) == (413, "body_too_large")

    @pytest.mark.parametrize("size", [1, 2, -1])
    def test_a_body_consumed_before_is_never_taken_for_an_empty_one(
        self, verifier: Verifier, size: int
    ) -> None:
        @web.middleware
        async def first(request: web.Request, handler: Any) -> web.StreamResponse:
            assert await request.content.read(size)
            response: web.StreamResponse = await handler(request)
            return response

        assert self._post(_echo, verifier, b"xy", first).status == 500

    def test_a_stream_touched_before_is_the_handlers_too(self, verifier: Verifier) -> None:
        @web.middleware
        async def first(request: web.Request, handler: Any) -> web.StreamResponse:
            assert request.content is not None
            response: web.StreamResponse = await handler(request)
            return response

        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=await request.content.read())

        assert self._post(handler, verifier, b"xy", first).body == b"xy"


class TestPeer:
    def test_it_is_the_sockets_whatever_a_middleware_says(self, verifier: Verifier) -> None:
        seen: list[Any] = []

        @web.middleware
        async def first(request: web.Request, handler: Any) -> web.StreamResponse:
            moved = request.clone(remote="8.8.8.8", scheme="https")
            response: web.StreamResponse = await handler(moved)
            return response

        class Spy:
            registry, at_once = verifier.registry, False

            async def aknown(self, *_: Any) -> None:
                return None

            async def averify(self, request: Any, *args: Any, **options: Any) -> Any:
                seen.append((request.client, request.scheme))
                return await verifier.averify(request, *args, **options)

        spy: Any = Spy()
        with _serve(_echo, first, rpc_auth_middleware(spy)) as port:
            assert request(port, "POST", "/v1/", cred.meganode()).status == 200
        assert seen == [("127.0.0.1", "http")]


class TestLife:
    def test_a_registry_that_it_opened_is_closed_when_it_is_gone(self, registry: Path) -> None:
        guard = rpc_auth_middleware(registry)
        source = guard._source
        del guard
        gc.collect()
        assert source._closed

    def test_it_can_be_closed_by_hand(self, registry: Path) -> None:
        guard = rpc_auth_middleware(registry)
        guard.close()
        guard.close()
        assert guard._source._closed

    def test_no_registry_is_a_config_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RPCGUARD_REGISTRY", raising=False)
        with pytest.raises(ConfigError):
            rpc_auth_middleware()

    def test_a_refusal_that_the_handler_raises_itself_is_answered(self, verifier: Verifier) -> None:
        async def handler(request: web.Request) -> web.Response:
            raise AuthError("forbidden_method")

        with _serve(handler, rpc_auth_middleware(verifier)) as port:
            answer = request(port, "POST", "/v1/", cred.meganode())
            assert (answer.status, answer.reason) == (403, "forbidden_method")

    def test_a_connection_is_usable_after_a_refusal(self, verifier: Verifier) -> None:
        with (
            _serve(_echo, rpc_auth_middleware(verifier)) as port,
            socket.create_connection(("127.0.0.1", port), 20) as sock,
        ):
            for _ in range(2):
                sock.sendall(b"POST /v1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
                stream = sock.makefile("rb")
                assert b" 401 " in stream.readline()
                length = 0
                while line := stream.readline().strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split()[1])
                stream.read(length)


@pytest.mark.parametrize(
    ("method", "upgrade", "body"),
    [
        ("HEAD", "websocket", b""),
        ("GET", "websocket", b"{}"),
        ("GET", "websocket\xa0", b""),
        ("GET", "\xc2\xa0websocket", b""),  # UTF-8 of a blank that `str.strip` strips
        ("POST", "websocket", b""),
    ],
)
def test_what_is_like_a_handshake_and_none_opens_no_socket(
    verifier: Verifier, method: str, upgrade: str, body: bytes
) -> None:
    """aiohttp would upgrade it, and nobody would watch the socket or judge its frames."""

    async def upgrading(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        return response

    headers = [
        *cred.meganode(),
        ("Connection", "Upgrade"),
        ("Upgrade", upgrade),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    with _serve(upgrading, rpc_auth_middleware(verifier)) as port:
        answer = request(port, method, "/v1/", headers, body)
    assert answer.status == 400


def test_on_ordinary_http_the_subprotocol_is_no_credential(verifier: Verifier) -> None:
    headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Protocol", "auth.a.b.c")]
    with _serve(_echo, rpc_auth_middleware(verifier)) as port:
        answer = request(port, "GET", "/solana", headers)
    assert (answer.status, answer.reason) == (401, "missing_credentials")
