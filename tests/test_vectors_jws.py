"""Whole tokens: parsed by `schemes.jws`, checked by the key that the case configures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from vectors.jwk import key_of
from vectors.loader import Case, Expect, each
from vectors.other_cases import cookbook
from vectors.wycheproof_cases import wycheproof

from rpcguard import base64url
from rpcguard.errors import AuthError
from rpcguard.keys import ALGORITHMS, Key
from rpcguard.schemes import jws

LIMIT = 16 * 1024
SIGNATURES = wycheproof("json_web_signature")
CRYPTO = wycheproof("json_web_crypto")
# In RFC 7518 and not in rpcguard; the first is how Wycheproof writes ES512
UNSUPPORTED = {"ES521", "ES512", "PS384", "PS512"}


def _keys(case: Case) -> list[Key]:
    """Return the case's keys as a project has them: all fit, of one kind, each with its id."""
    jwks = case.group.get("public", case.group["private"])
    keys = [key_of(jwk) for jwk in jwks.get("keys", [jwks])]
    if len({key.kid for key in keys}) != len(keys):
        raise ValueError("two keys of one id")
    if len({key.alg.startswith("HS") for key in keys}) != 1:
        raise ValueError("secrets and public keys in one set")
    return keys


def _payload(token: str, keys: list[Key]) -> bytes | None:
    """Return what the token says, or None if it is refused; another error fails the test."""
    try:
        parsed = jws.parse(token, LIMIT)
    except AuthError:
        return None
    named = parsed.header.get("kid", keys[0].kid)
    for key in keys:
        if key.kid == named and parsed.header.get("alg") == key.alg:
            return parsed.payload if key.verify(parsed.signing_input, parsed.signature) else None
    return None


def _algorithm(case: Case) -> str:
    header = str(case.data["jws"]).partition(".")[0]
    return str(json.loads(base64url.decode(header))["alg"])


def _unsupported(case: Case) -> bool:
    return case.expect is Expect.ACCEPT and _algorithm(case) in UNSUPPORTED


@each(case for case in SIGNATURES if case.expect is Expect.ACCEPT and not _unsupported(case))
def test_a_genuine_token_is_accepted_and_gives_its_payload(case: Case) -> None:
    payload = _payload(case.data["jws"], _keys(case))

    assert payload == base64url.decode(case.data["jws"].split(".")[1])


@each(case for case in SIGNATURES if _unsupported(case))
def test_an_algorithm_that_rpcguard_does_not_have_is_refused(case: Case) -> None:
    algorithm = _algorithm(case)
    try:
        keys = _keys(case)
    except ValueError:
        assert case.group["public"]["alg"] in UNSUPPORTED
    else:  # the key is of another algorithm than the token
        assert keys[0].alg != algorithm
        assert _payload(case.data["jws"], keys) is None
    assert algorithm not in ALGORITHMS


@each(case for case in SIGNATURES if case.expect is Expect.REFUSE)
def test_a_bad_token_is_refused(case: Case) -> None:
    try:
        keys = _keys(case)
    except ValueError:  # a key for encryption, or for an algorithm that rpcguard does not have
        jwk = case.group.get("public", case.group["private"])
        assert jwk.get("alg") in UNSUPPORTED or jwk.get("use") == "enc" or "key_ops" in jwk
        jws_only = [key_of(FALLBACK)]
        assert _payload(case.data["jws"], jws_only) is None
    else:
        assert _payload(case.data["jws"], keys) is None


FALLBACK = cookbook("jwk")["3_5.symmetric_key_mac_computation"]


@each(wycheproof("json_web_key"))
def test_a_bad_key_or_key_set_verifies_nothing(case: Case) -> None:
    try:
        keys = _keys(case)
    except ValueError:
        payload = None
    else:
        payload = _payload(case.data["jws"], keys)

    assert (payload is not None) is (case.expect is Expect.ACCEPT)


@each(case for case in CRYPTO if "jws" in case.data)
def test_a_token_of_the_mixed_file_is_judged_as_labelled(case: Case) -> None:
    try:
        keys = _keys(case)
    except ValueError:
        payload = None
    else:
        payload = _payload(case.data["jws"], keys)

    assert (payload is not None) is (case.expect is Expect.ACCEPT)


def _encrypted() -> Iterator[Any]:
    cases = [*wycheproof("json_web_encryption"), *(c for c in CRYPTO if "jwe" in c.data)]
    for case in cases:
        token = case.data["jwe"]
        yield pytest.param(token if isinstance(token, str) else json.dumps(token), id=case.id)
    for room in ("jwe", "curve25519"):
        for title, example in cookbook(room).items():
            for form, token in example["output"].items():
                text = token if isinstance(token, str) else json.dumps(token)
                yield pytest.param(text, id=f"cookbook:{room}/{title}:{form}")


@pytest.mark.parametrize("token", list(_encrypted()))
def test_an_encrypted_token_is_not_a_signed_one(token: str) -> None:
    with pytest.raises(AuthError) as caught:
        jws.parse(token, 1 << 20)

    assert caught.value.reason == "malformed_credentials"


def _example(name: str, room: str = "jws") -> Mapping[str, Any]:
    return cookbook(room)[name]


@pytest.mark.parametrize("name", ["4_1.rsa_v15_signature"])
def test_a_compact_example_of_the_cookbook_is_accepted(name: str) -> None:
    example = _example(name)
    key = key_of({"alg": example["input"]["alg"]} | example["input"]["key"])

    payload = _payload(example["output"]["compact"], [key])

    assert payload == example["input"]["payload"].encode("utf-8")


def test_the_cookbooks_es512_key_is_refused_at_load() -> None:
    example = _example("4_3.ecdsa_signature")

    assert jws.parse(example["output"]["compact"], LIMIT).header["alg"] == "ES512"
    with pytest.raises(ValueError, match="only RSA, P-256, P-384 and Ed25519"):
        key_of({"alg": "ES512"} | example["input"]["key"])


def test_the_cookbooks_detached_signature_does_not_verify() -> None:
    example = _example("4_5.signature_with_detached_content")
    key = key_of(example["input"]["key"])

    assert _payload(example["output"]["compact"], [key]) is None


def _json_serializations() -> Iterator[Any]:
    for room in ("jws", "rfc7797"):
        for title, example in cookbook(room).items():
            for form in ("json", "json_flat"):
                text = json.dumps(example["output"][form])
                yield pytest.param(text, id=f"{room}/{title}:{form}")


@pytest.mark.parametrize("token", list(_json_serializations()))
def test_a_json_serialization_is_not_a_token(token: str) -> None:
    with pytest.raises(AuthError) as caught:
        jws.parse(token, LIMIT)

    assert caught.value.reason == "malformed_credentials"


def test_an_unencoded_payload_is_refused_in_compact_form_too() -> None:
    signing = _example("4.2.hmac-sha2_b64_false", "rfc7797")["signing"]
    header = base64url.encode(json.dumps(signing["protected"]).encode())

    for payload in ("$.02", base64url.encode(b"$.02"), ""):
        with pytest.raises(AuthError, match="malformed_credentials"):
            jws.parse(f"{header}.{payload}.{signing['sig']}", LIMIT)


@pytest.mark.parametrize("name", list(cookbook("jwk")))
def test_a_cookbook_key_loads_if_rpcguard_has_its_algorithm(name: str) -> None:
    jwk = _example(name, "jwk")
    if name in ("3_3.rsa_public_key", "3_4.rsa_private_key"):
        assert key_of(jwk).alg == "RS256"
    elif name == "3_5.symmetric_key_mac_computation":
        assert key_of(jwk).alg == "HS256"
    else:  # P-521, or a secret for encryption
        with pytest.raises(ValueError, match=r"supported|signatures"):
            key_of(jwk)
