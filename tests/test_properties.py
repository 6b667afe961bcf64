"""
Whatever comes in, a Principal or an AuthError comes out; and one changed bit is never accepted.

The cases that hypothesis starts from are good requests of every preset, so that mutations reach
deep; the profile in conftest.py keeps no database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minting import (
    CALL,
    NOW,
    SECRET,
    Headers,
    Wallet,
    bearer,
    flip_bit,
    hour,
    key_digest,
    order_token,
    private_key,
    public_pem,
    token,
)

from rpcguard import AuthError, Principal, Request, Verifier
from rpcguard.errors import REASONS

HEX = "7365637265747365637265747365637265747365637265747365637265747365"
API_KEY = "nod_0123456789abcdef"
REGISTRY = f"""
version: 1
backend: memory://?restart_guard=off
trusted_proxies: [10.0.0.0/8]
projects:
  meganode:
    preset: meganode
    match: {{path: /meganode}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
    api_keys: [{{id: k, digest: "{key_digest(API_KEY)}"}}]
  meganode-rs256:
    preset: meganode-rs256
    match: {{path: /meganode-rs256}}
    keys: [{{kid: a, public_key: {json.dumps(public_pem("RS256"))}}}]
  allthatnode:
    preset: allthatnode
    match: {{path: /allthatnode}}
    audience_suffix: allthatnode.com
    keys: [{{kid: a, public_key: {json.dumps(public_pem("ES256"))}}}]
  nodius:
    preset: nodius
    match: {{path: /nodius}}
    wallets: open
    api_keys: [{{id: k, digest: "{key_digest(API_KEY)}"}}]
    max_nonces: 1000000
    max_subject_nonces: 1000000
  nodius-2026:
    preset: nodius-2026
    match: {{path: /nodius-2026}}
    wallets: open
    api_keys: [{{id: k, digest: "{key_digest(API_KEY)}"}}]
  oppiwallet:
    preset: oppiwallet
    match: {{path: /oppiwallet}}
    keys: [{{auth_key: merchant-1, enc_key: "{SECRET}"}}]
    digest_fields: {{/oppiwallet: [a, b]}}
    single_use: false
  bearer:
    preset: bearer
    match: {{path: /bearer}}
    keys: [{{kid: a, public_key: {json.dumps(public_pem("EdDSA"))}, alg: EdDSA}}]
    allow:
      methods: [eth_blockNumber]
      ips: [0.0.0.0/0, "::/0"]
      origins: ["https://*.example.com"]
      missing_origin: allow
      addresses: []
  engine-api:
    preset: engine-api
    match: {{path: /engine-api}}
    secrets: [{{id: a, secret: "{HEX}"}}]
"""
PRESETS = [
    "meganode",
    "meganode-rs256",
    "allthatnode",
    "nodius",
    "nodius-2026",
    "oppiwallet",
    "bearer",
    "engine-api",
]
WALLET = Wallet()
ORDER = b'{"a": "x", "b": 1.5}'


def good(preset: str) -> tuple[Headers, bytes]:
    """Return header fields and body of a good request to /*preset*."""
    if preset == "meganode":
        return bearer(token(hour())), CALL
    if preset == "meganode-rs256":
        claims = hour(aud="nodereal.io")
        return bearer(token(claims, private_key("RS256"), "RS256", kid="a")), CALL
    if preset == "allthatnode":
        claims = hour(aud="x.allthatnode.com")
        return bearer(token(claims, private_key("ES256"), "ES256", kid="a")), CALL
    if preset == "nodius":
        return WALLET.v2("POST", "/nodius"), CALL
    if preset == "nodius-2026":
        return WALLET.v2026("POST", "/nodius-2026"), CALL
    if preset == "oppiwallet":
        text = order_token("/oppiwallet", "x#1.5")
        return [*bearer(text), ("X-Auth-Key", "merchant-1")], ORDER
    if preset == "bearer":
        return bearer(token(hour(), private_key("EdDSA"), "EdDSA", kid="a")), CALL
    return bearer(token({"iat": NOW}, bytes.fromhex(HEX))), CALL


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    path = tmp_path_factory.mktemp("properties") / "registry.yaml"
    path.write_text(REGISTRY, encoding="utf-8")
    with Verifier.from_yaml(path, clock=lambda: NOW, environ={}, watch=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


def outcome(drive: Any, *args: Any, **narrowed: Any) -> str:
    """Return the scheme of the principal or the reason of the refusal; let all else through."""
    try:
        principal = drive(*args, **narrowed)
    except AuthError as error:
        assert error.reason in REASONS
        assert all(value.isascii() and value.isprintable() for value in error.challenges)
        return error.reason
    assert isinstance(principal, Principal)
    repr(principal)
    return principal.scheme


def test_the_good_requests_are_good(verifier):
    for preset in PRESETS:
        headers, body = good(preset)
        request = Request("POST", f"/{preset}", headers, body, client="192.0.2.1")
        assert outcome(verifier.verify, request) in ("jwt", "signature")


# --- Anything -------------------------------------------------------------------------------------

TEXT = st.text(st.characters(), max_size=60)  # lone surrogates too
NAMES = [
    "Authorization",
    "X-Pubkey",
    "X-Signature",
    "X-Timestamp",
    "X-Nonce",
    "X-Auth-Version",
    "X-Http-Method",
    "X-Http-Path",
    "X-Api-Key",
    "x-auth-key",
    "Host",
    "Origin",
    "User-Agent",
    "Content-Encoding",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "Sec-WebSocket-Protocol",
]
VALUES = (
    TEXT
    | TEXT.map("Bearer {}".format)
    | st.from_regex(r"\ABearer +[\w.-]*\Z")
    | st.sampled_from(["1", "2", "nod_x", "merchant-1", "192.0.2.1", "https://a.example.com", "{}"])
)
FIELDS = st.tuples(st.sampled_from(NAMES) | TEXT, VALUES)
TARGETS = (
    st.sampled_from(PRESETS).map("/{}".format)
    | st.tuples(st.sampled_from(PRESETS), TEXT).map("/".join).map("/{}".format)
    | TEXT
)
BODIES = st.none() | st.binary(max_size=60) | TEXT.map(lambda t: t.encode("utf-8", "replace"))


@settings(max_examples=300)
@given(
    preset=st.sampled_from(PRESETS),
    start=st.booleans(),
    extra=st.lists(FIELDS, max_size=4),
    dropped=st.sets(st.integers(0, 8), max_size=2),
    target=st.none() | TARGETS,
    body=BODIES,
    keep_body=st.booleans(),
    method=st.just("POST") | TEXT,
    client=st.none() | st.just("10.0.0.1") | st.just("unix") | TEXT,
    flags=st.tuples(st.booleans(), st.booleans()),
    asynchronous=st.booleans(),
    named=st.booleans(),
)
def test_any_request_is_a_principal_or_an_auth_error(
    verifier,
    runner,
    preset,
    start,
    extra,
    dropped,
    target,
    body,
    keep_body,
    method,
    client,
    flags,
    asynchronous,
    named,
):
    headers, its_body = good(preset) if start else ([], b"")
    headers = [field for index, field in enumerate(headers) if index not in dropped] + extra
    request = Request(
        method,
        f"/{preset}" if target is None else target,
        headers,
        its_body if keep_body else body,
        client=client,
        websocket=flags[0],
        joined=flags[1],
    )
    narrowed = {"project": preset} if named else {}
    repr(request)
    verifier.wants_body(request, **narrowed)
    if asynchronous:
        outcome(lambda: runner.run(verifier.averify(request, **narrowed)))
    else:
        outcome(verifier.verify, request, **narrowed)


MEMBERS = st.sampled_from(
    ["alg", "kid", "typ", "crit", "b64", "zip", "jwk", "exp", "nbf", "iat", "aud", "iss", "sub"]
    + ["jti", "sid", "url", "key", "signature", "id"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.just(10**4000)
    | st.floats()
    | TEXT
    | st.sampled_from(["a", "HS256", "none", NOW, NOW + 60, NOW * 1000, "x.allthatnode.com", "/"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=3)
)
OBJECTS = st.dictionaries(MEMBERS, JSON, max_size=5)
SIGNERS = {
    "meganode": (SECRET, "HS256"),
    "meganode-rs256": (private_key("RS256"), "RS256"),
    "allthatnode": (private_key("ES256"), "ES256"),
    "oppiwallet": (SECRET, "HS256"),
    "bearer": (private_key("EdDSA"), "EdDSA"),
    "engine-api": (bytes.fromhex(HEX), "HS256"),
}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=200)
@given(
    preset=st.sampled_from(sorted(SIGNERS)),
    header=OBJECTS.map(as_json) | st.binary(max_size=40),
    keep_header=st.booleans(),
    claims=OBJECTS.map(as_json) | JSON.map(as_json) | st.binary(max_size=40),
    body=BODIES.filter(lambda body: body is not None),
)
def test_any_signed_token_is_a_principal_or_an_auth_error(
    verifier, preset, header, keep_header, claims, body
):
    """The signature is good: what was signed is anything."""
    key, alg = SIGNERS[preset]
    head = as_json({"alg": alg, "kid": "a"}) if keep_header else header
    headers = [*bearer(token(claims, key, alg, header=head)), ("X-Auth-Key", "merchant-1")]
    outcome(verifier.verify, Request("POST", f"/{preset}", headers, body))


@settings(max_examples=150)
@given(
    body=OBJECTS.map(as_json)
    | st.dictionaries(st.sampled_from("abc"), JSON, max_size=3).map(as_json)
    | st.tuples(st.from_regex(r"\A-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,25})?\Z")).map(
        lambda number: b'{"a": "x", "b": %s}' % number[0].encode()
    )
    | st.binary(max_size=60)
)
def test_any_body_of_an_order_is_a_principal_or_an_auth_error(verifier, body):
    headers, _ = good("oppiwallet")
    assert outcome(verifier.verify, Request("POST", "/oppiwallet", headers, body)) in (
        "jwt",
        "invalid_binding",
    )


CALLS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": JSON,
        "method": st.sampled_from(["eth_blockNumber", "eth_call", "eth_getLogs"]) | JSON,
        "params": JSON,
    },
)


@settings(max_examples=150)
@given(body=CALLS.map(as_json) | st.lists(CALLS, max_size=3).map(as_json) | st.binary(max_size=60))
def test_any_body_under_a_policy_is_a_principal_or_an_auth_error(verifier, body):
    headers, _ = good("bearer")
    request = Request("POST", "/bearer", headers, body, client="192.0.2.1")
    assert outcome(verifier.verify, request) in (
        "jwt",
        "invalid_body",
        "forbidden_method",
        "forbidden_address",
    )


# --- One bit --------------------------------------------------------------------------------------


def fresh(preset: str, number: int) -> tuple[Headers, bytes]:
    """Return a good request that was never sent, where a nonce would be spent."""
    if preset == "nodius":
        return WALLET.v2("POST", "/nodius", nonce=f"{number:016x}"), CALL
    if preset == "nodius-2026":
        return WALLET.v2026("POST", "/nodius-2026", nonce=f"f-{number}"), CALL
    return good(preset)


@settings(max_examples=250)
@given(
    preset=st.sampled_from(PRESETS),
    field=st.integers(0, 6),
    position=st.integers(0, 1_000_000),
    number=st.integers(1, 2**60),
)
def test_one_bit_of_a_good_credential_changed_is_never_accepted(
    verifier, preset, field, position, number
):
    """The scheme word `Bearer` alone has two good spellings of a letter, and is left as it is."""
    headers, body = fresh(preset, number)
    name, value = headers[field % len(headers)]
    word, value = (value[:7], value[7:]) if name == "Authorization" else ("", value)
    headers[field % len(headers)] = (name, word + flip_bit(value, position))
    request = Request("POST", f"/{preset}", headers, body, client="192.0.2.1")
    assert outcome(verifier.verify, request) not in ("jwt", "signature", "api_key", "none")


@settings(max_examples=100)
@given(preset=st.sampled_from(["meganode", "nodius", "nodius-2026"]), position=st.integers(0, 999))
def test_one_bit_of_an_api_key_changed_is_never_accepted(verifier, preset, position):
    text = flip_bit(API_KEY, position)
    target, headers = {
        "meganode": (f"/meganode/{text}", []),
        "nodius": ("/nodius", bearer(text)),
        "nodius-2026": ("/nodius-2026", [("X-Api-Key", text)]),
    }[preset]
    request = Request("POST", target, headers, CALL)
    assert outcome(verifier.verify, request) not in ("jwt", "signature", "api_key", "none")


@settings(max_examples=60)
@given(
    preset=st.sampled_from(["nodius", "nodius-2026", "oppiwallet"]),
    position=st.integers(0, 10**6),
    number=st.integers(1, 2**60),
)
def test_one_bit_of_a_body_that_is_bound_changed_is_never_accepted(
    verifier, preset, position, number
):
    headers, body = fresh(preset, number)
    index, bit = divmod(position % (len(body) * 8), 8)
    changed = body[:index] + bytes([body[index] ^ (1 << bit)]) + body[index + 1 :]
    request = Request("POST", f"/{preset}", headers, changed)
    if preset == "oppiwallet" and json_fields(changed) == json_fields(body):
        return  # white space and the like are not bound: the digest is over the fields
    assert outcome(verifier.verify, request) not in ("jwt", "signature")


def json_fields(body: bytes) -> object:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return (document.get("a"), document.get("b")) if isinstance(document, dict) else None
