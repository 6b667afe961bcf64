"""
The shared JWE vectors: none of them may open.

The selection has no token of an algorithm that rpcguard has together with A256GCM, so a good token
of it is one that joserfc opens and rpcguard refuses for its algorithm alone. What rpcguard does
open is in `schemes/test_jwe.py`.
"""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from joserfc import jwe as joserfc_jwe
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from sealing import DIR_SECRET
from vectors.loader import Case, Expect, each
from vectors.other_cases import cookbook
from vectors.wycheproof_cases import wycheproof

from rpcguard import AuthError
from rpcguard.schemes import jwe
from rpcguard.schemes.jwe import DecryptionKey, Encryption

LIMIT = 1 << 20
CASES = [
    *wycheproof("json_web_encryption"),
    *(case for case in wycheproof("json_web_crypto") if "jwe" in case.data),
]
JWK_TYPES = {"oct": OctKey, "RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
OURS = {"oct": ("dir",), "RSA": ("RSA-OAEP-256",), "EC": ("ECDH-ES", "ECDH-ES+A256KW")}
OURS["OKP"] = OURS["EC"]


def _private(case: Case) -> Mapping[str, Any]:
    private = case.group["private"]
    return private["keys"][0] if "keys" in private else private


def _keys(jwk: Mapping[str, Any]) -> Iterator[DecryptionKey]:
    """Yield *jwk* as a key of each algorithm of ours that its type can have."""
    if jwk["kty"] == "oct":
        secret = base64.urlsafe_b64decode(jwk["k"] + "==")
        yield jwe.shared_key(jwk["kid"], secret if len(secret) == 32 else DIR_SECRET.encode())
        return
    pem = JWK_TYPES[jwk["kty"]].import_key(dict(jwk)).as_pem(private=True)
    for alg in OURS[jwk["kty"]]:
        yield jwe.private_key(jwk.get("kid", "only"), alg, pem)


def _reason(token: object, key: DecryptionKey) -> str:
    text = token if isinstance(token, str) else json.dumps(token)
    with pytest.raises(AuthError) as caught:
        Encryption([key], LIMIT, required=False).open(text, 0)
    assert text not in repr(caught.value) + caught.value.detail
    return caught.value.reason


def _header(token: str) -> dict[str, Any]:
    head = token.split(".", maxsplit=1)[0]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return found


def _opens_elsewhere(token: str, jwk: Mapping[str, Any]) -> bytes | None:
    """Return what is in *token* by joserfc with everything allowed."""
    head = _header(token)
    allowed = [head["alg"], head["enc"], "DEF"]
    key = JWK_TYPES[jwk["kty"]].import_key(dict(jwk))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RSA1_5, and keys that joserfc finds short
        opened = joserfc_jwe.decrypt_compact(token, key, registry=JWERegistry(algorithms=allowed))
    return opened.plaintext


@each(case for case in CASES if case.expect is Expect.REFUSE)
def test_a_bad_token_is_refused(case: Case) -> None:
    reasons = {_reason(case.data["jwe"], key) for key in _keys(_private(case))}
    assert reasons <= {"malformed_credentials", "unsupported_algorithm", "invalid_credentials"}


@each(case for case in CASES if case.expect is Expect.ACCEPT)
def test_a_good_token_of_an_algorithm_that_is_not_ours_is_refused_for_that(case: Case) -> None:
    token = case.data["jwe"]
    head = _header(token)
    assert (head["alg"], head["enc"]) not in {
        (alg, jwe.CONTENT_ENCRYPTION) for algs in OURS.values() for alg in algs
    }
    if "pt" in case.data:
        assert _opens_elsewhere(token, _private(case)) == bytes.fromhex(case.data["pt"])
    wanted = "malformed_credentials" if "zip" in head else "unsupported_algorithm"
    assert {_reason(token, key) for key in _keys(_private(case))} == {wanted}


@each(case for case in CASES if "Curve" in case.data["comment"])
def test_a_point_off_the_curve_is_refused_under_our_algorithms_too(case: Case) -> None:
    """The file's own algorithm is not ours; the point is put into a token whose algorithm is."""
    point = _header(case.data["jwe"])["epk"]
    for key in _keys(_private(case)):
        head = json.dumps({"alg": key.alg, "enc": jwe.CONTENT_ENCRYPTION, "epk": point}).encode()
        wrapped = 40 if key.alg.endswith("KW") else 0
        parts = [head, bytes(wrapped), bytes(12), b"content", bytes(16)]
        text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
        assert _reason(text, key) == "invalid_credentials"


def _examples() -> Iterator[Any]:
    for room in ("jwe", "curve25519"):
        for title, example in cookbook(room).items():
            for form, token in example["output"].items():
                yield pytest.param(example, form, token, id=f"{room}/{title}:{form}")


@pytest.mark.parametrize(("example", "form", "token"), list(_examples()))
def test_a_cookbook_example_is_refused(example: Mapping[str, Any], form: str, token: Any) -> None:
    """Compact ones are for their algorithm, unless their header or their form is in the way."""
    found = example["input"].get("key")
    jwks = found if isinstance(found, list) else [found] if found else []
    wanted = "malformed_credentials"
    if form == "compact" and not {"zip", "cty"} & _header(token).keys():
        wanted = "unsupported_algorithm"
    keys = [key for jwk in jwks for key in _keys(jwk)]
    keys.append(jwe.shared_key("password", DIR_SECRET.encode()))
    assert {_reason(token, key) for key in keys} == {wanted}
