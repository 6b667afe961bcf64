"""Key material that could only weaken verification is refused at load, and never printed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms
from key_pairs import KIND_OF, OWN_ALGORITHM, pem, private
from vectors.jwk import pem as pem_of_jwk

from rpcguard import base64url
from rpcguard.keys import ALGORITHMS, HMAC_BYTES, PEM_BYTES, public_key, secret_bytes, secret_key

SECRET = bytes(range(100, 164))
MESSAGE = b"eyJhbGciOiJIUzI1NiJ9.e30"


# secrets


@pytest.mark.parametrize("alg", sorted(HMAC_BYTES))
def test_a_secret_is_at_least_as_long_as_the_hash(alg: str) -> None:
    needed = HMAC_BYTES[alg]

    assert secret_key("kid", alg, bytes(range(needed))).alg == alg
    with pytest.raises(ValueError, match=f"{needed - 1} bytes, {alg} needs {needed}"):
        secret_key("kid", alg, bytes(range(needed - 1)))


def test_a_short_secret_loads_only_when_its_entry_says_so() -> None:
    weak = secret_key("kid", "HS256", b"s", allow_weak=True)

    assert weak.verify(MESSAGE, get_default_algorithms()["HS256"].sign(MESSAGE, b"s"))


@pytest.mark.parametrize("secret", [b"secret", b"changeme", b"YOUR_ENC_KEY", b"${SECRET}"])
def test_a_placeholder_is_too_short(secret: bytes) -> None:
    with pytest.raises(ValueError, match="needs 32"):
        secret_key("kid", "HS256", secret)


@pytest.mark.parametrize("secret", [b"", b" ", b" " * 64, b"\n\t\r\n" * 16])
def test_a_blank_secret_is_refused_even_when_weak_ones_are_allowed(secret: bytes) -> None:
    with pytest.raises(ValueError, match="empty or blank"):
        secret_key("kid", "HS256", secret, allow_weak=True)


def _jwk() -> dict[str, str]:
    numbers = private("rsa").public_key().public_numbers()
    return {"kty": "RSA", "e": "AQAB", "n": base64url.encode(numbers.n.to_bytes(256, "big"))}


def _public_bytes(kind: str, encoding: Encoding, form: PublicFormat) -> bytes:
    raw: bytes = private(kind).public_key().public_bytes(encoding, form)
    return raw


PUBLIC_TEXTS: dict[str, Callable[[], bytes]] = {
    "PEM": lambda: pem("rsa"),
    "PEM without its last newline": lambda: pem("rsa").strip(),
    "PEM with CRLF": lambda: pem("rsa").replace(b"\n", b"\r\n"),
    "PEM behind white space": lambda: b" \r\n\t" + pem("rsa"),
    "PKCS #1 PEM": lambda: _public_bytes("rsa", Encoding.PEM, PublicFormat.PKCS1),
    "elliptic PEM": lambda: pem("p256"),
    "Ed25519 PEM": lambda: pem("ed25519"),
    "OpenSSH RSA": lambda: _public_bytes("rsa", Encoding.OpenSSH, PublicFormat.OpenSSH),
    "OpenSSH ECDSA": lambda: _public_bytes("p256", Encoding.OpenSSH, PublicFormat.OpenSSH),
    "OpenSSH Ed25519": lambda: _public_bytes("ed25519", Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK": lambda: json.dumps(_jwk()).encode(),
    "JWK behind white space": lambda: b"\n " + json.dumps(_jwk(), indent=1).encode(),
    "JWK set": lambda: json.dumps({"keys": [_jwk()]}).encode(),
    "DER": lambda: _public_bytes("rsa", Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "PKCS #1 DER": lambda: _public_bytes("rsa", Encoding.DER, PublicFormat.PKCS1),
    "elliptic DER": lambda: _public_bytes("p256", Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "DER of an unknown curve": lambda: _public_bytes(
        "p256", Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ).replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030177")),
    "a broken JWK": lambda: json.dumps(_jwk()).encode()[:-1],
}


@pytest.mark.parametrize("form", PUBLIC_TEXTS)
def test_the_text_of_a_public_key_is_no_secret(form: str) -> None:
    for weak in (False, True):
        with pytest.raises(ValueError, match="public key"):
            secret_key("kid", "HS256", PUBLIC_TEXTS[form](), allow_weak=weak)


@pytest.mark.parametrize(
    "secret", [b'{"a": "JSON that is no key, 32 bytes"}', b"{braces, not JSON, 32 bytes long}"]
)
def test_a_secret_in_braces_that_is_no_jwk_loads(secret: bytes) -> None:
    assert secret_key("kid", "HS256", secret).verify(
        MESSAGE, get_default_algorithms()["HS256"].sign(MESSAGE, secret)
    )


@pytest.mark.parametrize("alg", ["RS256", "EdDSA", "none", "", "hs256", "HS256 ", "A256KW", "HS1"])
def test_a_secret_has_no_other_algorithm(alg: str) -> None:
    with pytest.raises(ValueError, match="HS256"):
        secret_key("kid", alg, SECRET)


# public keys


@pytest.mark.parametrize(("kind", "alg"), OWN_ALGORITHM.items())
def test_the_type_decides_the_algorithm_that_is_not_named(kind: str, alg: str) -> None:
    assert public_key("kid", None, pem(kind)).alg == alg


@pytest.mark.parametrize("alg", [*sorted(ALGORITHMS), "ES512", "PS384", "ES256K", "none", ""])
@pytest.mark.parametrize("kind", OWN_ALGORITHM)
def test_a_key_loads_only_for_an_algorithm_of_its_type(kind: str, alg: str) -> None:
    if KIND_OF.get(alg) == kind:
        assert public_key("kid", alg, pem(kind)).alg == alg
    else:
        with pytest.raises(ValueError, match=r"does not fit|supported"):
            public_key("kid", alg, pem(kind))


@pytest.mark.parametrize("kind", ["p521", "secp256k1", "ed448", "x25519", "dsa"])
def test_a_type_that_rpcguard_does_not_have_is_refused(kind: str) -> None:
    for alg in (None, "ES256", "EdDSA"):
        with pytest.raises(ValueError, match=r"does not fit|supported"):
            public_key("kid", alg, pem(kind))


def _rsa_pem(modulus: int, exponent: int) -> bytes:
    return pem_of_jwk(
        {
            "kty": "RSA",
            "n": base64url.encode(modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")),
            "e": base64url.encode(exponent.to_bytes((exponent.bit_length() + 7) // 8, "big")),
        }
    )


def _modulus(bits: int) -> int:
    return (1 << bits) - 159


WEAK_RSA = {
    "1024 bits": (_modulus(1024), 65537),
    "2047 bits": (_modulus(2047), 65537),
    "8193 bits": (_modulus(8193), 65537),
    "16384 bits": (_modulus(16384), 65537),
    "exponent 1": (_modulus(2048), 1),
    "exponent 2": (_modulus(2048), 2),
    "even exponent": (_modulus(2048), 65536),
    "exponent of 33 bits": (_modulus(2048), (1 << 32) + 1),
    "exponent as long as the modulus": (_modulus(2048), _modulus(2048) - 2),
}


@pytest.mark.parametrize(("modulus", "exponent"), WEAK_RSA.values(), ids=WEAK_RSA.keys())
@pytest.mark.timeout(30)
def test_a_weak_or_oversized_rsa_key_is_refused(modulus: int, exponent: int) -> None:
    with pytest.raises(ValueError, match=r"RSA|PEM"):
        public_key("kid", "RS256", _rsa_pem(modulus, exponent))


@pytest.mark.parametrize("bits", [2048, 2049, 3072, 4096, 8192])
@pytest.mark.parametrize("exponent", [3, 17, 65537])
def test_an_ordinary_rsa_key_loads(bits: int, exponent: int) -> None:
    assert public_key("kid", "RS256", _rsa_pem(_modulus(bits), exponent)).alg == "RS256"


def test_random_rsa_keys_are_not_taken_for_roca_ones() -> None:
    for offset in range(200):
        public_key("kid", "RS256", _rsa_pem(_modulus(2048) - 2 * offset, 65537))


SMALL_ORDER = [
    bytes(32),  # order 4; the Solana system program's address
    (1).to_bytes(32, "little"),  # the identity
    ((1 << 255) - 20).to_bytes(32, "little"),  # order 2
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),  # order 8
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_an_ed25519_key_of_small_order_is_refused(point: bytes) -> None:
    jwk = {"kty": "OKP", "x": base64url.encode(point)}

    with pytest.raises(ValueError, match="Ed25519"):
        public_key("kid", "EdDSA", pem_of_jwk(jwk))


@pytest.mark.parametrize("y", [(1 << 255) - 19, (1 << 255) - 18, (1 << 255) - 1])
def test_an_ed25519_key_that_is_not_canonical_is_refused(y: int) -> None:
    jwk = {"kty": "OKP", "x": base64url.encode(y.to_bytes(32, "little"))}

    with pytest.raises(ValueError, match="Ed25519"):
        public_key("kid", "EdDSA", pem_of_jwk(jwk))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_private_key_is_refused_and_not_printed(kind: str, form: PrivateFormat) -> None:
    text: bytes = private(kind).private_bytes(Encoding.PEM, form, NoEncryption())

    with pytest.raises(ValueError, match=r"^this is a private key") as caught:
        public_key("kid", None, text)

    assert text.splitlines()[1].decode() not in repr(caught.value)


NOT_PEM = {
    "nothing": b"",
    "text": b"secret-looking text",
    "a frame alone": b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
    "broken base64": b"-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n",
    "bytes": bytes(range(256)),
    "too long": b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 20_000,
}


@pytest.mark.parametrize("text", NOT_PEM.values(), ids=NOT_PEM.keys())
def test_what_is_not_pem_is_refused_and_not_printed(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"PEM|longer") as caught:
        public_key("kid", None, text)

    assert "secret-looking" not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.binary(max_size=200))
def test_any_bytes_as_pem_give_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=" "):
        public_key("kid", None, text)


def test_a_pem_text_may_have_16_kib() -> None:
    assert public_key("kid", None, pem("p256").ljust(PEM_BYTES)).alg == "ES256"
    with pytest.raises(ValueError, match=f"longer than {PEM_BYTES}"):
        public_key("kid", None, pem("p256").ljust(PEM_BYTES + 1))


def test_a_damaged_pem_gives_a_value_error_or_a_key() -> None:
    good = pem("p256")
    for place in range(len(good)):
        with contextlib.suppress(ValueError):
            public_key("kid", None, good[:place] + b"A" + good[place + 1 :])


# secrets as text


@pytest.mark.parametrize(
    ("text", "encoding", "secret"),
    [
        ("pass phrase é", "utf8", "pass phrase é".encode()),
        ("00ff10", "hex", b"\0\xff\x10"),
        ("0x00FF10", "hex", b"\0\xff\x10"),
        ("0X00ff10", "hex", b"\0\xff\x10"),
        ("+/8=", "base64", b"\xfb\xff"),
        ("-_8", "base64url", b"\xfb\xff"),
        ("-_8=", "base64url", b"\xfb\xff"),
    ],
)
def test_a_secret_is_read_in_its_encoding(text: str, encoding: str, secret: bytes) -> None:
    assert secret_bytes(text, encoding) == secret
    assert secret_bytes(text, encoding, len(secret)) == secret


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("0", "hex"),
        ("xyz1", "hex"),
        ("é0", "hex"),
        ("a b", "base64"),
        ("+!/8=", "base64"),
        ("-!_8", "base64url"),
        ("-!!!!_8", "base64url"),
        ("-_8=", "base64"),
        ("a", "base64url"),
        ("é", "base64"),
    ],
)
def test_a_secret_in_another_encoding_is_refused_and_not_printed(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match=f"^the secret is not {encoding}$") as caught:
        secret_bytes(text, encoding)

    assert caught.value.__suppress_context__


def test_a_secret_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes, exactly 32"):
        secret_bytes("00" * 31, "hex", 32)
