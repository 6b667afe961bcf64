"""RS256, ES256 and HS256 of a registered key, against Wycheproof."""

from __future__ import annotations

import functools

import pytest
from vectors.loader import Case, Expect, each
from vectors.wycheproof_cases import wycheproof

from rpcguard.keys import HMAC_BYTES, Key, public_key, secret_key

HMAC = wycheproof("hmac_sha256")
RAW_SIGNATURE_BYTES = 64  # RFC 7518 section 3.4: r and s of 32 bytes each


@functools.cache
def _key(alg: str, pem: str) -> Key:
    return public_key("kid", alg, pem.encode("ascii"))


def _accepts(alg: str, case: Case) -> bool:
    key = _key(alg, case.group["publicKeyPem"])
    return key.verify(bytes.fromhex(case.data["msg"]), bytes.fromhex(case.data["sig"]))


@each(case for size in (2048, 3072, 4096) for case in wycheproof(f"rsa_signature_{size}_sha256"))
def test_rs256(case: Case) -> None:
    assert _accepts("RS256", case) is (case.expect is Expect.ACCEPT)


@each(wycheproof("ecdsa_secp256r1_sha256_p1363"))
def test_es256(case: Case) -> None:
    assert _accepts("ES256", case) is (case.expect is Expect.ACCEPT)
    if case.expect is Expect.ACCEPT:
        assert len(case.data["sig"]) == 2 * RAW_SIGNATURE_BYTES


@each(wycheproof("ecdsa_secp256r1_sha256"))
def test_es256_has_no_signature_in_der(case: Case) -> None:
    assert not _accepts("ES256", case)


@each(case for case in HMAC if case.group["tagSize"] == 256)
def test_hs256(case: Case) -> None:
    secret, short = bytes.fromhex(case.data["key"]), case.group["keySize"] < 8 * HMAC_BYTES["HS256"]
    if short:
        with pytest.raises(ValueError, match="32"):
            secret_key("kid", "HS256", secret)
    key = secret_key("kid", "HS256", secret, allow_weak=short)
    message, tag = bytes.fromhex(case.data["msg"]), bytes.fromhex(case.data["tag"])

    assert key.verify(message, tag) is (case.expect is Expect.ACCEPT)


@each(case for case in HMAC if case.group["tagSize"] == 128)
def test_hs256_has_no_truncated_tag(case: Case) -> None:
    key = secret_key("kid", "HS256", bytes.fromhex(case.data["key"]), allow_weak=True)

    assert not key.verify(bytes.fromhex(case.data["msg"]), bytes.fromhex(case.data["tag"]))


def test_every_hmac_case_is_in_one_of_the_two_groups() -> None:
    assert {case.group["tagSize"] for case in HMAC} == {128, 256}
