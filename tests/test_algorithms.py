"""What checks signatures agrees with those who make them, and refuses all else without raising."""

from __future__ import annotations

import hashlib
import hmac
import math

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from rpcguard.algorithms import _DIGEST_INFO, _der, ec_check, hmac_check, rsa_check

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


# Against the ordinary way of `cryptography`: any text, signed as if it were what PKCS #1 v1.5 makes.

NUMBERS = RSA.private_numbers()
MODULUS = NUMBERS.public_numbers.n


def _signed(encoded: bytes) -> bytes:
    """Return the signature that opens to *encoded*, whatever that is: the bare operation of RSA."""
    return pow(int.from_bytes(encoded, "big") % MODULUS, NUMBERS.d, MODULUS).to_bytes(256, "big")


def _agreed(alg: str, text: bytes, signature: bytes) -> bool:
    """Return whether *signature* is good, after `cryptography` has said the same."""
    try:
        RSA.public_key().verify(signature, text, padding.PKCS1v15(), HASHES[alg[2:]])
    except InvalidSignature:
        good = False
    else:
        good = True
    assert rsa_check(alg, RSA.public_key())(text, signature) is good
    return good


def _encoded(alg: str, info: str | None = None, *, hashed: bytes | None = None) -> bytes:
    """Return TEXT as it is to be signed, with another DigestInfo in hex, and another hash."""
    if hashed is None:
        hashed = hashlib.new(f"sha{alg[2:]}", TEXT).digest()
    before = _DIGEST_INFO[alg[2:]] if info is None else bytes.fromhex(info)
    return _padded(before + hashed)


def _padded(data: bytes) -> bytes:
    return b"\0\1" + b"\xff" * (253 - len(data)) + b"\0" + data


def _garbage(alg: str, ones: int, *, behind: bool) -> bytes:
    """Return too short a padding, with zeros behind or before what counts (Bleichenbacher, 2006)."""
    data = _encoded(alg).partition(b"\xff\0")[2]
    rest = bytes(256 - 3 - ones - len(data))
    return b"\0\1" + b"\xff" * ones + b"\0" + (data + rest if behind else rest + data)


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512"])
def test_the_one_text_that_pkcs1_makes_is_accepted(alg: str) -> None:
    assert _agreed(alg, TEXT, _signed(_encoded(alg)))
    assert _signed(_encoded(alg)) == RSA.sign(TEXT, padding.PKCS1v15(), HASHES[alg[2:]])


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512"])
def test_no_other_text_is_accepted_for_it(alg: str) -> None:
    good, size = _encoded(alg), HASHES[alg[2:]].digest_size
    info = _DIGEST_INFO[alg[2:]].hex()
    others = [
        b"\0\2" + good[2:],
        b"\0\0" + good[2:],
        b"\1" + good[1:],
        good[:2] + b"\xfe" + good[3:],
        good[:2] + b"\0" + good[3:],
        good[:10] + b"\0" + good[11:],
        good.replace(b"\xff\0", b"\xff\xff", 1),
        *(
            _garbage(alg, ones, behind=behind)
            for ones in (0, 7, 8, 100)
            for behind in (True, False)
        ),
        _encoded(alg, ""),  # the hash alone
        _padded(b""),
        _padded(bytes.fromhex(info)),
        _encoded(alg, info.replace("0500", "")),  # without NULL, lengths left as they were
        _encoded(alg, f"30{size + 15:02x}300b{info[8:30]}04{size:02x}"),  # and put right
        _encoded(alg, info[:4].replace("30", "3081", 1) + info[4:]),  # a length in two bytes
        _encoded(alg, info[:-2]),
        _encoded(alg, f"{info}00"),
        _encoded(alg, hashed=bytes(size)),
        _encoded(alg, hashed=hashlib.sha1(TEXT).digest()),
        _padded(bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(TEXT).digest()),
        *(_encoded(other) for other in ("RS256", "RS384", "RS512") if other != alg),
    ]
    for other in others:
        assert len(other) == 256
        assert not _agreed(alg, TEXT, _signed(other))


@given(
    alg=st.sampled_from(["RS256", "RS384", "RS512"]),
    changes=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3),
)
def test_a_text_with_other_bytes_is_judged_as_cryptography_judges_it(
    alg: str, changes: list[tuple[int, int]], cut: int
) -> None:
    text = bytearray(_encoded(alg))
    for place, octet in changes:
        text[place] = octet
    text = text[cut:] + bytes(cut)  # all that is there, a place further to the left
    assert _agreed(alg, TEXT, _signed(bytes(text))) is (bytes(text) == _encoded(alg))


@given(alg=st.sampled_from(["RS256", "RS384", "RS512"]), signature=st.binary(max_size=300))
def test_any_signature_is_judged_as_cryptography_judges_it(alg: str, signature: bytes) -> None:
    _agreed(alg, TEXT, signature)


@given(
    alg=st.sampled_from(["RS256", "RS384", "RS512"]),
    text=st.binary(max_size=100),
    bit=st.integers(0, 2047),
)
def test_a_signature_with_another_bit_is_none(alg: str, text: bytes, bit: int) -> None:
    signature = RSA.sign(text, padding.PKCS1v15(), HASHES[alg[2:]])
    changed = (int.from_bytes(signature, "big") ^ (1 << bit)).to_bytes(256, "big")
    assert _agreed(alg, text, signature)
    assert not _agreed(alg, text, changed)
    assert not _agreed(alg, text + b"x", signature)


# A prime is a modulus too: these, of Mersenne, have sizes that no generator of keys makes, and all
# their bits are set.
@pytest.mark.parametrize("bits", [1279, 2203, 3217])
@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512"])
def test_a_key_of_odd_size_is_judged_as_cryptography_judges_it(alg: str, bits: int) -> None:
    modulus, size = (1 << bits) - 1, (bits + 7) // 8
    exponent = next(e for e in (17, 257, 65537) if math.gcd(e, modulus - 1) == 1)
    private = pow(exponent, -1, modulus - 1)
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    check = rsa_check(alg, key)
    data = _encoded(alg).partition(b"\xff\0")[2]
    good = b"\0\1" + b"\xff" * (size - 3 - len(data)) + b"\0" + data
    for encoded in (
        good,
        good[1:] + b"\0",  # all of it, a place further to the left
        b"\0\1" + b"\xff" * 8 + b"\0" + data + bytes(size - 11 - len(data)),
        b"\0\1" + bytes(size - 2 - len(data)) + data,
        bytes(size),
    ):
        number = pow(int.from_bytes(encoded, "big") % modulus, private, modulus)
        for signature in (
            number.to_bytes(size, "big"),
            (modulus - number).to_bytes(size, "big"),
            number.to_bytes(size + 1, "big"),
            number.to_bytes(size, "big")[:-1],
        ):
            try:
                key.verify(signature, TEXT, padding.PKCS1v15(), HASHES[alg[2:]])
            except InvalidSignature:
                assert not check(TEXT, signature)
            else:
                assert check(TEXT, signature)
                assert (encoded, len(signature)) == (good, size)
    signed = pow(int.from_bytes(good, "big"), private, modulus)
    assert check(TEXT, signed.to_bytes(size, "big"))


def test_a_signature_has_one_number_and_one_length() -> None:
    for number in range(1000):  # until one has room for the modulus beside it
        text = b"%d" % number
        signature = RSA.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if int.from_bytes(signature, "big") + MODULUS < 1 << 2048:
            break
    assert _agreed("RS256", text, signature)
    larger = int.from_bytes(signature, "big") + MODULUS
    for other in (larger.to_bytes(256, "big"), signature + b"\0", b"\0" + signature, signature[1:]):
        assert not _agreed("RS256", text, other)


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


_EDGES = st.sampled_from(
    [0, 1, 0x58 << 248, 0x58 << 376, 127, 128, 255, 256, 2**255, 2**256 - 1, 2**383, 2**384 - 1]
)


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
