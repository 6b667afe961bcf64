"""MegaNode's current service: RS256 with a key id, one audience, at most 24 hours ahead."""

from __future__ import annotations

import json

import pytest
from minting import NOW, bearer, hour, private_key, public_pem, token

from rpcguard import ConfigError

KID = "5f1c"
DAY = 86400


def registry(pem: str = "", extra: str = "") -> str:
    return f"""
version: 1
projects:
  bsc:
    preset: meganode-rs256
    match: {{path: /v1}}
    keys: [{{kid: {KID}, public_key: {json.dumps(pem or public_pem("RS256"))}}}]
{extra}
"""


def minted(*, kid: str | None = KID, number: int = 0, **claims: object) -> str:
    """Return a token as the provider's client mints it; None leaves a claim or the kid out."""
    more = {} if kid is None else {"kid": kid}
    key = private_key("RS256", number)
    return token(hour(**{"aud": "nodereal.io", **claims}), key, "RS256", **more)


def test_the_token_is_accepted(service):
    principal = service(registry()).accepts("/v1", bearer(minted(sub="me")))
    assert (principal.subject, principal.key_id, principal.scheme) == ("me", KID, "jwt")


CLAIMS = [
    ({"aud": None}, "invalid_audience"),
    ({"aud": "nodereal.com"}, "invalid_audience"),
    ({"aud": "Nodereal.io"}, "invalid_audience"),
    ({"aud": "x.nodereal.io"}, "invalid_audience"),
    ({"aud": "nodereal.io."}, "invalid_audience"),
    ({"aud": ["x", "nodereal.io"]}, None),
    ({"aud": ["x", "y"]}, "invalid_audience"),
    ({"aud": []}, "invalid_audience"),
    ({"aud": ["nodereal.io", 7]}, "invalid_claims"),
    ({"exp": None}, "invalid_claims"),
    ({"exp": NOW}, "expired"),
    ({"exp": NOW + DAY}, None),
    ({"exp": NOW + DAY, "iat": None}, None),
    ({"exp": NOW + DAY + 60}, "invalid_claims"),
    ({"exp": NOW + DAY + 60, "iat": NOW + DAY}, "not_yet_valid"),
]


@pytest.mark.parametrize(("claims", "reason"), CLAIMS, ids=[str(case[0]) for case in CLAIMS])
def test_the_claims(service, claims, reason):
    guarded = service(registry())
    headers = bearer(minted(**claims))
    if reason is None:
        guarded.accepts("/v1", headers)
    else:
        assert guarded.refuses("/v1", headers).reason == reason


def test_exp_is_at_most_24_hours_ahead_at_the_moment_of_the_request(service):
    guarded = service(registry())
    headers = bearer(minted(exp=NOW + DAY + 60))
    assert guarded.refuses("/v1", headers).reason == "invalid_claims"
    guarded.now = NOW + 60
    guarded.accepts("/v1", headers)


def test_24_hours_and_a_second_are_more_than_24_hours(service):
    headers = bearer(minted(exp=NOW + DAY + 1))
    assert service(registry()).refuses("/v1", headers).reason == "invalid_claims"


@pytest.mark.parametrize("kid", [None, "", "other", KID.upper(), f"{KID} "])
def test_the_kid_must_name_a_registered_key(service, kid):
    headers = bearer(minted(kid=kid))
    assert service(registry()).refuses("/v1", headers).reason == "invalid_credentials"


def test_another_key_with_the_right_kid(service):
    headers = bearer(minted(number=1))
    assert service(registry()).refuses("/v1", headers).reason == "invalid_credentials"


@pytest.mark.parametrize("spelling", [str, str.strip, lambda pem: pem.replace("\n", "\r\n")])
def test_an_hmac_keyed_with_the_public_key_is_refused(service, spelling):
    import hashlib
    import hmac

    from minting import segment

    pem = public_pem("RS256")
    claims = hour(aud="nodereal.io")
    for alg in ("HS256", "RS256"):
        text = f"{segment({'alg': alg, 'kid': KID})}.{segment(claims)}"
        mac = hmac.new(spelling(pem).encode(), text.encode(), hashlib.sha256).digest()
        error = service(registry()).refuses("/v1", bearer(f"{text}.{segment(mac)}"))
        wanted = "unsupported_algorithm" if alg == "HS256" else "invalid_credentials"
        assert error.reason == wanted


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256"])
def test_another_algorithm_of_the_same_key_is_refused(service, alg):
    text = token(hour(aud="nodereal.io"), private_key("RS256"), alg, kid=KID)
    assert service(registry()).refuses("/v1", bearer(text)).reason == "unsupported_algorithm"


def test_a_key_of_another_type_is_refused_at_load(service):
    for alg in ("ES256", "EdDSA"):
        with pytest.raises(ConfigError, match=r"projects\.bsc\.keys\[0\]"):
            service(registry(public_pem(alg)))


def test_api_keys_and_secrets_are_not_this_presets(service):
    for extra in ("    secrets: [{id: a, secret: '0123456789abcdef0123456789abcdef'}]",):
        with pytest.raises(ConfigError, match="secrets"):
            service(registry(extra=extra))
