"""Minted tokens carry the claims and units of each provider's document."""

from __future__ import annotations

import base64
import json
from functools import partial

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from rpcguard.client import tokens
from rpcguard.client.order import body_digest, oppiwallet, order_digest
from rpcguard.client.signing_key import SigningKey

NOW = 1_760_000_000.75
SECRET = "a-shared-secret-of-more-than-32-bytes"


def pem(private) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(private) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def private_keys():
    return {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }


def read(token: str, key, alg: str) -> dict:
    """Verify *token* with PyJWT, its signature alone; times are judged by the tests."""
    only_signature = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False)
    return jwt.decode(token, key, algorithms=[alg], options=only_signature)


def test_a_meganode_token_has_iat_and_exp_in_whole_seconds_and_no_kid():
    token = tokens.meganode(SigningKey.from_secret(SECRET), NOW)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert read(token, SECRET, "HS256") == {"iat": 1_760_000_000, "exp": 1_760_003_600}


def test_a_meganode_rs256_token_names_its_key_and_the_provider(private_keys):
    key = SigningKey.from_pem(pem(private_keys["RS256"]), "k1")
    token = tokens.meganode_rs256(key, NOW, lifetime=60)
    assert jwt.get_unverified_header(token)["kid"] == "k1"
    claims = read(token, public_pem(private_keys["RS256"]), "RS256")
    assert claims == {"iat": 1_760_000_000, "exp": 1_760_000_060, "aud": "nodereal.io"}


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_an_allthatnode_token_is_signed_with_the_algorithm_of_its_key(private_keys, alg):
    key = SigningKey.from_pem(pem(private_keys[alg]), "54f26cb4")
    token = tokens.allthatnode(key, NOW, audience="evm.allthatnode.com")
    assert jwt.get_unverified_header(token) == {"alg": alg, "typ": "JWT", "kid": "54f26cb4"}
    claims = read(token, public_pem(private_keys[alg]), alg)
    assert claims == {"nbf": 1_759_999_970, "exp": 1_760_003_600, "aud": "evm.allthatnode.com"}


def test_an_allthatnode_token_has_no_audience_unless_one_is_given(private_keys):
    key = SigningKey.from_pem(pem(private_keys["ES256"]), "k")
    claims = read(tokens.allthatnode(key, NOW), public_pem(private_keys["ES256"]), "ES256")
    assert set(claims) == {"nbf", "exp"}


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256"])
def test_an_rsa_key_signs_any_rsa_algorithm_that_is_asked_for(private_keys, alg):
    key = SigningKey.from_pem(pem(private_keys["RS256"]), "k", alg)
    token = tokens.bearer(key, NOW, {"sub": "alice", "iss": "me"})
    claims = read(token, public_pem(private_keys["RS256"]), alg)
    assert claims == {"iat": 1_760_000_000, "exp": 1_760_003_600, "sub": "alice", "iss": "me"}


@pytest.mark.parametrize("alg", ["ES256", "ES384", "EdDSA"])
def test_a_key_on_a_curve_has_one_algorithm(private_keys, alg):
    key = SigningKey.from_pem(pem(private_keys[alg]).decode(), "k")
    assert key.alg == alg
    assert read(tokens.bearer(key, NOW, {}), public_pem(private_keys[alg]), alg)
    with pytest.raises(ValueError, match="this key signs"):
        SigningKey.from_pem(pem(private_keys[alg]), "k", "RS256")


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_secret_signs_the_hmac_that_is_asked_for(alg):
    secret = b"s" * 64
    assert read(SigningKey.from_secret(secret, alg).mint({"a": 1}), secret, alg) == {"a": 1}


def test_the_claims_of_a_bearer_token_may_replace_its_times():
    key = SigningKey.from_secret(SECRET)
    claims = read(tokens.bearer(key, NOW, {"exp": 5}), SECRET, "HS256")
    assert claims == {"iat": 1_760_000_000, "exp": 5}


def test_an_engine_token_is_the_one_that_go_ethereum_published():
    # go-ethereum#24364; PyJWT rightly warns that six bytes are no secret
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = tokens.engine_api(SigningKey.from_secret(b"secret"), 1644994971)
    head, payload, _ = token.split(".")
    assert (head, payload) == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJpYXQiOjE2NDQ5OTQ5NzF9",
    )
    assert token.endswith(".3MaCM_vL7Dl50v0FMEJeVWwYckxifqxGtA2dlZA9YHQ")


def test_openssl_makes_the_same_token():
    # printf %s HEADER.PAYLOAD | openssl dgst -sha256 -hmac SECRET -binary | basenc --base64url
    assert tokens.meganode(SigningKey.from_secret(SECRET), NOW) == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
        ".eyJpYXQiOjE3NjAwMDAwMDAsImV4cCI6MTc2MDAwMzYwMH0"
        ".Mharq-LxQHWlO6I0Hn5pXken299ynt6jlgRx7w-NOcw"
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (partial(SigningKey.from_secret, ""), "empty"),
        (partial(SigningKey.from_secret, SECRET, "RS256"), "HS256, HS384 or HS512"),
        (partial(SigningKey.from_secret, " "), "blank"),
        (partial(SigningKey.from_secret, "-----BEGIN PUBLIC KEY-----"), "public key"),
        (partial(SigningKey.from_secret, '{"kty": "RSA"}'), "public key"),
        (partial(SigningKey.from_hex, "no hex"), "not hex"),
        (partial(SigningKey.from_hex, ""), "empty"),
        (partial(SigningKey.from_jwk, "nonsense"), "not a JWK"),
        (partial(SigningKey.from_jwk, "[" * 100_000), "not a JWK"),
        (partial(SigningKey.from_jwk, "[]"), "not a JWK"),
        (partial(SigningKey.from_jwk, {}), "kty must be"),
        (partial(SigningKey.from_jwk, {"kty": "RSA", "n": "AQAB"}), "not a JWK of its kty"),
        (partial(SigningKey.from_jwk, {"kty": "oct", "k": 1}), "not a JWK of its kty"),
        (partial(SigningKey.from_jwk, {"kty": "oct", "k": "AA", "use": "enc"}), "not for signing"),
        (
            partial(SigningKey.from_jwk, {"kty": "oct", "k": "AA", "key_ops": ["verify"]}),
            "not for signing",
        ),
        (
            partial(SigningKey.from_jwk, {"kty": "oct", "k": "YWFh", "alg": "RS256"}),
            "HS256, HS384 or HS512",
        ),
        (
            partial(
                SigningKey.from_jwk,
                ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()),
            ),
            "and private",
        ),
        (
            partial(
                SigningKey.from_jwk, ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP521R1()))
            ),
            "RSA, P-256, P-384 or Ed25519",
        ),
        (partial(SigningKey.from_pem, b"-----BEGIN NONSENSE-----"), "not an unencrypted"),
        (partial(SigningKey.from_pem, ""), "not an unencrypted"),
        (
            partial(SigningKey.from_pem, pem(ec.generate_private_key(ec.SECP256K1()))),
            "RSA, P-256, P-384 or Ed25519",
        ),
        (
            partial(
                SigningKey.from_pem,
                ec.generate_private_key(ec.SECP256R1()).private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
                ),
            ),
            "not an unencrypted",
        ),
        (
            partial(SigningKey.from_pem, public_pem(ec.generate_private_key(ec.SECP256R1()))),
            "not an unencrypted",
        ),
    ],
)
def test_an_unfit_key_is_refused_when_it_is_made(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_jwk_is_the_key_that_its_pem_is(private_keys, alg):
    to_jwk = {"RS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}[alg[:2]].to_jwk
    members = {**json.loads(to_jwk(private_keys[alg])), "kid": "from-the-jwk"}
    members.pop("key_ops", None)
    for jwk in (members, json.dumps(members), json.dumps(members).encode()):
        key = SigningKey.from_jwk(jwk)
        assert (key.alg, key.kid) == (alg, "from-the-jwk")
        assert read(key.mint({"a": 1}), public_pem(private_keys[alg]), alg) == {"a": 1}
    assert SigningKey.from_jwk(members, "mine").kid == "mine"


def test_a_jwk_may_choose_among_the_algorithms_of_its_key(private_keys):
    members = {**json.loads(RSAAlgorithm.to_jwk(private_keys["RS256"])), "alg": "PS256"}
    assert SigningKey.from_jwk(members).alg == "PS256"
    assert SigningKey.from_jwk(members, alg="RS512").alg == "RS512"


def test_a_secret_jwk_signs_with_its_hmac():
    encoded = base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")
    key = SigningKey.from_jwk({"kty": "oct", "k": encoded, "kid": "s"})
    assert (key.alg, key.kid) == ("HS256", "s")
    assert read(key.mint({"a": 1}), SECRET, "HS256") == {"a": 1}
    longer = base64.urlsafe_b64encode(b"s" * 64).decode().rstrip("=")
    assert SigningKey.from_jwk({"kty": "oct", "k": longer, "alg": "HS512"}).alg == "HS512"


@pytest.mark.parametrize("text", ["0x" + "5a" * 32, "5a" * 32 + "\n", "5A" * 32])
def test_a_hex_file_is_read_as_execution_clients_write_it(text):
    assert read(SigningKey.from_hex(text).mint({"a": 1}), b"Z" * 32, "HS256") == {"a": 1}


@pytest.mark.parametrize("name", ["alg", "kid", "_material", "other"])
def test_a_key_is_frozen(name):
    with pytest.raises((AttributeError, TypeError)):
        setattr(SigningKey.from_secret(SECRET), name, "x")


def test_a_key_never_shows_its_material(private_keys):
    assert repr(SigningKey.from_secret(SECRET, kid="a")) == "SigningKey(alg='HS256', kid='a')"
    assert SECRET not in str(SigningKey.from_secret(SECRET))
    assert "PRIVATE" not in repr(SigningKey.from_pem(pem(private_keys["RS256"])))


# JSON.stringify(`${currency}#${amount}#${orderId}`) of the document, hashed by Node.js 20:
#   crypto.createHash("sha256").update(JSON.stringify(text)).digest("hex")
NODE_DIGESTS = [
    (("BTC", "0.001", "12345"), "3fb40efb3db0642df5ea9ba01131dd17f21c2c6a8ca59f9c4c7dddb5b14877a2"),
    (
        ('q"uo\\te', "\n\x00\x7f", "\u2028é😀"),
        "f6621a1cf832408c5859c5225fc4921e925a6a5f2163882166abd007a8ccf8d8",
    ),
]


@pytest.mark.parametrize(("fields", "digest"), NODE_DIGESTS)
def test_an_order_digest_is_what_javascript_makes(fields, digest):
    assert order_digest(*fields) == digest


def test_a_field_that_would_move_the_others_is_refused():
    with pytest.raises(ValueError, match="'#'"):
        order_digest("BTC", "0.001#1", "2")


def test_the_fields_of_a_body_are_read_in_their_order_and_numbers_as_javascript_prints_them():
    body = b'{"orderId": "7", "amount": 1e-7, "currency": "BTC", "note": "free"}'
    names = ["currency", "amount", "orderId"]
    assert body_digest(body, names) == order_digest("BTC", "1e-7", "7")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"currency": "BTC", "amount": "1"}',
        b'{"currency": "BTC", "amount": true, "orderId": "1"}',
        b'{"currency": "BTC", "amount": 0.1000000000000000055, "orderId": "1"}',
        b'{"currency": "BTC", "amount": "1#1", "orderId": "1"}',
        b'{"currency": "BTC", "amount": "1", "amount": "2", "orderId": "1"}',
    ],
)
def test_a_body_whose_fields_have_no_one_spelling_is_refused(body):
    with pytest.raises(ValueError):
        body_digest(body, ["currency", "amount", "orderId"])


def test_an_oppiwallet_token_is_in_milliseconds_and_bound_to_path_key_and_order():
    digest = order_digest("BTC", "0.001", "12345")
    key = SigningKey.from_secret(SECRET)
    token = oppiwallet(key, "merchant-1", "/payouts/withdraw?trace=1", digest, NOW)
    payload = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "url": "/payouts/withdraw",
        "iat": 1_760_000_000_750,
        "exp": 1_760_000_060_750,
        "key": "merchant-1",
        "signature": digest,
    }
