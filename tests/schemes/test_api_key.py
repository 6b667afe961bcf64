"""API keys: where they are read, and how they are found."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from minting import NOW, bearer

from rpcguard import AuthError, Principal, owed
from rpcguard.owed import Owed, Record, key_name, subject_name
from rpcguard.policy import Names, Policy
from rpcguard.schemes.api_key import ApiKeyRules, ApiKeyScheme, StaticKey
from rpcguard.schemes.base import BearerKinds, Claim, Proof
from rpcguard.schemes.wallets import Wallet, Wallets

KEY = "k-0123456789"
POLICY = Policy(networks=())


def scheme(**places: Any) -> ApiKeyScheme:
    static = {
        hashlib.sha256(KEY.encode()).digest(): StaticKey("ops", "Operations", allow=POLICY),
        hashlib.sha256(b"k-dated").digest(): StaticKey("dated", None, NOW - 10, NOW + 10),
    }
    prefix = places.pop("prefix", "")
    bearers = BearerKinds(prefix) if prefix else None
    issued = {"prefix": places.pop("issued")} if "issued" in places else {}
    return ApiKeyScheme(ApiKeyRules("one", static, bearers=bearers, **places, **issued))


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
    assert found.principal.project == "one"
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
    pathed, headed = (
        scheme(in_path=True, header="x-api-key"),
        incoming([("X-Api-Key", KEY)], rest=KEY),
    )
    assert reason(pathed, headed) == "malformed_credentials"
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


@pytest.mark.parametrize(
    "query", ["", "?", "?api_keys=x", "?API_KEY=x", "?x=api_key=y", "?x=?api_key=y", "?x&y"]
)
def test_a_query_without_the_parameter_is_no_key(incoming, query):
    assert not scheme(query="api_key").present(incoming(target=f"/rpc{query}"))


@pytest.mark.parametrize("query", ["?api_key", "?api_key=", f"?api_key=%6B{KEY[1:]}"])
def test_a_parameter_without_a_key_is_malformed(incoming, query):
    request = incoming(target=f"/rpc{query}")
    assert scheme(query="api_key").present(request)
    assert reason(scheme(query="api_key"), request) == "malformed_credentials"


def test_what_is_owed(incoming):
    asked = proof(scheme(header="x-api-key"), incoming([("X-Api-Key", KEY)])).owed
    names = (subject_name("one", "ops"), key_name("one", "ops"))
    assert asked == Owed("one", "ops", 0.0, names)
    free = scheme(header="x-api-key", revocable=False)
    assert not proof(free, incoming([("X-Api-Key", KEY)])).owed


# Issued keys

ISSUES: dict[str, Any] = {
    "header": "x-api-key",
    "wallets": Wallets({"alice": Wallet("Alice", allow=POLICY), "bob": Wallet()}),
}


def test_an_issued_key_names_its_bucket_and_is_kept_as_a_digest():
    rules = {"project_records": 7, "subject_records": 3}
    text, record = scheme(**ISSUES, **rules).issue("alice", NOW, NOW + 60.0)
    shard = owed.bucket("one", "alice")
    assert text.startswith(f"nod_{shard:02x}")
    assert len(text) == len("nod_") + 2 + 48
    name = owed.api_key_name("one", text)
    kid = name.hex()[:12]
    assert json.loads(record.value) == {"subject": "alice", "kid": kid, "expires_at": NOW + 60.0}
    assert record == Record(
        name=name,
        slot=owed.api_key_slot("one", "alice"),
        value=record.value,
        issued_at=NOW,
        expires_at=NOW + 60.0,
        revocable=(subject_name("one", "alice"), key_name("one", kid), key_name("one", "alice")),
        project="one",
        subject="alice",
        bucket=shard,
        project_limit=7,
        subject_limit=3,
    )


def test_no_two_issued_keys_are_alike():
    guard = scheme(**ISSUES)
    assert len({guard.issue("alice", NOW, None)[0] for _ in range(100)}) == 100


def test_a_project_without_wallets_issues_no_keys():
    with pytest.raises(LookupError, match="'one' issues no API keys"):
        scheme(header="x-api-key").issue("alice", NOW, None)


def claim(guard: ApiKeyScheme, incoming: Any, text: str) -> Claim:
    found = guard.prove(incoming([("X-Api-Key", text)]), NOW)
    assert isinstance(found, Claim)
    return found


def test_whose_issued_key_it_is_only_its_record_tells(incoming):
    guard = scheme(**ISSUES)
    text, record = guard.issue("alice", NOW, NOW + 60.0)
    found = claim(guard, incoming, text)
    assert found.owed == Owed("one", record=record.name, bucket=record.bucket)
    kid = record.name.hex()[:12]
    assert found.conclude(record.value) == Proof(
        Principal("alice", "one", "api_key", name="Alice", key_id=kid, expires_at=NOW + 60.0),
        Owed(),
        (POLICY,),
    )


def test_an_issued_key_is_worth_what_its_wallet_is_worth_now(incoming):
    guard = scheme(**ISSUES)
    _, of_bob = guard.issue("bob", NOW, None)
    found = claim(guard, incoming, "nod_00ff")
    assert found.conclude(of_bob.value).policies == ()
    with pytest.raises(AuthError) as caught:
        found.conclude(of_bob.value.replace("bob", "eve"))
    assert caught.value.reason == "not_listed"


@pytest.mark.parametrize("needs_body", [False, True])
def test_the_body_is_needed_if_some_wallets_policy_judges_it(incoming, needs_body):
    allow = Policy(methods=Names(["x"])) if needs_body else POLICY
    guard = scheme(header="x-api-key", wallets=Wallets({"alice": Wallet(allow=allow)}))
    assert claim(guard, incoming, "nod_00ff").needs_body is needs_body


def test_a_text_without_the_prefix_is_no_issued_key(incoming):
    assert reason(scheme(**ISSUES), incoming([("X-Api-Key", "no-prefix")])) == "invalid_credentials"


def test_a_static_key_with_the_prefix_of_issued_ones_is_a_static_key(incoming):
    guard = scheme(**ISSUES | {"issued": "k-"})
    assert proof(guard, incoming([("X-Api-Key", KEY)])).principal.subject == "ops"


# Asked again about somebody who was let in before


def _let_in(subject: str, key_id: str | None) -> Principal:
    return Principal(subject, "one", "api_key", key_id=key_id)


@pytest.mark.parametrize(
    ("who", "applies"),
    [
        (_let_in("ops", "ops"), (POLICY,)),
        (_let_in("dated", "dated"), ()),
        (_let_in("alice", "an id of 12"), (POLICY,)),
        (_let_in("alice", None), (POLICY,)),
        (_let_in("bob", "an id of 12"), ()),
    ],
)
def test_what_applies_to_the_holder_of_a_key(who, applies):
    assert scheme(**ISSUES).policies(who, NOW) == applies


@pytest.mark.parametrize(
    ("who", "now", "refusal"),
    [
        (_let_in("dated", "dated"), NOW + 10, ("invalid_credentials", "unknown_kid")),
        (_let_in("alice", "ops"), NOW, ("invalid_credentials", "unknown_kid")),
        (_let_in("eve", "an id of 12"), NOW, ("not_listed", "")),
    ],
)
def test_the_holder_of_a_key_that_ended_is_refused(who, now, refusal):
    with pytest.raises(AuthError) as caught:
        scheme(**ISSUES).policies(who, now)
    assert (caught.value.reason, caught.value.cause or "") == refusal


def test_the_holder_of_a_key_that_was_taken_out_is_refused():
    with pytest.raises(AuthError) as caught:
        scheme(header="x-api-key").policies(_let_in("gone", "gone"), NOW)
    assert (caught.value.reason, caught.value.cause) == ("invalid_credentials", "unknown_kid")


def test_an_unknown_key_is_told_apart_in_the_log_alone(incoming):
    with pytest.raises(AuthError) as caught:
        scheme(header="x-api-key").prove(incoming([("X-Api-Key", "other")]), NOW)
    assert caught.value.cause == "unknown_kid"


def test_the_challenge_and_openapi():
    assert scheme(header="x-api-key").challenge == "ApiKey"
    assert scheme(prefix="k-").challenge == "Bearer"
    assert scheme(header="x-api-key", query="q", prefix="k-").security == (
        {"rpcApiKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
        {"rpcApiKeyBearer": {"type": "http", "scheme": "bearer"}},
        {"rpcApiKeyQuery": {"type": "apiKey", "in": "query", "name": "q"}},
    )
    assert scheme(in_path=True).security == ()
    assert scheme(header="x-api-key", prefix="k-").fields == {"x-api-key", "authorization"}
    assert scheme(header="x-api-key").fields == {"x-api-key"}


def test_nothing_shows_the_key(incoming):
    guard = scheme(header="x-api-key")
    request = incoming([("X-Api-Key", KEY + "x")])
    with pytest.raises(AuthError) as caught:
        guard.prove(request, NOW)
    shown = repr(caught.value) + str(caught.value) + caught.value.detail + repr(guard)
    assert KEY not in shown
    assert KEY not in repr(proof(guard, incoming([("X-Api-Key", KEY)])))
