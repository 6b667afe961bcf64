"""Each preset's signer is accepted by a verifier of that preset."""

from __future__ import annotations

import hashlib

import jwt
import pytest
from minting import private_key, public_pem

from rpcguard import AuthError, Request, client
from rpcguard.client import SignIn, SigningKey, Wallet
from rpcguard.client.private_key import Private

NOW = 1_760_000_000.5
SECRET = "a-shared-secret-of-more-than-32-bytes"
HEX = "0x" + "5a" * 32
WALLET = Wallet(bytes(range(32)))
ORDER = b'{"currency": "BTC", "amount": "0.001", "orderId": "1"}'
FIELDS = {"/payouts/withdraw": ["currency", "amount", "orderId"]}
API_KEY = "0123456789abcdef"
DIGEST = hashlib.sha256(API_KEY.encode()).hexdigest()


def key(alg: str, kid: str | None = "k1") -> SigningKey:
    material: Private = private_key(alg)
    return SigningKey(material, alg, kid)


REGISTRY = f"""\
version: 1
backend: "memory://?restart_guard=off"
projects:
  bsc:
    preset: meganode
    match: {{path: /bsc}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
    api_keys: [{{id: ops, digest: "sha256:{DIGEST}"}}]
  rs:
    preset: meganode-rs256
    match: {{path: /rs}}
    keys: [{{kid: k1, public_key: "${{env:RSA}}"}}]
  evm:
    preset: allthatnode
    match: {{path: /evm}}
    audience_suffix: allthatnode.com
    keys: [{{kid: k1, public_key: "${{env:EC}}"}}]
  solana:
    preset: nodius
    match: {{path: /solana}}
    wallets: open
  solana-2026:
    preset: nodius-2026
    match: {{path: /solana-2026}}
    wallets: open
    api_key: {{read: [header], header: X-Api-Key}}
    api_keys: [{{id: ops, digest: "sha256:{DIGEST}"}}]
  payouts:
    preset: oppiwallet
    match: {{path: /payouts}}
    keys: [{{auth_key: merchant-1, enc_key: "{SECRET}"}}]
    digest_fields: {{/payouts/withdraw: [currency, amount, orderId]}}
  engine:
    preset: engine-api
    match: {{path: /engine}}
    secrets: [{{id: jwt, secret: "{HEX}"}}]
  bots:
    preset: bearer
    match: {{path: /bots}}
    issuer: https://id.example.com
    audience: bots
    keys: [{{kid: k1, alg: EdDSA, public_key: "${{env:ED}}"}}]
  once:
    preset: bearer
    match: {{path: /once}}
    single_use: true
    keys: [{{kid: s1, alg: HS256, secret: "{SECRET}"}}]
"""
CLAIMS = {"iss": "https://id.example.com", "aud": "bots", "sub": "bot-7"}
HS = SigningKey.from_secret(SECRET, kid="s1")

CASES = [
    (client.meganode(SECRET), "/bsc"),
    (client.meganode(SECRET.encode()), "/bsc"),
    (client.meganode(SigningKey.from_secret(SECRET), lifetime=60), "/bsc"),
    (client.meganode_rs256(key("RS256")), "/rs"),
    (client.allthatnode(key("ES256"), audience="evm.allthatnode.com"), "/evm"),
    (client.nodius(WALLET), "/solana?a=%20b"),
    (client.nodius(WALLET, "signature"), "/solana"),
    (client.nodius(WALLET, "signature-v2"), "/solana"),
    (client.nodius_2026(WALLET), "/solana-2026?a=b"),
    (client.api_key(API_KEY, "X-Api-Key"), "/solana-2026"),
    (client.oppiwallet("merchant-1", SECRET, FIELDS), "/payouts/withdraw"),
    (client.engine_api(HEX), "/engine"),
    (client.engine_api(SigningKey.from_hex(HEX)), "/engine"),
    (client.bearer(key("EdDSA"), CLAIMS), "/bots"),
    (client.bearer(HS, {"sub": "bot"}, single_use=True), "/once"),
]


@pytest.fixture
def verifier(guard):
    environ = {"RSA": public_pem("RS256"), "EC": public_pem("ES256"), "ED": public_pem("EdDSA")}
    return guard(REGISTRY, now=NOW, environ=environ)


def send(verifier, signer, target, now=NOW):
    headers = signer.headers("POST", target, ORDER, now)
    return verifier.verify(Request("POST", target, list(headers.items()), ORDER))


@pytest.mark.parametrize(("signer", "target"), CASES)
def test_a_verifier_of_the_preset_accepts_it(verifier, signer, target):
    project = target.partition("?")[0].split("/")[1]
    names = {"bsc": "bsc", "rs": "rs", "evm": "evm"}
    assert send(verifier, signer, target).project == names.get(project, project)


@pytest.mark.parametrize(
    ("signer", "target"), [case for case in CASES if getattr(case[0], "reuse", 0)]
)
def test_headers_are_still_good_at_the_end_of_their_reuse(verifier, signer, target):
    assert send(verifier, signer, target, NOW - signer.reuse)


@pytest.mark.parametrize(
    ("signer", "target"), [case for case in CASES if not getattr(case[0], "reuse", 0)]
)
def test_what_is_not_reused_is_accepted_a_second_time_only_when_made_anew(verifier, signer, target):
    headers = list(signer.headers("POST", target, ORDER, NOW).items())
    verifier.verify(Request("POST", target, headers, ORDER))
    if signer == client.api_key(API_KEY, "X-Api-Key"):
        return
    with pytest.raises(AuthError, match="replayed"):
        verifier.verify(Request("POST", target, headers, ORDER))
    assert send(verifier, signer, target, NOW + 0.001)


def test_single_use_tokens_of_one_second_differ():
    signer = client.bearer(HS, {"sub": "bot"}, single_use=True)
    made = [signer.headers("POST", "/", b"", NOW)["Authorization"] for _ in range(2)]
    claims = [jwt.decode(each[7:], options={"verify_signature": False}) for each in made]
    assert claims[0]["jti"] != claims[1]["jti"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: client.nodius(WALLET, "signature-v3"), "signature-v2"),
        (lambda: client.nodius_2026(WALLET, "signature-v2"), "signature"),
        (lambda: client.allthatnode(key("ES256", None)), "kid"),
        (lambda: client.allthatnode(key("EdDSA")), "RS256 or ES256"),
        (lambda: client.engine_api("no hex"), "hex"),
        (lambda: client.nodius(WALLET, "session", prefix="solana"), "prefix"),
        (lambda: client.nodius(WALLET, "session", prefix="/solana/"), "prefix"),
    ],
)
def test_what_a_preset_does_not_have_is_an_error_at_once(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("make", [client.nodius, client.nodius_2026])
def test_a_session_is_a_way_to_sign_in(make):
    assert make(WALLET, "session", prefix="/solana") == SignIn(WALLET, "/solana")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://bsc.example/v1/", f"https://bsc.example/v1/{API_KEY}"),
        ("https://bsc.example/v1", f"https://bsc.example/v1/{API_KEY}"),
        ("wss://bsc.example:8443/ws/v1/?a=b", f"wss://bsc.example:8443/ws/v1/{API_KEY}?a=b"),
        ("https://bsc.example", f"https://bsc.example/{API_KEY}"),
    ],
)
def test_an_api_key_in_the_url_is_the_last_segment(endpoint, url):
    assert client.meganode_url(endpoint, API_KEY) == url


def test_a_verifier_accepts_the_api_key_in_the_url(verifier):
    target = client.meganode_url("https://h/bsc/", API_KEY).removeprefix("https://h")
    assert verifier.verify(Request("POST", target, [], b"{}")).scheme == "api_key"


@pytest.mark.parametrize("bad", ["", "a/b", "a?b", "a#b", "../a/", "a b", "%2F", "é"])
def test_an_api_key_that_is_no_segment_is_refused_and_not_quoted(bad):
    with pytest.raises(ValueError) as caught:
        client.meganode_url("https://bsc.example/v1/", bad)
    assert len(bad) < 4 or bad not in str(caught.value)


@pytest.mark.parametrize(("signer", "target"), CASES)
def test_nothing_secret_is_shown(signer, target):
    shown = repr(signer)
    assert SECRET not in shown
    assert API_KEY not in shown
    assert HEX[2:] not in shown
