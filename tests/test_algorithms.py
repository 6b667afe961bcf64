"""What checks signatures agrees with those who make them, and refuses all else without raising."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from rpcguard.algorithms import _der, ec_check, hmac_check, rsa_check

TEXT = b"header.payload"
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
RSA = rsa.generate_private_key(65537, 2048)


@given(
    size=st.sampled_from(["256", "384", "512"]),
    secret=st.binary(min_size=1, max_size=300),  # shorter and longer than a block of either hash
    text=st.binary(max_size=300),
)
def test_an_hmac_is_that_of_the_standard_library(size: str, secret: bytes, text: bytes) -> None:
    check = hmac_check(f"HS{size}", secret)
    mac = hmac.digest(secret, text, f"sha{size}")

    assert check(text, mac)
    assert check(text, mac)  # the first use has used nothing up
    assert not check(text + b"x", mac)
    assert not check(text, mac[:-1])
    assert not check(text, b"")


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256"])
def test_rsa_takes_its_own_padding_and_hash_alone(alg: str) -> None:
    check = rsa_check(alg, RSA.public_key())
    for other, kind in HASHES.items():
        pss = padding.PSS(padding.MGF1(kind), kind.digest_size)
        assert check(TEXT, RSA.sign(TEXT, padding.PKCS1v15(), kind)) is (alg == f"RS{other}")
        assert check(TEXT, RSA.sign(TEXT, pss, kind)) is (alg == f"PS{other}")


def test_pss_has_a_salt_as_long_as_the_hash() -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 20)
    assert not rsa_check("PS256", RSA.public_key())(TEXT, RSA.sign(TEXT, pss, hashes.SHA256()))


@pytest.mark.parametrize("signature", [b"", b"\0" * 255, b"\0" * 256, b"\xff" * 256, b"\1" * 257])
@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_what_is_no_signature_of_rsa_is_refused(alg: str, signature: bytes) -> None:
    assert not rsa_check(alg, RSA.public_key())(TEXT, signature)


@pytest.mark.parametrize(
    ("alg", "curve", "size"), [("ES256", ec.SECP256R1(), 32), ("ES384", ec.SECP384R1(), 48)]
)
def test_ecdsa_is_two_numbers_of_the_order_s_size(
    alg: str, curve: ec.EllipticCurve, size: int
) -> None:
    private = ec.generate_private_key(curve)
    check = ec_check(alg, private.public_key())
    der = private.sign(TEXT, ec.ECDSA(HASHES[alg[2:]]))
    r, s = (number.to_bytes(size, "big") for number in decode_dss_signature(der))

    assert check(TEXT, r + s)
    assert not check(TEXT + b"x", r + s)
    for wrong in (der, b"", r, r + s + b"\0", b"\0" + r + s, b"\0" + r + b"\0" + s, s + r):
        assert not check(TEXT, wrong)
    for zero in (bytes(2 * size), r + bytes(size), bytes(size) + s, b"\xff" * 2 * size):
        assert not check(TEXT, zero)


def test_ecdsa_with_another_hash_is_refused() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    der = private.sign(TEXT, ec.ECDSA(hashes.SHA384()))
    raw = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))
    assert not ec_check("ES256", private.public_key())(TEXT, raw)


_EDGES = st.sampled_from([0, 1, 127, 128, 255, 256, 2**255, 2**256 - 1, 2**383, 2**384 - 1])


@given(
    size=st.sampled_from([32, 48]),
    first=_EDGES | st.integers(0, 2**384 - 1),
    second=_EDGES | st.integers(0, 2**384 - 1),
)
def test_a_signature_is_written_as_cryptography_writes_it(
    size: int, first: int, second: int
) -> None:
    r, s = first % 256**size, second % 256**size
    raw = r.to_bytes(size, "big") + s.to_bytes(size, "big")

    assert _der(raw, size) == encode_dss_signature(r, s)


@pytest.mark.parametrize("size", [32, 48])
def test_zeros_alone_are_taken_from_the_front_of_a_number(size: int) -> None:
    for octet in range(256):
        raw = bytes([octet] * size * 2)
        number = int.from_bytes(raw[:size], "big")
        assert _der(raw, size) == encode_dss_signature(number, number)
