"""A wallet signs what the provider's document says, and independent code verifies it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import partial
from pathlib import Path

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import OKPAlgorithm
from nacl.signing import SigningKey as NaClKey
from nacl.signing import VerifyKey

from rpcguard.client.wallet import Wallet, nodius_2026, nodius_v1, nodius_v2

NOW = 1_760_000_000.9
BODY = b'{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
SHA256 = hashlib.sha256(BODY).hexdigest()
SEED = bytes(range(32))
SECRET_KEY = SEED + bytes(NaClKey(SEED).verify_key)
PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
JWK = OKPAlgorithm.to_jwk(PRIVATE)
VECTORS = Path(__file__).parents[1] / "vectors" / "authored" / "wallet_requests.json"


def private_pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PEM = private_pem(PRIVATE)


def verify(headers: dict[str, str], payload: str) -> None:
    key = VerifyKey(base58.b58decode(headers["X-Pubkey"]))
    key.verify(payload.encode(), base58.b58decode(headers["X-Signature"]))


def test_v1_signs_time_nonce_and_body():
    headers = nodius_v1(Wallet(SEED), BODY, NOW)
    assert list(headers) == ["X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce"]
    assert headers["X-Timestamp"] == "1760000000"
    assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Nonce"])
    verify(headers, f"1760000000:{headers['X-Nonce']}:{SHA256}")


def test_v2_signs_the_method_and_the_raw_target_with_its_query_too():
    headers = nodius_v2(Wallet(SEED), "POST", "/solana?a=%20b", BODY, NOW)
    assert headers["X-Auth-Version"] == "2"
    assert (headers["X-Http-Method"], headers["X-Http-Path"]) == ("POST", "/solana?a=%20b")
    verify(headers, f"POST:/solana?a=%20b:1760000000:{headers['X-Nonce']}:{SHA256}")


def test_the_successor_signs_a_prefix_and_the_path_without_its_query():
    headers = nodius_2026(Wallet(SEED), "POST", "/solana?a=b", BODY, NOW)
    assert list(headers) == ["X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce"]
    payload = f"solana-nodius:v2:POST:/solana:1760000000:{headers['X-Nonce']}:{SHA256}"
    verify(headers, payload)


@pytest.mark.parametrize("sign", [nodius_v1, partial(nodius_v1, nonce="00112233445566ff")])
def test_an_empty_body_is_hashed_too(sign):
    headers = sign(Wallet(SEED), b"", NOW)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    verify(headers, f"1760000000:{headers['X-Nonce']}:{empty}")


def test_every_call_takes_a_new_nonce():
    wallet = Wallet(SEED)
    assert len({nodius_v1(wallet, BODY, NOW)["X-Nonce"] for _ in range(100)}) == 100


def test_recorded_requests_are_signed_alike():
    """Ed25519 is deterministic: the recorded signatures verify over the payloads built here."""
    recorded = json.loads(VECTORS.read_text(encoding="utf-8"))
    accepted = [case for case in recorded["cases"] if case["expect"] == "accept"]
    assert accepted
    for case in accepted:
        headers = dict(case["headers"])
        body = hashlib.sha256(base64.b64decode(case["body_base64"])).hexdigest()
        payload = f"{headers['X-Timestamp']}:{headers['X-Nonce']}:{body}"
        if headers.get("X-Auth-Version") == "2":
            payload = f"{headers['X-Http-Method']}:{headers['X-Http-Path']}:{payload}"
        verify(headers, payload)


@pytest.mark.parametrize(
    "wallet",
    [
        Wallet(SEED),
        Wallet.from_secret_key(SECRET_KEY),
        Wallet.from_base58(base58.b58encode(SECRET_KEY).decode()),
        Wallet.from_base58(base58.b58encode(SEED).decode()),
        Wallet.from_hex(SEED.hex()),
        Wallet.from_hex(f"0x{SECRET_KEY.hex()}\n"),
        Wallet.from_pem(PEM),
        Wallet.from_jwk(JWK),
        Wallet.from_id_json(json.dumps(list(SECRET_KEY))),
        Wallet.from_id_json(json.dumps(list(SECRET_KEY)).encode()),
    ],
    ids=[
        *("seed", "secret key", "base58", "base58 seed", "hex seed", "hex", "PEM", "JWK"),
        *("id.json", "id.json bytes"),
    ],
)
def test_every_form_of_a_key_gives_the_same_wallet(wallet):
    assert wallet.pubkey == base58.b58encode(SECRET_KEY[32:]).decode()
    assert wallet.secret_key == SECRET_KEY
    assert wallet.secret_key_base58 == base58.b58encode(SECRET_KEY).decode()
    signature = base58.b58decode(wallet.sign(b"challenge"))
    assert signature == NaClKey(SEED).sign(b"challenge").signature


def test_a_generated_wallet_is_a_new_one():
    assert Wallet.generate().pubkey != Wallet.generate().pubkey


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (Wallet, bytes(31)),
        (Wallet, bytes(33)),
        (Wallet.from_secret_key, SECRET_KEY[:63]),
        (Wallet.from_secret_key, SEED + bytes(32)),
        (Wallet.from_base58, ""),
        (Wallet.from_base58, "0OIl"),
        (Wallet.from_base58, base58.b58encode(SECRET_KEY).decode() + " "),
        (Wallet.from_base58, "1" * 100_000),
        (Wallet.from_base58, base58.b58encode(SEED[1:]).decode()),
        (Wallet.from_base58, base58.b58encode(SECRET_KEY[:40]).decode()),
        (Wallet.from_hex, ""),
        (Wallet.from_hex, SEED.hex() + "00"),
        (Wallet.from_hex, SEED.hex()[:-1] + "g"),
        (Wallet.from_hex, (SEED + bytes(32)).hex()),
        (Wallet.from_pem, "nonsense"),
        (Wallet.from_pem, private_pem(ec.generate_private_key(ec.SECP256R1()))),
        (Wallet.from_jwk, "nonsense"),
        (Wallet.from_jwk, '{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}'),
        (Wallet.from_jwk, JWK.replace('"d"', '"e"')),
        (Wallet.from_id_json, ""),
        (Wallet.from_id_json, "[1, 2"),
        (Wallet.from_id_json, "[" * 100_000),
        (Wallet.from_id_json, "{}"),
        (Wallet.from_id_json, "9999999999"),
        (Wallet.from_id_json, json.dumps([256, *SECRET_KEY[1:]])),
        (Wallet.from_id_json, json.dumps(["a"] * 64)),
    ],
)
def test_what_is_no_key_is_refused_and_not_quoted(make, value):
    with pytest.raises(ValueError) as caught:
        make(value)
    assert caught.value.__cause__ is None
    assert not value or str(value)[:40] not in str(caught.value)


def test_a_wallet_shows_its_public_key_alone():
    wallet = Wallet(SEED)
    assert repr(wallet) == f"Wallet({wallet.pubkey})"


@pytest.mark.parametrize("name", ["pubkey", "_key", "seed", "other"])
def test_a_wallet_is_frozen(name):
    with pytest.raises((AttributeError, TypeError)):
        setattr(Wallet(SEED), name, "x")
