"""API keys: where they are read, and how they are found."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from minting import NOW, bearer

from rpcguard import AuthError
from rpcguard.owed import key_name, subject_name
from rpcguard.policy import Policy
from rpcguard.schemes.api_key import ApiKeyRules, ApiKeyScheme, StaticKey
from rpcguard.schemes.base import BearerKinds, Proof

KEY = "k-0123456789"
POLICY = Policy(networks=())


def scheme(**places: Any) -> ApiKeyScheme:
    static = {
        hashlib.sha256(KEY.encode()).digest(): StaticKey("ops", "Operations", allow=POLICY),
        hashlib.sha256(b"k-dated").digest(): StaticKey("dated", None, NOW - 10, NOW + 10),
    }
    prefix = places.pop("prefix", "")
    bearers = BearerKinds(prefix) if prefix else None
    return ApiKeyScheme(ApiKeyRules("one", static, bearers=bearers, **places))


def proof(of: ApiKeyScheme, incoming: Any, now: float = NOW) -> Proof:
    found = of.prove(incoming, now)
    assert isinstance(found, Proof)
    return found


def reason(of: ApiKeyScheme, incoming: Any, now: float = NOW) -> str:
    with pytest.raises(AuthError) as caught:
        of.prove(incoming, now)
    return caught.value.reason


PLACES = [
    ({"in_path": True}, {"rest": KEY}),
    ({"header": "x-api-key"}, {"headers": [("X-API-Key", KEY)]}),
    ({"prefix": "k-"}, {"headers": bearer(KEY)}),
    ({"query": "api_key"}, {"target": f"/rpc?a=b&api_key={KEY}&c"}),
]


@pytest.mark.parametrize(("places", "request_"), PLACES)
def test_a_key_in_its_place(incoming, places, request_):
    guard = scheme(**places)
    assert guard.present(incoming(**request_))
    found = proof(guard, incoming(**request_))
    assert (found.principal.subject, found.principal.key_id) == ("ops", "ops")
    assert (found.principal.name, found.principal.scheme) == ("Operations", "api_key")
    assert found.policies == (POLICY,)
    assert not guard.wants_body(incoming(**request_))


@pytest.mark.parametrize(("places", "request_"), PLACES)
def test_no_other_place_is_looked_at(incoming, places, request_):
    for other, _ in PLACES:
        if other != places:
            assert not scheme(**other).present(incoming(**request_))
    assert not scheme().present(incoming(**request_))


def test_two_keys_are_one_too_many_even_if_equal(incoming):
    both = scheme(header="x-api-key", query="api_key")
    request = incoming([("X-Api-Key", KEY)], f"/rpc?api_key={KEY}")
    assert reason(both, request) == "malformed_credentials"
    twice = incoming([], f"/rpc?api_key={KEY}&api_key={KEY}")
    assert reason(both, twice) == "malformed_credentials"
    twice = incoming([("X-Api-Key", KEY), ("x-api-key", KEY)])
    assert reason(both, twice) == "malformed_credentials"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "malformed_credentials"),
        (f" {KEY}", "malformed_credentials"),
        (f"{KEY}\0", "malformed_credentials"),
        (f"{KEY}\n", "malformed_credentials"),
        (f"{KEY},{KEY}", "malformed_credentials"),
        ("é", "malformed_credentials"),
        ("\udc80", "malformed_credentials"),
        ("k" * 8193, "malformed_credentials"),
        ("k" * 1_000_000, "malformed_credentials"),
        ("k" * 8192, "invalid_credentials"),
        (KEY.upper(), "invalid_credentials"),
        (KEY + "x", "invalid_credentials"),
        (KEY[:-1], "invalid_credentials"),
        ("k-", "invalid_credentials"),
    ],
)
def test_what_is_not_the_whole_key(incoming, text, wanted):
    assert reason(scheme(header="x-api-key"), incoming([("X-Api-Key", text)])) == wanted


def test_the_digest_of_a_key_is_no_key(incoming):
    raw = hashlib.sha256(KEY.encode())
    for text in (raw.hexdigest(), f"sha256:{raw.hexdigest()}"):
        request = incoming([("X-Api-Key", text)])
        with pytest.raises(AuthError):
            scheme(header="x-api-key").prove(request, NOW)


@pytest.mark.parametrize(
    ("offset", "accepted"), [(-10.5, False), (-10, True), (9, True), (10, False)]
)
def test_dates(incoming, offset, accepted):
    guard, request = scheme(header="x-api-key"), incoming([("X-Api-Key", "k-dated")])
    if accepted:
        assert proof(guard, request, NOW + offset).principal.expires_at == NOW + 10
    else:
        assert reason(guard, request, NOW + offset) == "invalid_credentials"


def test_the_prefix_is_exact_and_alone_is_no_key(incoming):
    guard = scheme(prefix="k-")
    for text in ("K-0123456789", "x", "ey.J.x"):
        assert not guard.present(incoming(bearer(text)))
    assert reason(guard, incoming(bearer("k-"))) == "invalid_credentials"


def test_a_path_with_more_segments_is_no_key(incoming):
    guard = scheme(in_path=True)
    for rest in ("", f"{KEY}/", f"{KEY}/x", f"x/{KEY}"):
        assert not guard.present(incoming(rest=rest))


@pytest.mark.parametrize("query", ["", "?", "?api_keys=x", "?API_KEY=x", "?x=api_key=y", "?x&y"])
def test_a_query_without_the_parameter_is_no_key(incoming, query):
    assert not scheme(query="api_key").present(incoming(target=f"/rpc{query}"))


@pytest.mark.parametrize("query", ["?api_key", "?api_key=", f"?api_key=%6B{KEY[1:]}"])
def test_a_parameter_without_a_key_is_malformed(incoming, query):
    request = incoming(target=f"/rpc{query}")
    assert scheme(query="api_key").present(request)
    assert reason(scheme(query="api_key"), request) == "malformed_credentials"


def test_what_is_owed(incoming):
    owed = proof(scheme(header="x-api-key"), incoming([("X-Api-Key", KEY)])).owed
    assert set(owed.revocable) == {key_name("one", "ops"), subject_name("one", "ops")}
    assert owed.nonce is None
    free = scheme(header="x-api-key", revocable=False)
    assert not proof(free, incoming([("X-Api-Key", KEY)])).owed


def test_the_challenge_and_openapi():
    assert scheme(header="x-api-key").challenge == "ApiKey"
    assert scheme(prefix="k-").challenge == "Bearer"
    assert len(scheme(header="x-api-key", query="q", prefix="k-").security) == 3
    assert scheme(in_path=True).security == ()
    assert scheme(header="x-api-key", prefix="k-").fields == {"x-api-key", "authorization"}


def test_nothing_shows_the_key(incoming):
    guard = scheme(header="x-api-key")
    request = incoming([("X-Api-Key", KEY + "x")])
    with pytest.raises(AuthError) as caught:
        guard.prove(request, NOW)
    shown = repr(caught.value) + str(caught.value) + caught.value.detail + repr(guard)
    assert KEY not in shown
    assert KEY not in repr(proof(guard, incoming([("X-Api-Key", KEY)])))
