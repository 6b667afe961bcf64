"""B: encoding of a JWS, and the form of its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from minting import SECRET, bearer, hour, private_key, segment, token

from attacks.site import EC, RSA, registry
from attacks.tokens import mac, signed

MALFORMED, INVALID = "malformed_credentials", "invalid_credentials"
N_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GOOD = token(hour())
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "....", GOOD.replace(".", ""), f"{HEADER}.{PAYLOAD}", HEADER,
     f"{HEADER}.{PAYLOAD}.", f".{PAYLOAD}.{SIGNATURE}", f"{HEADER}..{SIGNATURE}", f"{GOOD}.",
     f".{GOOD}", f"{GOOD}.{SIGNATURE}", f"{GOOD}.x.y", "x", "x.y.z"],
)  # fmt: skip
def test_B1_a_token_has_three_parts_and_a_signature(site, text):
    for path in ("/hs", "/pub", "/atn"):
        # to the others HS256 is no algorithm at all
        assert site.denies(path, text) in (MALFORMED, INVALID, "unsupported_algorithm")
    assert site.denies("/hs", text) in (MALFORMED, INVALID)
    assert site.admits("/hs", GOOD)


@pytest.mark.parametrize("padding", ["=", "==", "==="])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_B2_padding_is_another_spelling_and_refused(site, padding, part):
    parts = GOOD.split(".")
    parts[part] += padding
    assert site.denies("/hs", ".".join(parts)) == MALFORMED


@pytest.mark.parametrize(
    "odd", ["\n", "\r\n", " ", "*", "?", "+", "/", "é", "\t", "\0", "%", ",", "~"]
)
@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_B3_a_character_outside_the_alphabet_is_refused(site, odd, part, place):
    parts = GOOD.split(".")
    at = {"start": 0, "middle": 8, "end": len(parts[part])}[place]
    parts[part] = parts[part][:at] + odd + parts[part][at:]
    text = ".".join(parts)
    if (part, place, odd) == (0, "start", " "):
        # two documents show two spaces after Bearer: a space there is none of the token's
        assert site.told("/hs", text) == ""
    else:
        assert site.denies("/hs", text) == MALFORMED


def test_B4_unused_bits_are_zero_so_that_a_token_has_one_spelling(site):
    for part, text in enumerate(GOOD.split(".")):
        spare = {0: 0, 2: 4, 3: 2}[len(text) % 4]
        last = ALPHABET.index(text[-1])
        for bits in range(1, 1 << spare):
            parts = GOOD.split(".")
            parts[part] = text[:-1] + ALPHABET[last | bits]
            assert site.denies("/hs", ".".join(parts)) in (MALFORMED, INVALID)
        if part == 2:
            assert spare == 2  # 32 bytes leave two bits
            twin = text[:-1] + ALPHABET[last | 1]
            assert base64.urlsafe_b64decode(twin + "=") == base64.urlsafe_b64decode(text + "=")
            assert site.denies("/hs", f"{HEADER}.{PAYLOAD}.{twin}") == MALFORMED


def test_B5_a_mac_is_whole_or_nothing(site):
    full = hmac.new(SECRET.encode(), f"{HEADER}.{PAYLOAD}".encode(), hashlib.sha256).digest()
    assert segment(full) == SIGNATURE
    for other in (full[:16], full[:31], full + b"\0", full + full, full.hex().encode(), full[::-1]):
        assert site.denies("/hs", f"{HEADER}.{PAYLOAD}.{segment(other)}") == INVALID
    standard = base64.b64encode(full).decode()
    assert site.denies("/hs", f"{HEADER}.{PAYLOAD}.{standard}") == MALFORMED


def test_B6_the_json_serialisations_are_no_tokens(site):
    one = {"protected": HEADER, "signature": SIGNATURE}
    for document in ({"payload": PAYLOAD, **one}, {"payload": PAYLOAD, "signatures": [one]}):
        for text in (json.dumps(document), json.dumps(document, separators=(",", ":"))):
            assert site.denies("/hs", text) == MALFORMED
            assert site.denies("/hs", segment(text)) == MALFORMED


def ec_parts():
    head, payload, signature = signed("ES256").split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{head}.{payload}", int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")


def raw_pair(r, s):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_B7_an_ecdsa_signature_is_no_der(site):
    text, r, s = ec_parts()
    assert site.admits("/pub", f"{text}.{segment(raw_pair(r, s))}").key_id == EC
    assert site.denies("/pub", f"{text}.{segment(encode_dss_signature(r, s))}") == INVALID


def test_B8_the_numbers_of_an_ecdsa_signature_are_in_their_range_and_64_bytes(site):
    text, r, s = ec_parts()
    pairs = [(0, s), (r, 0), (0, 0), (N_P256, s), (r, N_P256), (N_P256 + 1, s), (1, 1), (s, r)]
    forms = [raw_pair(*pair) for pair in pairs]
    whole = raw_pair(r, s)
    forms += [
        whole[:63],
        whole + b"\0",
        b"\0" + whole,
        whole[1:],
        whole[:32],
        b"\0" * 64,
        b"\xff" * 64,
    ]
    for form in forms:
        assert site.denies("/pub", f"{text}.{segment(form)}") == INVALID


def test_B9_the_twin_of_an_ecdsa_signature_is_good_and_is_the_same_token(make):
    text, r, s = ec_parts()
    twins = [f"{text}.{segment(raw_pair(r, each))}" for each in (s, N_P256 - s)]
    site = make()
    assert [site.told("/pub", twin) for twin in twins] == ["", ""]
    site.verifier.revoke("pub", token=twins[0])
    assert [site.told("/pub", twin) for twin in twins] == ["revoked", "revoked"]
    document = json.loads(registry("pub"))
    document["projects"]["pub"]["single_use"] = True
    once = make(json.dumps(document))
    assert [once.told("/pub", twin) for twin in twins] == ["", "replayed"]


def rsa_forms():
    key = private_key("RS256")
    head, payload, signature = signed("RS256").split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    numbers, size = key.private_numbers(), len(raw)
    n, d = numbers.public_numbers.n, numbers.d
    digest = hashlib.sha256(f"{head}.{payload}".encode()).digest()
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")
    without_null = bytes.fromhex("302f300b0609608648016503040201" + "0420")

    def sign(info, filler=b"\xff", tail=b""):
        pad = size - 3 - len(info) - len(tail)
        block = b"\0\1" + filler * pad + b"\0" + info + tail
        return pow(int.from_bytes(block, "big"), d, n).to_bytes(size, "big")

    value = int.from_bytes(raw, "big")
    forms = {
        "leading zero": b"\0" + raw,
        "255 bytes": raw[1:],
        "cut": raw[:-1],
        "s + n": (value + n).to_bytes(size + 1, "big"),
        "n - s": (n - value).to_bytes(size, "big"),
        "0": b"\0" * size,
        "1": (1).to_bytes(size, "big"),
        "n": n.to_bytes(size, "big"),
        "other padding": sign(prefix + digest, b"\xfe"),
        "bytes behind the digest": sign(prefix + digest, tail=b"\0" * 40),
        "NULL missing": sign(without_null + digest),
        "bare digest": sign(digest),
        "empty": b"",
    }
    assert sign(prefix + digest) == raw  # the forger's tool makes the genuine one too
    return f"{head}.{payload}", forms


def test_B10_an_rsa_signature_has_one_form(site):
    text, forms = rsa_forms()
    for name, form in forms.items():
        reason = site.denies("/pub", f"{text}.{segment(form)}")
        assert reason in (INVALID, MALFORMED), name
    assert site.admits("/pub", signed("RS256")).key_id == RSA


def test_B11_an_endless_credential_is_refused_by_its_length(site):
    at_limit = 8192
    for size in (at_limit + 1, 100_000, 1 << 20):
        for text in ("x" * size, f"{HEADER}.{'A' * size}.{SIGNATURE}", "." * size):
            assert site.denies("/hs", text) == MALFORMED
    padding = "p" * 5900
    long = mac(SECRET, hour(pad=padding))
    assert len(long) <= at_limit and site.admits("/hs", long)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_B12_a_lone_surrogate_is_malformed_and_no_error_of_the_library(site, part):
    parts = GOOD.split(".")
    parts[part] = parts[part][:4] + "\udc80" + parts[part][4:]
    assert site.denies("/hs", ".".join(parts)) == MALFORMED
    assert site.denies("/hs", bearer("\udcff")) == MALFORMED


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (f"bearer {GOOD}", ""),
        (f"BEARER {GOOD}", ""),
        (f"Bearer  {GOOD}", ""),
        (f"Bearer\t{GOOD}", MALFORMED),
        (f"Bearer \t{GOOD}", MALFORMED),
        (f"Bearer{GOOD}", "missing_credentials"),
        (f"Bearer {GOOD} {GOOD}", MALFORMED),
        (f"Bearer {GOOD},{GOOD}", MALFORMED),
        (f"Bearer {GOOD} ", MALFORMED),
        (f" Bearer {GOOD}", "missing_credentials"),
        ("Bearer", MALFORMED),
        ("Bearer ", MALFORMED),
        (f"Basic {GOOD}", "missing_credentials"),
        (f"Bearer: {GOOD}", MALFORMED),
        (GOOD, "missing_credentials"),
        ("", "missing_credentials"),
        (f'Bearer "{GOOD}"', MALFORMED),
    ],
)  # fmt: skip
def test_B13_the_authorization_field_has_one_grammar(site, value, reason):
    assert site.told("/hs", [("Authorization", value)]) == reason


def test_B14_nothing_tells_which_byte_is_wrong(site):
    raw = base64.urlsafe_b64decode(SIGNATURE + "=")
    told = set()
    for index in range(32):
        other = bytearray(raw)
        other[index] ^= 1
        error = site.error("/hs", f"{HEADER}.{PAYLOAD}.{segment(bytes(other))}")
        told.add(
            (error.status, error.code, error.message, error.reason, error.detail, *error.challenges)
        )
        assert SIGNATURE not in " ".join(map(str, [repr(error), str(error), *vars(error).values()]))
    assert len(told) == 1
    unknown = site.error("/pub", token(hour(), private_key("RS256", 1), "RS256", kid="unknown"))
    wrong = site.error("/pub", token(hour(), private_key("RS256", 1), "RS256", kid=RSA))
    assert (unknown.reason, unknown.message) == (wrong.reason, wrong.message)
