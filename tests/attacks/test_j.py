"""J: encrypted tokens."""

from __future__ import annotations

import json
import zlib

import pytest
from minting import OTHER_SECRET, SECRET, hour, segment, token
from sealing import DIR_SECRET, opening_key, private_pem, seal

from attacks.site import project
from rpcguard import base64url

MALFORMED, UNSUPPORTED, INVALID = (
    "malformed_credentials",
    "unsupported_algorithm",
    "invalid_credentials",
)
INNER = token(hour(), kid="kid-mac")
KEYS = [
    {"kid": "dir", "alg": "dir", "secret": DIR_SECRET},
    {"kid": "rsa", "alg": "RSA-OAEP-256", "private_key": private_pem(opening_key("RSA"))},
    {"kid": "ec", "alg": "ECDH-ES", "private_key": private_pem(opening_key("P-256"))},
    {"kid": "kw", "alg": "ECDH-ES+A256KW", "private_key": private_pem(opening_key("P-384"))},
]
WAYS = {
    "dir": ("dir", "secret"),
    "rsa": ("RSA-OAEP-256", "RSA"),
    "ec": ("ECDH-ES", "P-256"),
    "kw": ("ECDH-ES+A256KW", "P-384"),
}


@pytest.fixture
def site(make):
    return make(json.dumps(project("pub", encryption={"keys": KEYS})))


def sealed(way="dir", inner=INNER, **more):
    alg, kind = WAYS[way]
    return seal(inner, alg, kind, kid=way, **more)


@pytest.mark.parametrize("way", WAYS)
def test_J1_compressed_content_is_refused_unopened(site, way):
    assert site.admits("/pub", sealed(way)).key_id == "kid-mac"
    bomb = zlib.compress(bytes(5_000_000))[2:-4]
    for value in ("DEF", "def", "", 1, "none", ["DEF"]):
        assert site.denies("/pub", sealed(way, bomb, header={"zip": value})) == MALFORMED


@pytest.mark.parametrize("count", [1, 2**31 - 1, "1000", -1, 2**80, None])
@pytest.mark.parametrize("alg", ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW"])
def test_J2_an_iteration_count_starts_no_work(site, count, alg):
    header = {"alg": alg, "p2s": "c2FsdA", "p2c": count}
    if count is None:
        del header["p2c"]
    assert site.denies("/pub", sealed(header=header)) == UNSUPPORTED


@pytest.mark.parametrize(
    "alg",
    ["RSA1_5", "RSA-OAEP", "RSA-OAEP-512", "A256KW", "A256GCMKW", "ECDH-ES+A128KW", "none", ""],
)
def test_J3_J4_an_algorithm_that_no_key_has_is_unsupported_whatever_key_it_names(site, alg):
    for way in WAYS:
        assert site.denies("/pub", sealed(way, header={"alg": alg})) in (UNSUPPORTED, MALFORMED)
    for named in WAYS:  # a key named under the label of another
        for way in WAYS:
            if named != way:
                assert site.denies("/pub", sealed(way, header={"kid": named})) in (
                    UNSUPPORTED,
                    INVALID,
                )


def test_J3_every_failure_of_a_wrapped_key_is_told_alike(site):
    told = set()
    for size in (0, 1, 255, 256, 257):
        error = site.error("/pub", sealed("rsa", parts={1: b"\x01" * size}))
        told.add((error.reason, error.message, error.status))
    whole = sealed("rsa").split(".")
    flipped = bytearray(base64url.decode(whole[1]))
    flipped[0] ^= 1
    error = site.error("/pub", ".".join([whole[0], segment(bytes(flipped)), *whole[2:]]))
    told.add((error.reason, error.message, error.status))
    assert len({entry for entry in told if entry[0] == INVALID}) == 1
    assert {entry[0] for entry in told} <= {INVALID, MALFORMED}


EPKS = [
    None, {}, [], "x", {"kty": "EC"},
    {"kty": "EC", "crv": "P-256", "x": segment(bytes(32)), "y": segment(bytes(32))},
    {"kty": "EC", "crv": "P-256", "x": segment(b"\1" * 32), "y": segment(b"\1" * 32)},
    {"kty": "EC", "crv": "P-384", "x": segment(b"\1" * 48), "y": segment(b"\1" * 48)},
    {"kty": "EC", "crv": "P-521", "x": segment(b"\1" * 66), "y": segment(b"\1" * 66)},
    {"kty": "OKP", "crv": "X25519", "x": segment(bytes(32))},
    {"kty": "EC", "crv": "secp256k1", "x": segment(b"\1" * 32), "y": segment(b"\1" * 32)},
]  # fmt: skip


@pytest.mark.parametrize("epk", EPKS, ids=repr)
@pytest.mark.parametrize("way", ["ec", "kw"])
def test_J5_an_ephemeral_key_is_a_point_of_the_keys_own_curve(site, epk, way):
    assert site.denies("/pub", sealed(way, header={"epk": epk})) in (MALFORMED, INVALID)


@pytest.mark.parametrize(
    "parts",
    [{1: b"x" * 32}, {1: b"x"}, {4: b""}, {4: b"x" * 4}, {4: b"x" * 8}, {4: b"x" * 12}, {4: b"x" * 17},
     {2: b""}, {2: b"x" * 11}, {2: b"x" * 13}, {2: b"x" * 16}],
    ids=repr,
)  # fmt: skip
def test_J6_each_part_has_its_exact_size(site, parts):
    assert site.denies("/pub", sealed(parts=parts)) in (MALFORMED, INVALID)


def test_J6_a_cut_tag_is_refused(site):
    *front, tag = sealed().split(".")
    whole = base64url.decode(tag)
    for size in (0, 4, 8, 12, 15):
        assert site.denies("/pub", ".".join([*front, segment(whole[:size])])) == MALFORMED


@pytest.mark.parametrize(
    "enc", ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A192GCM", "a256gcm", "", None]
)
def test_J7_there_is_no_padding_to_ask_about(site, enc):
    for way in WAYS:
        assert site.denies("/pub", sealed(way, header={"enc": enc})) in (UNSUPPORTED, MALFORMED)


def test_J8_encryption_is_one_deep_and_what_is_inside_is_judged_in_full(site):
    assert site.denies("/pub", sealed(inner=sealed())) == MALFORMED
    nested = INNER
    for _ in range(3):
        nested = sealed(inner=nested)
    assert site.denies("/pub", nested) == MALFORMED
    none = f"{segment({'alg': 'none'})}.{segment(hour())}."
    cases = [
        (none, (UNSUPPORTED, MALFORMED)),
        (token(hour(), OTHER_SECRET, kid="kid-mac"), (INVALID,)),
        (token(hour(), SECRET), (INVALID,)),  # no kid
        (token(hour(exp=1), kid="kid-mac"), ("expired",)),
        (json.dumps(hour()), (MALFORMED,)),
    ]
    for inner, reasons in cases:
        assert site.denies("/pub", sealed(inner=inner)) in reasons
