"""Wycheproof's key sets as registries: a bad key or set is refused at load, mostly."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from vectors.jwk import pem
from vectors.loader import Case, Expect, each
from vectors.wycheproof_cases import wycheproof

from rpcguard import base64url
from rpcguard.errors import AuthError, ConfigError
from rpcguard.request import Request
from rpcguard.verifier import Verifier


def _key_set(case: Case) -> str:
    jwks = case.group.get("public", case.group["private"])["keys"]
    keys = []
    for jwk in jwks:
        key = {"kid": jwk["kid"], "alg": jwk["alg"]}
        if jwk["kty"] == "oct":
            keys.append(key | {"secret": jwk["k"], "encoding": "base64url"})
        else:
            keys.append(key | {"public_key": pem(jwk).decode("ascii")})
    project = {"preset": "bearer", "keys": keys}
    return json.dumps({"version": 1, "backend": "memory://", "projects": {"main": project}})


KEY_SETS = wycheproof("json_web_key")
# protocols may mix kinds of keys in one project: each has its one algorithm, so none is confused
MIXED = {"json_web_key:1"}


def _convertible(case: Case) -> bool:
    try:
        _key_set(case)
    except ValueError:
        return False
    return True


@each(case for case in KEY_SETS if _convertible(case) and case.id not in MIXED)
def test_a_key_set_loads_if_every_key_is_fit(guard: Callable[..., Verifier], case: Case) -> None:
    if case.expect is Expect.ACCEPT:
        assert guard(_key_set(case)).registry.projects["main"].name == "main"
    else:
        with pytest.raises(ConfigError) as caught:
            guard(_key_set(case))
        for jwk in case.group["private"]["keys"]:
            assert not jwk.get("k") or jwk["k"] not in str(caught.value)


@each(case for case in KEY_SETS if case.id in MIXED)
def test_in_a_mixed_set_no_key_verifies_for_another(
    guard: Callable[..., Verifier], case: Case
) -> None:
    mixed = guard(_key_set(case))
    header, payload, signature = case.data["jws"].split(".")
    crossed = base64url.encode(b'{"alg":"HS256","kid":"kid-ec-sign"}')

    for token in (f"{crossed}.{payload}.{signature}", f"{header}.{payload}."):
        with pytest.raises(AuthError):
            mixed.verify(Request("POST", "/", [("Authorization", f"Bearer {token}")], b""))
