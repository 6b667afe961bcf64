"""G: WebSockets. More under the same numbers, on real servers, in `tests/contrib`."""

from __future__ import annotations

import asyncio
import json

import pytest
from contrib import credentials as cred
from contrib.servers import Served
from contrib.wire import handshake
from fastapi import Depends, FastAPI, WebSocket
from minting import NOW, Wallet, bearer, hour, token

from attacks.site import SESSION, project
from attacks.tokens import mac
from rpcguard import AuthError
from rpcguard.contrib._sockets import Watch, offer
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth

MALFORMED = "malformed_credentials"
ALICE = Wallet(1)
FIELD = "Sec-WebSocket-Protocol"


def session(**claims):
    own = {"iss": "rpcguard", "aud": "wallet", "sub": ALICE.pubkey, "jti": "j", **hour(), **claims}
    return mac(SESSION, own, typ="rpcguard-session+jwt", kid="session")


GOOD = session()
SOCKET = {"websocket": True, "method": "GET", "body": b""}


@pytest.mark.parametrize(
    "offered",
    [f"auth.{GOOD}=", f"auth.{GOOD} x", f"auth.{GOOD}/x", f"auth.{GOOD}@", "auth.", "auth. ",
     f"auth.{GOOD}, auth.{GOOD}", f"auth.{GOOD},auth.other", "auth." + "x" * 100_000,
     f'auth."{GOOD}"', f"auth.{GOOD}é", f"auth.{GOOD}\0", f"auth.{GOOD}%41", "auth.nod_x:y"],
)  # fmt: skip
def test_G1_a_subprotocol_that_carries_no_one_well_formed_token_is_refused(site, offered):
    assert site.denies("/wallet", [(FIELD, offered)], **SOCKET) == MALFORMED
    assert site.told("/wallet", [(FIELD, f"auth.{GOOD}")], **SOCKET) == ""


@pytest.mark.parametrize(
    ("values", "plain", "carried"),
    [
        (["auth.T"], (), True),
        (["auth.T, jsonrpc"], ("jsonrpc",), True),
        (["jsonrpc, auth.T"], ("jsonrpc",), True),
        (["jsonrpc", "auth.T"], ("jsonrpc",), True),
        (["jsonrpc"], ("jsonrpc",), False),
        ([], (), False),
        (["auth.T(x)"], (), True),
    ],
)
def test_G2_the_token_is_offered_back_only_where_nothing_else_is_selected(values, plain, carried):
    found = offer(values)
    assert (found.plain, found.carries) == (plain, carried)
    assert found.carrier == ("auth.T" if carried and "(" not in values[0] else None)
    assert "auth.T" not in repr(found)


def test_G3_two_tokens_that_differ_are_refused(site):
    other = session(jti="k")
    pair = [*bearer(GOOD), (FIELD, f"auth.{other}")]
    assert site.denies("/wallet", pair, **SOCKET) == "ambiguous_credentials"
    assert site.told("/wallet", [*bearer(GOOD), (FIELD, f"auth.{GOOD}")], **SOCKET) == ""
    # on ordinary HTTP that header is no credential
    assert site.denies("/wallet", [(FIELD, f"auth.{GOOD}")]) == "missing_credentials"


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("https://good.example", ""),
        ("HTTPS://GOOD.EXAMPLE", ""),
        ("https://good.example:443", ""),
        ("https://a.app.example:8443", ""),
        ("https://evil.example", "forbidden_origin"),
        ("null", "forbidden_origin"),
        (None, "forbidden_origin"),
        ("", "forbidden_origin"),
        ("https://good.example.evil.org", "forbidden_origin"),
        ("https://evilgood.example", "forbidden_origin"),
        ("https://good.example:444", "forbidden_origin"),
        ("http://good.example", "forbidden_origin"),
        ("https://app.example:8443", "forbidden_origin"),
        ("https://a.app.example", "forbidden_origin"),
        ("https://good.example/", "forbidden_origin"),
        ("https://good.example@evil.example", "forbidden_origin"),
        ("https://good.example, https://good.example", "forbidden_origin"),
        ("file://", "forbidden_origin"),
    ],
)
def test_G4_the_origin_is_compared_by_scheme_host_and_port(site, origin, reason):
    headers = [*bearer(token(hour())), *([("Origin", origin)] if origin is not None else [])]
    assert site.told("/sited", headers, **SOCKET) == reason
    twice = [*headers, ("Origin", "https://good.example")]
    if origin is not None:
        assert site.denies("/sited", twice, **SOCKET) == "forbidden_origin"


def test_G5_an_open_socket_ends_with_its_token_and_its_revocation(make):
    site = make()
    headers = [(FIELD, f"auth.{GOOD}")]
    request_ = {"headers": headers, **SOCKET}
    principal = site.admits("/wallet", **request_)
    from rpcguard import Request

    watch = Watch(Request("GET", "/wallet", headers, b"", websocket=True), 30.0)
    watch.add(site.verifier, None, None, principal)
    assert watch.check() is None
    site.verifier.revoke("wallet", token=GOOD)
    assert watch.check() == 1008
    site.now = NOW + 3600
    assert watch.check() == 1008
    with pytest.raises(AuthError):
        site.verifier.check_message(principal, "x")


def test_G6_a_handshake_signs_the_empty_body_and_frames_are_judged_one_by_one(make):
    site = make(json.dumps(project("wallet", allow={"methods": ["getSlot"]})))
    assert site.denies("/wallet", ALICE.v1(b"x"), **SOCKET) == "invalid_credentials"
    signed = ALICE.v1(b"")
    assert site.denies("/wallet", signed, **SOCKET) == "forbidden_method"  # nobody checks frames
    principal = site.admits("/wallet", ALICE.v1(b"", nonce="1" * 16), frames=True, **SOCKET)
    site.verifier.check_message(principal, '{"jsonrpc":"2.0","id":1,"method":"getSlot"}')
    with pytest.raises(AuthError, match="forbidden_method"):
        site.verifier.check_message(principal, '{"jsonrpc":"2.0","id":1,"method":"getBlock"}')


def test_G6_a_signed_handshake_is_spent_like_any_request(server: Served) -> None:
    headers = cred.nodius(method="GET", target="/ws/solana")
    assert handshake(server.port, "/ws/solana", headers).status == 101
    assert handshake(server.port, "/ws/solana", headers).reason == "replayed"


def test_G7_a_guarded_route_is_guarded_for_every_kind_of_scope(site):
    app = FastAPI()
    RPCGuard(app, site.verifier)
    seen: list[str] = []

    @app.websocket("/hs", dependencies=[Depends(require_rpc_auth)])
    async def ws(websocket: WebSocket) -> None:
        seen.append("websocket")

    @app.get("/hs", dependencies=[Depends(require_rpc_auth)])
    async def http() -> None:
        seen.append("http")

    sent: list[str] = []

    async def drive(kind: str) -> None:
        async def receive():
            return {"type": f"{kind}.connect" if kind == "websocket" else "http.request"}

        async def send(message):
            sent.append(message["type"])

        scope = {"type": kind, "path": "/hs", "raw_path": b"/hs", "query_string": b"", "headers": [],
                 "method": "GET", "scheme": "http", "client": ("192.0.2.1", 1), "server": ("h", 80),
                 "subprotocols": [], "root_path": "", "http_version": "1.1", "asgi": {"version": "3.0"}}  # fmt: skip
        try:
            await app(scope, receive, send)
        except (AssertionError, NotImplementedError, KeyError):
            sent.append("refused")

    for kind in ("http", "websocket", "webtransport", "anything"):
        asyncio.run(drive(kind))
    assert seen == []
    assert sent[0] == "http.response.start"
    assert "websocket.close" in sent
    assert "websocket.accept" not in sent
