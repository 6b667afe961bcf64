"""The jwt scheme: what is worked out once per token, and what for every request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from minting import (
    NOW,
    OTHER_SECRET,
    SECRET,
    bearer,
    hour,
    order_token,
    private_key,
    public_pem,
    token,
)
from sealing import DIR_SECRET, seal

from rpcguard import AuthError, Principal
from rpcguard.keys import Key, KeyRing, public_key, secret_key
from rpcguard.owed import Nonce, Owed, Revocation, bucket, digest
from rpcguard.policy import Policy
from rpcguard.schemes import jwt as module
from rpcguard.schemes.base import NEED_BODY, BearerKinds, Proof, read_bearer
from rpcguard.schemes.binding import Binding
from rpcguard.schemes.claims import ClaimRules
from rpcguard.schemes.jwe import Encryption, shared_key
from rpcguard.schemes.jwt import JwtRules, JwtScheme
from rpcguard.schemes.narrowing import Narrowing

RULES = JwtRules("one", frozenset({"HS256"}), key_by="secret")


class Counting:
    """Counts how often keys are asked to verify."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, key: Key) -> Key:
        def check(signing_input: bytes, signature: bytes) -> bool:
            self.count += 1
            return key.verify(signing_input, signature)

        return replace(key, verify=check)


def ring(*keys: Key) -> KeyRing:
    return KeyRing(keys or [secret_key("a", "HS256", SECRET.encode())])


def reason(scheme: JwtScheme, incoming, now: float = NOW) -> str | None:
    try:
        assert isinstance(scheme.prove(incoming, now), Proof)
    except AuthError as error:
        return error.reason
    return None


# --- The cache --------------------------------------------------------------------------------------


def test_a_token_is_verified_once(incoming):
    counted = Counting()
    scheme = JwtScheme(RULES, ring(counted.of(secret_key("a", "HS256", SECRET.encode()))))
    request = incoming(bearer(token(hour())))
    first = scheme.prove(request, NOW)
    assert scheme.prove(request, NOW + 1) == first
    assert counted.count == 1


def test_a_bad_token_is_never_remembered(incoming):
    counted = Counting()
    scheme = JwtScheme(RULES, ring(counted.of(secret_key("a", "HS256", SECRET.encode()))))
    request = incoming(bearer(token(hour(), OTHER_SECRET)))
    for _ in range(2):
        assert reason(scheme, request) == "invalid_credentials"
    assert counted.count == 2


@pytest.mark.parametrize(
    ("claims", "rules", "seconds", "wanted"),
    [
        (hour(), ClaimRules(), 3600, "expired"),
        (hour(exp=None), ClaimRules(required=(), iat_window=60), 61, "expired"),
        (hour(), ClaimRules(), -6, "not_yet_valid"),  # the clock went back
        (hour(nbf=NOW), ClaimRules(), -1, "not_yet_valid"),
        (hour(), ClaimRules(max_ahead=3600), -60, "invalid_claims"),
    ],
)
def test_a_hit_looks_at_the_clock_again(incoming, claims, rules, seconds, wanted):
    if wanted == "invalid_claims":
        claims = hour(iat=None)
    scheme = JwtScheme(replace(RULES, claims=rules), ring())
    request = incoming(bearer(token(claims)))
    assert reason(scheme, request) is None
    assert reason(scheme, request, NOW + seconds) == wanted


def test_a_hit_looks_at_the_dates_of_the_key_again(incoming):
    key = secret_key("a", "HS256", SECRET.encode(), not_before=NOW - 10, not_after=NOW + 10)
    scheme = JwtScheme(RULES, ring(key))
    request = incoming(bearer(token(hour())))
    assert reason(scheme, request) is None
    assert reason(scheme, request, NOW + 10) == "invalid_credentials"


def test_a_hit_looks_at_the_bindings_again(incoming):
    rules = replace(
        RULES,
        key_by="header",
        key_header="x-auth-key",
        key_claim="key",
        claims=ClaimRules(milliseconds=True, strings=("url", "key", "signature")),
        binding=Binding("url", "signature", {"/rpc": ("c",)}),
    )
    keys = [secret_key(kid, "HS256", SECRET.encode()) for kid in ("merchant-1", "merchant-2")]
    scheme = JwtScheme(rules, ring(*keys))
    headers = [*bearer(order_token("/rpc", "x")), ("x-auth-key", "merchant-1")]
    assert reason(scheme, incoming(headers, body=b'{"c": "x"}')) is None
    assert reason(scheme, incoming(headers, body=b'{"c": "y"}')) == "invalid_binding"
    assert reason(scheme, incoming(headers, "/else", b'{"c": "x"}')) == "invalid_binding"
    assert scheme.prove(incoming(headers, body=None), NOW) is NEED_BODY
    other = [headers[0], ("x-auth-key", "merchant-2")]  # the same secret, even
    for again in (scheme, JwtScheme(rules, ring(*keys))):  # as of a token that nobody has seen
        assert reason(again, incoming(other, body=b'{"c": "x"}')) == "invalid_binding"
        assert reason(again, incoming(headers, body=b'{"c": "x"}')) is None
        assert reason(again, incoming(headers[:1], body=b'{"c": "x"}')) == "malformed_credentials"


def test_a_token_is_looked_at_anew_when_the_key_it_was_found_with_has_ended(incoming):
    ending = secret_key("a", "HS256", SECRET.encode(), not_after=NOW + 10)
    scheme = JwtScheme(
        replace(RULES, key_by="secret"), ring(ending, secret_key("b", "HS256", SECRET.encode()))
    )
    request = incoming(bearer(token(hour())))
    assert [scheme.prove(request, NOW + at).principal.key_id for at in (0, 9, 10)] == [
        "a",
        "a",
        "b",
    ]


def test_the_cache_is_bounded_and_keeps_what_is_asked_for_again(incoming, monkeypatch):
    monkeypatch.setattr(module, "CACHED_TOKENS", 4)
    counted = Counting()
    scheme = JwtScheme(RULES, ring(counted.of(secret_key("a", "HS256", SECRET.encode()))))
    requests = [incoming(bearer(token(hour(jti=str(n))))) for n in range(9)]
    for request in requests:
        scheme.prove(request, NOW)
        scheme.prove(requests[0], NOW)
        assert len(scheme._cache) <= 4
    assert counted.count == 9  # each once: the first was never forgotten
    scheme.prove(requests[1], NOW)
    assert counted.count == 10  # the second had made room


@pytest.mark.parametrize(("more", "count"), [(0, 1), (-1, 2)])
def test_the_longest_token_that_is_remembered(incoming, monkeypatch, more, count):
    counted = Counting()
    scheme = JwtScheme(RULES, ring(counted.of(secret_key("a", "HS256", SECRET.encode()))))
    text = token(hour())
    monkeypatch.setattr(module, "CACHED_TOKEN_BYTES", len(text) + more)
    for _ in range(2):
        assert reason(scheme, incoming(bearer(text))) is None
    assert counted.count == count


def test_a_hit_by_the_same_header_is_a_hit(incoming):
    counted = Counting()
    rules = replace(RULES, key_by="header", key_header="x-auth-key", key_claim="key")
    keys = ring(counted.of(secret_key("a", "HS256", SECRET.encode())))
    scheme = JwtScheme(rules, keys)
    request = incoming([*bearer(token(hour(key="a"))), ("X-Auth-Key", "a")])
    for _ in range(2):
        assert reason(scheme, request) is None
    assert counted.count == 1


def test_a_token_is_looked_at_anew_when_the_key_that_opened_it_has_ended(incoming):
    opener = shared_key("e", DIR_SECRET.encode(), not_after=NOW + 10)
    encryption = Encryption([opener], 8192, required=True)
    scheme = JwtScheme(RULES, ring(), encryption=encryption)
    request = incoming(bearer(seal(token(hour()), kid="e")))
    assert [reason(scheme, request, NOW + at) for at in (0, 9, 10)] == (
        [None, None, "invalid_credentials"]
    )


def test_a_bearer_field_without_a_token_is_malformed(incoming):
    assert reason(JwtScheme(RULES, ring()), incoming([("Authorization", "Bearer")])) == (
        "malformed_credentials"
    )


def test_what_stands_need_not_be_fresh(incoming):
    rules = replace(RULES, claims=ClaimRules(iat_window=60))
    request = incoming(bearer(token(hour())))
    for scheme in (JwtScheme(rules, ring()) for _ in range(2)):
        assert isinstance(scheme.prove(request, NOW + 61, standing=True), Proof)  # and then a hit
        assert isinstance(scheme.prove(request, NOW + 61, standing=True), Proof)
        assert reason(scheme, request, NOW + 61) == "expired"
        text = request.bearer or ""
        assert isinstance(scheme.prove_token(text, request, NOW + 61, standing=True), Proof)
        with pytest.raises(AuthError):
            scheme.prove_token(text, request, NOW + 61)


def test_claims_narrow_only_where_the_project_says_so(incoming):
    request = incoming(bearer(token(hour(methods=["eth_call"]))))
    rules = replace(RULES, narrowing=Narrowing(frozenset({"methods"})))
    narrowed, plain = (JwtScheme(each, ring()).prove(request, NOW) for each in (rules, RULES))
    assert [len(proof.policies) for proof in (narrowed, plain)] == [1, 0]


def test_a_long_token_is_verified_each_time(incoming):
    counted = Counting()
    scheme = JwtScheme(RULES, ring(counted.of(secret_key("a", "HS256", SECRET.encode()))))
    headers = bearer(token(hour(pad="x" * 3000)))
    for _ in range(2):
        assert reason(scheme, incoming(headers)) is None
    assert counted.count == 2
    assert not scheme._cache


def test_what_is_kept_of_a_long_token_counts_for_it_alone_and_while_its_key_does(incoming):
    counted = Counting()
    key = secret_key("a", "HS256", SECRET.encode(), not_after=NOW + 10)
    keys = ring(counted.of(key))
    scheme, other = JwtScheme(RULES, keys), JwtScheme(RULES, keys)
    first = incoming(bearer(token(hour(pad="x" * 3000))))
    scheme.prove(first, NOW)

    def again(by: JwtScheme, headers: Any, now: float = NOW) -> str | None:
        request = incoming(headers)
        request.kept = first.kept
        return reason(by, request, now)

    same = [("Authorization", f"Bearer {first.bearer}")]
    assert again(scheme, same) is None
    assert counted.count == 1
    assert again(other, same) is None
    assert again(scheme, bearer(token(hour(pad="y" * 3000)))) is None
    assert counted.count == 3
    assert again(scheme, bearer(token(hour(pad="x" * 3000), "z" * 32))) == "invalid_credentials"
    assert again(scheme, same, NOW + 10) == "invalid_credentials"
    assert again(scheme, same, NOW + 3600) == "invalid_credentials"


def test_nobody_can_edit_the_claims_of_others(incoming):
    scheme = JwtScheme(RULES, ring())
    request = incoming(bearer(token(hour(roles=["reader"]))))
    first = scheme.prove(request, NOW)
    assert isinstance(first, Proof)
    first.principal.claims["roles"].append("admin")
    second = scheme.prove(request, NOW)
    assert isinstance(second, Proof)
    assert second.principal.claims["roles"] == ["reader"]


# --- Keys -------------------------------------------------------------------------------------------


def test_an_unknown_key_costs_what_a_wrong_one_costs(incoming):
    for alg in ("ES256", "HS256"):
        counted = Counting()
        material = (
            secret_key("a", "HS256", SECRET.encode())
            if alg == "HS256"
            else public_key("a", alg, public_pem(alg).encode())
        )
        rules = JwtRules("one", frozenset({"HS256", "ES256", "RS256"}))
        scheme = JwtScheme(rules, ring(counted.of(material)))
        stranger = OTHER_SECRET if alg == "HS256" else private_key(alg, 1)
        for kid, expected in (("a", 1), ("unknown", 2)):
            request = incoming(bearer(token(hour(), stranger, alg, kid=kid)))
            assert reason(scheme, request) == "invalid_credentials"
            assert counted.count == expected


def test_a_key_outside_its_dates_costs_the_same(incoming):
    counted = Counting()
    key = counted.of(secret_key("a", "HS256", SECRET.encode(), not_after=NOW))
    scheme = JwtScheme(JwtRules("one", frozenset({"HS256"})), ring(key))
    assert reason(scheme, incoming(bearer(token(hour(), kid="a")))) == "invalid_credentials"
    assert counted.count == 1


def test_no_more_than_eight_secrets_are_tried(incoming):
    counted = Counting()
    keys = [
        counted.of(secret_key(str(n), "HS256", b"secret %d" % n + b"x" * 32)) for n in range(12)
    ]
    scheme = JwtScheme(RULES, ring(*keys))
    assert reason(scheme, incoming(bearer(token(hour())))) == "invalid_credentials"
    assert counted.count == 8


@pytest.mark.parametrize(
    ("text", "key_by", "refusal"),
    [
        (token(hour(), kid="x"), "secret", ("invalid_credentials", "unknown_kid")),
        (token(hour(), OTHER_SECRET, kid="a"), "secret", ("invalid_credentials", "bad_signature")),
        (token(hour(), OTHER_SECRET), "secret", ("invalid_credentials", "bad_signature")),
        (token(hour()), "kid", ("invalid_credentials", "no_kid")),
        (token(hour(), kid=""), "kid", ("invalid_credentials", "no_kid")),
        (token(hour(), kid=""), "secret", ("invalid_credentials", "no_kid")),
        (token(hour(), SECRET * 2, "HS384", kid="a"), "kid", ("unsupported_algorithm", "")),
        (token(hour(), SECRET * 3, "HS512", kid="a"), "kid", ("unsupported_algorithm", "")),
        (token(hour(), SECRET * 3, "HS512", kid="x"), "kid", ("unsupported_algorithm", "")),
        (token(hour(), header={"typ": "JWT"}), "secret", ("unsupported_algorithm", "")),
        (token(hour(), header={"alg": ["HS256"]}), "secret", ("unsupported_algorithm", "")),
    ],
)
def test_why_no_key_fits_is_told_apart_in_the_log_alone(incoming, text, key_by, refusal):
    rules = replace(RULES, key_by=key_by, algorithms=frozenset({"HS256", "HS384"}))
    with pytest.raises(AuthError) as caught:
        JwtScheme(rules, ring()).prove(incoming(bearer(text)), NOW)
    assert (caught.value.reason, caught.value.cause) == refusal


def test_with_no_keys_everybody_is_unknown(incoming):
    for key_by in ("kid", "secret"):
        scheme = JwtScheme(replace(RULES, key_by=key_by), KeyRing([]))
        request = incoming(bearer(token(hour(), kid="a")))
        assert reason(scheme, request) == "invalid_credentials"


# --- What is owed -----------------------------------------------------------------------------------


def owed_by(incoming, claims, alg="HS256", *, rules=RULES, project="one", **more):
    rules = replace(rules, project=project, **more)
    proof = JwtScheme(rules, ring()).prove(incoming(bearer(token(claims))), NOW)
    assert isinstance(proof, Proof)
    return proof.owed


def test_a_token_is_named_by_project_key_and_jti(incoming):
    names = owed_by(incoming, hour(jti="t", sub="me")).revocable
    assert digest("jti", "one", "a", "t") in names
    assert digest("subject", "one", "me") in names
    assert digest("key", "one", "a") in names
    assert len(names) == 3
    assert owed_by(incoming, hour(jti="t")).revocable[0] == names[0]
    assert owed_by(incoming, hour(jti="u")).revocable[0] != names[0]
    assert owed_by(incoming, hour(jti="t"), project="two").revocable[0] != names[0]


def test_without_jti_it_is_named_by_what_was_signed(incoming):
    import hashlib

    text = token(hour())
    name = digest("jws", "one", hashlib.sha256(text.rpartition(".")[0].encode()).digest())
    assert owed_by(incoming, hour()).revocable[0] == name
    assert owed_by(incoming, hour(jti="")).revocable[0] != name


def test_a_session_can_be_named_too(incoming):
    assert digest("session", "one", "s") in owed_by(incoming, hour(sid="s")).revocable


def test_whoever_can_end_a_token_is_asked_for(incoming):
    claims = hour(jti="t", sub="me", sid="s")
    names = [
        digest("jti", "one", "a", "t"),
        digest("subject", "one", "me"),
        digest("key", "one", "a"),
    ]
    wallet, session = digest("key", "one", "me"), digest("session", "one", "s")
    assert owed_by(incoming, claims) == Owed("one", "me", NOW, (*names, session))
    assert owed_by(incoming, claims, subject_is_key=True).revocable == (*names, wallet, session)


def test_the_proofs_own_time_is_its_iat(incoming):
    assert owed_by(incoming, hour(iat=NOW - 7)).issued_at == NOW - 7
    assert owed_by(incoming, hour(iat=None)).issued_at == 0


def test_revocation_false_owes_nothing(incoming):
    assert owed_by(incoming, hour(), revocable=False).revocable == ()
    assert not owed_by(incoming, hour(), revocable=False)


def test_single_use_is_owed_until_no_clock_accepts_the_token(incoming):
    rules = replace(RULES, claims=ClaimRules(leeway=10))
    once = {"single_use": True, "skew": 30, "project_limit": 7, "subject_limit": 3}
    asked = owed_by(incoming, hour(jti="t"), rules=rules, **once)
    name = digest("jti", "one", "a", "t")
    assert asked.nonce == Nonce(name, NOW + 3600 + 10 + 30, 7, 3)
    assert owed_by(incoming, hour()).nonce is None


# --- What it reads ------------------------------------------------------------------------------------


def test_a_bearer_or_the_header_of_its_key_is_the_credential(incoming):
    scheme = JwtScheme(RULES, ring())
    assert not scheme.present(incoming())
    assert not scheme.present(incoming([("Authorization", "Basic eDp5")]))
    assert scheme.present(incoming(bearer("x")))
    assert scheme.present(incoming([("Authorization", "bearer")]))
    headed = JwtScheme(replace(RULES, key_by="header", key_header="x-auth-key"), ring())
    assert headed.present(incoming([("X-Auth-Key", "")]))
    shared = JwtScheme(RULES, ring(), BearerKinds("nod_", others="jwt"))
    assert [shared.present(incoming(bearer(text))) for text in ("a.b.c", "nod_x")] == [True, False]
    assert scheme.fields == {"authorization"}
    assert headed.fields == {"authorization", "x-auth-key"}


def test_openapi_says_where_the_credential_goes():
    token = {"rpcBearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    assert JwtScheme(RULES, ring()).security == (token,)
    headed = JwtScheme(replace(RULES, key_by="header", key_header="x-auth-key"), ring())
    key = {"rpcKey": {"type": "apiKey", "in": "header", "name": "x-auth-key"}}
    assert headed.security == (token | key,)


@pytest.mark.parametrize(
    "value", ["Basic eA==,Bearer x", "Basic eA==, bearer x", "Digest a,BEARER"]
)
def test_a_bearer_that_a_server_joined_to_another_scheme_is_malformed(value):
    assert read_bearer([value]) is None
    assert read_bearer([value], joined=True) == ""


@pytest.mark.parametrize("value", ["Basic eA==", "Digest a,bearerly=1", "Basic eA==,Basic eB=="])
def test_other_schemes_joined_are_none_of_ours(value):
    assert read_bearer([value], joined=True) is None


# --- What others ask of the scheme ------------------------------------------------------------------

LATER = NOW + 100_000  # after the end of every token here


def revocation(text: str, *keys: Key, **changes: Any) -> Revocation | None:
    return JwtScheme(replace(RULES, **changes), ring(*keys)).revocation(text, LATER)


def test_a_token_can_be_revoked_until_no_clock_accepts_it():
    text = token(hour(jti="t", sub="me"))
    rules = {"claims": ClaimRules(leeway=7.0), "skew": 30.0}
    name, where = digest("jti", "one", "a", "t"), bucket("one", "me")
    assert revocation(text, **rules) == Revocation(name, None, NOW + 3600 + 7 + 30, where)


def test_a_token_without_end_is_revoked_for_good():
    found = revocation(token(hour(exp=None)), claims=ClaimRules(required=()))
    assert found is not None
    assert found.expires_at is None
    assert found.bucket == bucket("one", "a")  # nobody but its key is its subject


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (token(hour(jti="t")), True),  # by whichever secret it was signed
        (token(hour(jti="t"), OTHER_SECRET), True),
        (token(hour(jti="t"), OTHER_SECRET, kid="b"), True),
        (token(hour(jti="t"), OTHER_SECRET, kid="a"), False),
        (token(hour(jti="t"), OTHER_SECRET, kid="c"), False),
        (token(hour(jti="t"), SECRET[::-1]), False),
        (token(hour(jti="t"), header={"alg": "HS384", "typ": "JWT"}), False),
    ],
)
def test_only_who_signed_a_token_can_have_it_revoked(text, found):
    keys = [
        secret_key(kid, "HS256", of.encode()) for kid, of in (("a", SECRET), ("b", OTHER_SECRET))
    ]
    assert (revocation(text, *keys) is not None) is found


def test_a_key_that_has_ended_revokes_nothing():
    ended = secret_key("a", "HS256", SECRET.encode(), not_after=LATER)
    assert revocation(token(hour()), ended) is None
    assert revocation(token(hour(), kid="a"), ended) is None


def test_what_is_no_token_cannot_be_revoked():
    for text in ("", "x", "a.b.c", token("no JSON"), "x" * 9000):
        with pytest.raises(AuthError) as caught:
            revocation(text)
        assert caught.value.reason == "malformed_credentials"


def test_an_encrypted_token_is_revoked_by_what_it_holds():
    inner = token(hour(jti="t", sub="me"))
    dated = shared_key("e", DIR_SECRET.encode(), not_after=LATER + 1)
    opener = Encryption([dated], 8192, required=True)
    scheme = JwtScheme(RULES, ring(), encryption=opener)
    assert scheme.revocation(seal(inner, kid="e"), LATER) == revocation(inner)
    assert scheme.revocation(inner, LATER) == revocation(inner)


def test_the_policy_of_a_token_that_was_let_in_is_that_of_its_key_now():
    allow = Policy(networks=())
    keys = (
        secret_key("a", "HS256", SECRET.encode(), allow=allow),
        secret_key("b", "HS256", OTHER_SECRET.encode(), not_after=NOW),
        secret_key("c", "HS256", SECRET[::-1].encode()),
    )
    scheme = JwtScheme(RULES, ring(*keys))
    assert scheme.policies(Principal("me", "one", "jwt", key_id="a"), NOW) == (allow,)
    assert scheme.policies(Principal("me", "one", "jwt", key_id="c"), NOW) == ()
    for gone in ("b", "d", None):
        with pytest.raises(AuthError) as caught:
            scheme.policies(Principal("me", "one", "jwt", key_id=gone), NOW)
        assert (caught.value.reason, caught.value.cause) == ("invalid_credentials", "unknown_kid")


def test_claims_narrow_what_was_let_in_only_where_the_project_says_so():
    who = Principal("me", "one", "jwt", key_id="a", claims={"methods": ["eth_call"]})
    narrowing = Narrowing(frozenset({"methods"}))
    (narrowed,) = JwtScheme(replace(RULES, narrowing=narrowing), ring()).policies(who, NOW)
    assert narrowed.methods is not None
    assert "eth_call" in narrowed.methods
    assert JwtScheme(RULES, ring()).policies(who, NOW) == ()


def test_who_watches_the_cache_is_told_of_every_look_up(incoming):
    told: list[bool] = []
    scheme = JwtScheme(RULES, ring())
    scheme.watch_lookups(told.append)
    request = incoming(bearer(token(hour())))
    for _ in range(3):
        scheme.prove(request, NOW)
    assert told == [False, True, True]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ({}, None),
        ({"typ": "JWT"}, None),
        ({"typ": "jwt"}, None),
        ({"typ": "application/JWT"}, None),
        ({"typ": "Application/jwt"}, None),
        ({"typ": "at+jwt"}, "malformed_credentials"),
        ({"typ": "jwtapplication/"}, "malformed_credentials"),
        ({"typ": "application/application/jwt"}, "malformed_credentials"),
        ({"typ": ""}, "malformed_credentials"),
    ],
)
def test_the_kind_of_token_is_none_or_the_one_that_is_meant(incoming, header, wanted):
    text = token(hour(), header={"alg": "HS256", **header})
    assert reason(JwtScheme(RULES, ring()), incoming(bearer(text))) == wanted


@pytest.mark.parametrize(("required", "wanted"), [(True, "malformed_credentials"), (False, None)])
def test_a_token_that_is_not_encrypted_where_it_must_be(incoming, required, wanted):
    opener = Encryption([shared_key("e", DIR_SECRET.encode())], 8192, required=required)
    scheme = JwtScheme(RULES, ring(), encryption=opener)
    assert reason(scheme, incoming(bearer(token(hour())))) == wanted


@pytest.mark.parametrize("key", ["a", "b", None])
def test_the_key_that_a_header_names_is_the_one_in_the_claims(incoming, key):
    rules = replace(RULES, key_by="header", key_header="x-auth-key", key_claim="key")
    request = incoming([*bearer(token(hour(key=key))), ("X-Auth-Key", "a")])
    assert reason(JwtScheme(rules, ring()), request) == (None if key == "a" else "invalid_binding")


@pytest.mark.parametrize(("url", "wanted"), [("/rpc", None), ("/else", "invalid_binding")])
def test_a_token_is_bound_to_its_url_alone_where_nothing_else_binds(incoming, url, wanted):
    scheme = JwtScheme(replace(RULES, binding=Binding("url")), ring())
    assert reason(scheme, incoming(bearer(token(hour(url=url))))) == wanted


@pytest.mark.parametrize("payload", ["[]", "1", "null", '"x"', "", "{", '{"exp":1,"exp":2}'])
def test_a_payload_is_one_json_object(incoming, payload):
    assert reason(JwtScheme(RULES, ring()), incoming(bearer(token(payload)))) == (
        "malformed_credentials"
    )
