"""A message of a WebSocket is judged as a request with the same credential would be."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minting import CALL, NOW, SECRET, Wallet, bearer, hour, key_digest, token

from rpcguard import AuthError, Principal, Request, Verifier

ONE, TWO = "0x" + "11" * 20, "0x" + "22" * 20
API_KEY = "k" * 32
REGISTRY = f"""
version: 1
backend: "memory://?restart_guard=off"
bounds: {{max_body: 1000, max_batch: 3}}
projects:
  bsc:
    preset: meganode
    id: "the id"
    match: {{path: /v1}}
    secrets:
      - {{id: a, secret: "{SECRET}", allow: {{methods: [eth_call]}}}}
    api_keys:
      - {{id: ops, digest: "{key_digest(API_KEY)}", allow: {{addresses: ["{ONE}"]}}}}
    narrowing: [methods]
  solana:
    preset: nodius
    match: {{path: /solana}}
    wallets: [{{pubkey: {Wallet(1).pubkey}, allow: {{methods: [getSlot]}}}}, {{pubkey: {Wallet(2).pubkey}}}]
    session: {{secret: "{SECRET}"}}
    narrowing: [methods]
  plain:
    preset: meganode
    match: {{path: /plain}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
  counted:
    preset: meganode
    match: {{path: /counted}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
    limits: {{per_ip: 3/day}}
  open:
    preset: allthatnode
    match: {{path: /open}}
    when_no_keys: allow
    allow: {{methods: [eth_chainId]}}
"""


def call(method: str, params: Any = (), **more: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params), **more})


def handshake(target: str, headers: Any = (), client: str = "192.0.2.1") -> Request:
    return Request("GET", target, list(headers), b"", client, websocket=True)


def opened(verifier: Verifier, request: Request) -> Principal:
    return verifier.verify(request, frames=True)


def sync(verifier: Verifier, principal: Principal, text: bytes | str) -> None:
    verifier.check_message(principal, text)


def in_a_loop(verifier: Verifier, principal: Principal, text: bytes | str) -> None:
    async def check() -> None:
        await verifier.acheck_message(principal, text)

    asyncio.run(check())


CHECKS = pytest.mark.parametrize("check", [sync, in_a_loop], ids=["sync", "async"])


def told(check: Callable[..., None], *args: Any) -> str:
    try:
        check(*args)
    except AuthError as error:
        assert error.project is not None
        return error.reason
    return ""


def by_token(verifier: Verifier, path: str = "/v1", **claims: Any) -> Principal:
    return opened(verifier, handshake(path, bearer(token({**hour(), **claims}))))


TOO_LONG = call("eth_call", ["x" * 1000])
AT_THE_BOUND = call("eth_call", ["x"])[:-1].ljust(999) + "}"  # `max_body` characters
MESSAGES = [
    (call("eth_call"), ""),
    (call("eth_call").encode(), ""),
    (f"[{call('eth_call')}, {call('eth_call')}]", ""),
    (call("eth_chainId"), "forbidden_method"),
    (f"[{call('eth_call')}, {call('eth_chainId')}]", "forbidden_method"),
    (f"[{', '.join([call('eth_call')] * 4)}]", "invalid_body"),
    ("[]", "invalid_body"),
    ("", "invalid_body"),
    ("{", "invalid_body"),
    ("\udc80", "invalid_body"),
    (b"\xff", "invalid_body"),
    ('{"jsonrpc":"2.0","id":1,"method":"eth_call","method":"eth_call"}', "invalid_body"),
    ('{"jsonrpc":"2.0","id":1,"method":"eth_call","Method":"admin"}', "invalid_body"),
    (call("eth_call") + call("eth_chainId"), "invalid_body"),
    (TOO_LONG, "body_too_large"),
    (TOO_LONG.encode(), "body_too_large"),
    (AT_THE_BOUND, ""),
    (AT_THE_BOUND + " ", "body_too_large"),
    (AT_THE_BOUND.replace("x", "é"), "body_too_large"),  # one byte more
    (call("eth_call", ["é" * 900]).encode().decode("unicode_escape"), "body_too_large"),
]


@CHECKS
@pytest.mark.parametrize(("text", "reason"), MESSAGES)
def test_a_message_is_judged_by_the_rules_of_its_key(guard, check, text, reason):
    verifier = guard(REGISTRY)
    assert told(check, verifier, by_token(verifier), text) == reason


def test_any_message_is_let_through_or_refused(guard):
    verifier = guard(REGISTRY)
    principal = by_token(verifier)

    @given(st.text() | st.binary() | st.from_regex(r"[\[{\"a-z0-9:,.\\}\]]{0,40}"))
    def judge(text):
        assert told(sync, verifier, principal, text) in (
            *("", "invalid_body", "forbidden_method", "body_too_large"),
        )

    judge()


def test_the_refusal_names_the_first_forbidden_method(guard):
    verifier = guard(REGISTRY)
    with pytest.raises(AuthError) as caught:
        text = f"[{call('eth_call')}, {call('admin_peers')}, {call('eth_chainId')}]"
        verifier.check_message(by_token(verifier), text)
    assert (caught.value.method, caught.value.project) == ("admin_peers", "the id")


@CHECKS
def test_claims_narrow_messages_too(guard, check):
    verifier = guard(REGISTRY)
    principal = by_token(verifier, methods=["eth_chainId"])
    for method in ("eth_call", "eth_chainId"):
        assert told(check, verifier, principal, call(method)) == "forbidden_method"


@CHECKS
def test_each_kind_of_credential_brings_its_own_policy(guard, check):
    verifier = guard(REGISTRY)
    key = opened(verifier, handshake(f"/v1/{API_KEY}"))
    assert told(check, verifier, key, call("eth_call", [{"to": ONE}])) == ""
    assert told(check, verifier, key, call("eth_call", [{"to": TWO}])) == "forbidden_address"
    for number, reason in ((1, "forbidden_method"), (2, "")):
        wallet = Wallet(number)
        session = verifier.issue("solana", wallet.pubkey)["token"]
        issued = verifier.new_api_key("solana", wallet.pubkey)
        for headers in (wallet.v1(b"", nonce="0" * 16), bearer(session), bearer(issued)):
            principal = opened(verifier, handshake("/solana", headers))
            assert told(check, verifier, principal, call("getSlot")) == ""
            assert told(check, verifier, principal, call("getBlock")) == reason
    anonymous = opened(verifier, handshake("/open"))
    assert told(check, verifier, anonymous, call("eth_chainId")) == ""
    assert told(check, verifier, anonymous, call("eth_call")) == "forbidden_method"


@CHECKS
def test_a_narrowed_session_of_a_wallet_keeps_the_wallets_policy(guard, check):
    verifier = guard(REGISTRY)
    claims = {"methods": ["getBlock", "getSlot"]}
    issued = verifier.issue("solana", Wallet(1).pubkey, claims=claims)["token"]
    principal = opened(verifier, handshake("/solana", bearer(issued)))
    assert told(check, verifier, principal, call("getSlot")) == ""
    assert told(check, verifier, principal, call("getBlock")) == "forbidden_method"
    issued = verifier.issue("solana", Wallet(2).pubkey, claims=claims)["token"]
    principal = opened(verifier, handshake("/solana", bearer(issued)))
    assert told(check, verifier, principal, call("getBlock")) == ""
    assert told(check, verifier, principal, call("getEpoch")) == "forbidden_method"


@CHECKS
@pytest.mark.parametrize("text", ["hello", "", b"\x00\xff", "\udc80"])
def test_where_nothing_restricts_calls_a_message_is_not_read(guard, check, text):
    verifier = guard(REGISTRY)
    assert told(check, verifier, by_token(verifier, "/plain"), text) == ""


@CHECKS
def test_a_message_counts_as_a_request_of_the_address_that_opened_the_socket(guard, check):
    verifier = guard(REGISTRY)
    headers = bearer(token(hour()))
    principal = opened(verifier, handshake("/counted", headers))
    assert [told(check, verifier, principal, "x") for _ in range(3)] == ["", "", "rate_limited"]
    elsewhere = opened(verifier, handshake("/counted", headers, "192.0.2.2"))
    assert told(check, verifier, elsewhere, "x") == ""


def test_where_a_socket_was_opened_from_is_no_part_of_who_opened_it(guard):
    verifier = guard(REGISTRY)
    headers = bearer(token(hour()))
    here = opened(verifier, handshake("/plain", headers))
    there = opened(verifier, handshake("/plain", headers, "192.0.2.2"))
    assert (here.network, there.network) == ("192.0.2.1", "192.0.2.2")
    assert here == there
    assert hash(here) == hash(there)
    assert "192.0.2" not in repr(here)


@CHECKS
def test_a_message_is_judged_by_the_registry_as_it_is_now(guard, check, tmp_path):
    verifier = guard(REGISTRY)
    token_holder = by_token(verifier)
    key = opened(verifier, handshake(f"/v1/{API_KEY}"))
    wallet = opened(verifier, handshake("/solana", Wallet(2).v1(b"")))
    anonymous = opened(verifier, handshake("/open"))
    plain = by_token(verifier, "/plain")
    path = tmp_path / "registry.yaml"
    text = REGISTRY.replace("methods: [eth_call]", "methods: [eth_chainId]")
    text = text.replace("id: ops", "id: others").replace(Wallet(2).pubkey, Wallet(3).pubkey)
    text = text.replace("    when_no_keys: allow\n", "").replace("  plain:", "  renamed:")
    path.write_text(text)
    verifier.reload()
    assert told(check, verifier, token_holder, call("eth_call")) == "forbidden_method"
    assert told(check, verifier, token_holder, call("eth_chainId")) == ""
    assert told(check, verifier, key, call("eth_call", [{"to": ONE}])) == "invalid_credentials"
    assert told(check, verifier, wallet, call("getSlot")) == "not_listed"
    assert told(check, verifier, anonymous, call("eth_chainId")) == "invalid_credentials"
    with pytest.raises(AuthError) as caught:
        check(verifier, plain, call("getSlot"))
    assert caught.value.reason == "no_project"
    path.write_text(REGISTRY.replace("{id: a, secret", "{id: b, secret", 1))
    verifier.reload()
    assert told(check, verifier, token_holder, call("eth_call")) == "invalid_credentials"


@CHECKS
def test_a_message_after_the_credentials_end_is_refused(guard, check):
    now = [float(NOW)]
    verifier = guard(REGISTRY, clock=lambda: now[0])
    principal = by_token(verifier, "/plain")
    now[0] += 3600
    assert told(check, verifier, principal, "x") == "expired"


def test_a_kind_that_the_project_does_not_take_proves_nobody(guard):
    verifier = guard(REGISTRY)
    stranger = Principal("x", "plain", "signature", key_id="x")
    assert told(sync, verifier, stranger, "x") == "invalid_credentials"
    assert told(sync, verifier, Principal("x", "plain", "jwt"), "x") == "invalid_credentials"
    assert told(sync, verifier, Principal("anonymous", "plain", "none"), "x") == (
        "invalid_credentials"
    )


def test_a_forgotten_await_lets_nothing_forbidden_through(guard):
    verifier = guard(REGISTRY)
    with pytest.raises(AuthError):
        verifier.acheck_message(by_token(verifier), call("eth_chainId"))


def test_a_handshake_is_refused_unless_its_route_checks_messages(guard):
    verifier = guard(REGISTRY)
    for path, headers in (("/v1", bearer(token(hour()))), ("/open", []), (f"/v1/{API_KEY}", [])):
        with pytest.raises(AuthError) as caught:
            verifier.verify(handshake(path, headers))
        assert caught.value.reason == "forbidden_method"
        assert verifier.verify(handshake(path, headers), frames=True).project in ("bsc", "open")
        with pytest.raises(AuthError):
            verifier.verify(handshake(path, headers), standing=True)
        assert verifier.verify(handshake(path, headers), standing=True, frames=True)


def test_a_route_that_checks_messages_still_judges_the_body_of_a_request(guard):
    verifier = guard(REGISTRY)
    request = Request("POST", "/v1", bearer(token(hour())), CALL)
    with pytest.raises(AuthError) as caught:
        verifier.verify(request, frames=True)
    assert (caught.value.reason, caught.value.method) == ("forbidden_method", "eth_blockNumber")


@CHECKS
def test_messages_are_in_the_audit_trail(guard, check, caplog):
    verifier = guard(REGISTRY)
    principal = by_token(verifier, sub="alice")
    caplog.set_level(logging.INFO, "rpcguard.audit")
    check(verifier, principal, call("eth_call"))
    assert told(check, verifier, principal, call("eth_chainId")) == "forbidden_method"
    found = [record.rpcguard for record in caplog.records if record.name == "rpcguard.audit"]
    assert [(f["outcome"], f["reason"], f["method"], f["subject"], f["client"]) for f in found] == [
        ("accepted", None, "MESSAGE", "alice", "192.0.2.1"),
        ("refused", "forbidden_method", "MESSAGE", "alice", "192.0.2.1"),
    ]


DATED = f"""
version: 1
backend: "memory://?restart_guard=off"
bounds: {{max_body: 1000}}
projects:
  bsc:
    preset: meganode
    match: {{path: /v1}}
    secrets: [{{id: a, secret: "{SECRET}", not_after: 2025-10-09T08:53:30Z}}]
    api_keys:
      - {{id: plain, digest: "{key_digest("p" * 32)}"}}
      - {{id: dated, digest: "{key_digest(API_KEY)}", not_after: 2025-10-09T08:53:30Z}}
    allow: {{methods: [eth_call]}}
"""
ENDS = 1_760_000_010  # 2025-10-09T08:53:30Z


@CHECKS
def test_a_message_after_its_keys_end_is_refused(guard, check):
    now = [float(NOW)]
    verifier = guard(DATED, clock=lambda: now[0])
    principals = [by_token(verifier), opened(verifier, handshake(f"/v1/{API_KEY}"))]
    plain = opened(verifier, handshake(f"/v1/{'p' * 32}"))
    now[0] = ENDS - 1.0
    assert [told(check, verifier, each, call("eth_call")) for each in principals] == ["", ""]
    now[0] = float(ENDS)
    found = [told(check, verifier, each, call("eth_call")) for each in principals]
    assert found == ["invalid_credentials", "expired"]  # of a JWT the key's end, of a key its own
    assert told(check, verifier, plain, call("eth_call")) == ""
    assert told(check, verifier, plain, call("eth_chainId")) == "forbidden_method"


@CHECKS
@pytest.mark.parametrize(("size", "reason"), [(1000, ""), (1001, "body_too_large")])
def test_the_bound_of_a_message_is_exact(guard, check, size, reason):
    verifier = guard(DATED)
    empty = len(call("eth_call", [""]))
    for letter, width in (("x", 1), ("é", 2)):
        filled = letter * ((size - empty) // width) + "x" * ((size - empty) % width)
        text = call("eth_call", [""]).replace('""', f'"{filled}"', 1)
        assert len(text.encode()) == size
        assert told(check, verifier, by_token(verifier), text) == reason
        assert told(check, verifier, by_token(verifier), text.encode()) == reason
