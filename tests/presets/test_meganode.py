"""MegaNode: a JWT signed with a shared secret, or an API key appended to the URL."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from minting import CALL, NOW, OTHER_SECRET, SECRET, bearer, hour, key_digest, token

from rpcguard import ConfigError

API_KEY = "3f1c9b2ad7e04c558a60"


def registry(extra: str = "", secrets: str = "") -> str:
    """Return a registry of one meganode project with *extra* members."""
    return f"""
version: 1
projects:
  bsc:
    preset: meganode
    match: {{path: [/v1/, /ws/v1/]}}
    secrets:
      - {{id: 2026-11, secret: "{SECRET}"}}
      - {{id: 2026-10, secret: "{OTHER_SECRET}", name: old}}
{secrets}
{extra}
"""


WITH_KEY = f"    api_keys: [{{id: ops, name: Operations, digest: '{key_digest(API_KEY)}'}}]"


# --- The token ----------------------------------------------------------------------------------


def test_the_documents_token_is_accepted_on_https(service):
    principal = service(registry()).accepts("/v1/", bearer(token(hour())))
    assert (principal.project, principal.scheme, principal.key_id) == ("bsc", "jwt", "2026-11")
    assert (principal.subject, principal.name) == ("2026-11", None)
    assert principal.expires_at == NOW + 3600
    assert principal.claims == hour()


def test_the_documents_token_is_accepted_on_the_websocket_handshake(service):
    headers = [("Upgrade", "websocket"), *bearer(token(hour()))]
    principal = service(registry()).accepts("/ws/v1/", headers, b"", method="GET", websocket=True)
    assert principal.scheme == "jwt"


def test_sub_names_the_subject(service):
    assert service(registry()).accepts("/v1/", bearer(token(hour(sub="ci")))).subject == "ci"


@pytest.mark.parametrize(
    ("secret", "kid"), [(SECRET, "2026-11"), (OTHER_SECRET, "2026-10")], ids=["newer", "older"]
)
def test_every_active_secret_is_tried(service, secret, kid):
    assert service(registry()).accepts("/v1/", bearer(token(hour(), secret))).key_id == kid


@pytest.mark.parametrize(
    ("secret", "kid", "accepted"),
    [
        (SECRET, "2026-11", True),
        (OTHER_SECRET, "2026-10", True),
        (SECRET, "2026-10", False),  # a good signature, but not by the secret that it names
        (OTHER_SECRET, "2026-11", False),
        (SECRET, "2026-12", False),
        (SECRET, "", False),
    ],
)
def test_a_kid_selects_the_secret(service, secret, kid, accepted):
    guarded = service(registry())
    headers = bearer(token(hour(), secret, kid=kid))
    if accepted:
        assert guarded.accepts("/v1/", headers).key_id == kid
    else:
        assert guarded.refuses("/v1/", headers).reason == "invalid_credentials"


@pytest.mark.parametrize(
    ("now", "accepted"), [(-1, False), (0, True), (99, True), (99.9, True), (100, False)]
)
def test_a_secret_counts_from_not_before_until_not_after(service, now, accepted):
    third = (
        '      - {id: dated, secret: "a third secret, of more than 32 bytes, too",'
        " not_before: 2025-10-09T08:53:20Z, not_after: 2025-10-09T08:55:00Z}"
    )
    guarded = service(registry(secrets=third))
    guarded.now = NOW + now
    headers = bearer(token(hour(iat=None), "a third secret, of more than 32 bytes, too"))
    if accepted:
        assert guarded.accepts("/v1/", headers).key_id == "dated"
    else:
        assert guarded.refuses("/v1/", headers).reason == "invalid_credentials"


def many(count: int, dates: str = "") -> str:
    return "\n".join(
        f'      - {{id: s{n}, secret: "secret {n}, of more than 32 bytes, so there"{dates}}}'
        for n in range(count)
    )


def test_eight_secrets_are_tried(service):
    guarded = service(registry(secrets=many(6)))
    secret = "secret 5, of more than 32 bytes, so there"
    assert guarded.accepts("/v1/", bearer(token(hour(), secret))).key_id == "s5"


def test_nine_secrets_active_at_once_are_an_error_at_load(service):
    with pytest.raises(ConfigError, match=r"projects\.bsc\.secrets: .*8 secrets"):
        service(registry(secrets=many(7)))


def test_secrets_that_are_never_active_together_do_not_count_together(service):
    ended = many(6, ", not_after: 2020-01-01T00:00:00Z")
    begun = many(6, ", not_before: 2020-01-01T00:00:00Z").replace("id: s", "id: t")
    service(registry(secrets=f"{ended}\n{begun}"))
    with pytest.raises(ConfigError, match="8 secrets"):
        service(registry(secrets=f"{ended.replace('2020', '2021')}\n{begun}"))


ALGORITHMS = ["HS384", "HS512", "none", "None", "hs256", "", "RS256"]


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_only_hs256_is_taken(service, alg):
    headers = bearer(token(hour(), alg="HS256", header={"alg": alg, "typ": "JWT"}))
    assert service(registry()).refuses("/v1/", headers).reason == "unsupported_algorithm"


@pytest.mark.parametrize("alg", ["HS384", "HS512"])
def test_a_longer_hmac_with_the_right_secret_is_refused(service, alg):
    headers = bearer(token(hour(), SECRET * 2, alg))
    assert service(registry()).refuses("/v1/", headers).reason == "unsupported_algorithm"


# --- The claims -----------------------------------------------------------------------------------

TIMES = [
    ({"exp": None}, "invalid_claims"),  # the point of the JWT over the key
    ({"exp": NOW}, "expired"),
    ({"exp": NOW + 1}, None),
    ({"exp": NOW + 0.5}, None),
    ({"exp": NOW - 1}, "expired"),
    ({"exp": 1e11}, None),
    ({"exp": 1e11 + 1}, "invalid_claims"),
    ({"exp": (NOW + 3600) * 1000}, "invalid_claims"),  # milliseconds: it would live for millennia
    ({"exp": 10**4000}, "invalid_claims"),
    ({"exp": str(NOW + 3600)}, "invalid_claims"),
    ({"exp": True}, "invalid_claims"),
    ({"exp": -1}, "invalid_claims"),
    ({"exp": [NOW + 3600]}, "invalid_claims"),
    ({"iat": None}, None),
    ({"iat": NOW + 5}, None),
    ({"iat": NOW + 5.1}, "not_yet_valid"),
    ({"iat": NOW + 6}, "not_yet_valid"),
    ({"iat": 0}, None),
    ({"iat": -1}, "invalid_claims"),
    ({"iat": False}, "invalid_claims"),
    ({"iat": NOW * 1000}, "invalid_claims"),
    ({"nbf": NOW}, None),
    ({"nbf": NOW + 1}, "not_yet_valid"),
    ({"nbf": NOW + 0.25}, "not_yet_valid"),
    ({"nbf": "now"}, "invalid_claims"),
    ({"nbf": -1}, "invalid_claims"),
    ({"aud": "bsc"}, "invalid_audience"),  # no audience is configured
    ({"aud": ["bsc"]}, "invalid_audience"),
    ({"aud": ""}, "invalid_audience"),
    ({"aud": []}, "invalid_audience"),
    ({"sub": 7}, "invalid_claims"),
    ({"jti": ["x"]}, "invalid_claims"),
]


@pytest.mark.parametrize(("claims", "reason"), TIMES, ids=[str(case[0])[:40] for case in TIMES])
def test_the_claims_one_by_one(service, claims, reason):
    guarded = service(registry())
    headers = bearer(token(hour(**claims)))
    if reason is None:
        guarded.accepts("/v1/", headers)
    else:
        assert guarded.refuses("/v1/", headers).reason == reason


def test_null_is_no_date(service):
    headers = bearer(token('{"exp": null}'))
    assert service(registry()).refuses("/v1/", headers).reason == "invalid_claims"


def test_a_token_that_was_good_expires_on_the_second(service):
    guarded = service(registry())
    headers = bearer(token(hour()))
    guarded.accepts("/v1/", headers)
    guarded.now = NOW + 3599.999
    guarded.accepts("/v1/", headers)
    guarded.now = NOW + 3600
    assert guarded.refuses("/v1/", headers).reason == "expired"


@pytest.mark.parametrize(
    ("leeway", "claims", "reason"),
    [
        ("30s", {"exp": NOW - 29}, None),
        ("30s", {"exp": NOW - 30}, "expired"),
        ("30s", {"nbf": NOW + 30}, None),
        ("30s", {"nbf": NOW + 31}, "not_yet_valid"),
        ("120s", {"exp": NOW - 119}, None),
    ],
)
def test_leeway_widens_exp_and_nbf_by_exactly_its_value(service, leeway, claims, reason):
    guarded = service(registry(f"    leeway: {leeway}"))
    headers = bearer(token(hour(**claims)))
    if reason is None:
        guarded.accepts("/v1/", headers)
    else:
        assert guarded.refuses("/v1/", headers).reason == reason


@pytest.mark.parametrize("setting", ["leeway: 121s", "leeway: 1h", "iat_leeway: 3m"])
def test_a_leeway_above_120_seconds_is_an_error_at_load(service, setting):
    with pytest.raises(ConfigError, match=setting.partition(":")[0]):
        service(registry(f"    {setting}"))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW + 3600}, None),
        ({"exp": NOW + 3601}, None),  # the document's Python reads the clock twice
        ({"exp": NOW + 3602}, "invalid_claims"),
        ({"iat": NOW - 3000, "exp": NOW + 601}, None),
        ({"iat": NOW - 3000, "exp": NOW + 602}, "invalid_claims"),
        ({"iat": None}, "invalid_claims"),  # else leaving it out would lift the bound
    ],
)
def test_max_lifetime_bounds_exp_minus_iat_with_a_second_of_grace(service, claims, reason):
    guarded = service(registry("    max_lifetime: 1h"))
    headers = bearer(token(hour(**claims)))
    if reason is None:
        guarded.accepts("/v1/", headers)
    else:
        assert guarded.refuses("/v1/", headers).reason == reason


def test_there_is_no_bound_on_the_lifetime_by_default(service):
    service(registry()).accepts("/v1/", bearer(token(hour(exp=NOW + 10 * 365 * 86400))))


@pytest.mark.parametrize("audience", ["bsc", ["x", "y"], "", [], 7])
def test_aud_ignore_lets_every_audience_in(service, audience):
    guarded = service(registry("    aud: ignore"))
    if audience == 7:  # still no audience that any token may have (RFC 7519 section 4.1.3)
        assert guarded.refuses("/v1/", bearer(token(hour(aud=7)))).reason == "invalid_claims"
    else:
        guarded.accepts("/v1/", bearer(token(hour(aud=audience))))


# --- Refusals -------------------------------------------------------------------------------------


def test_no_credential_at_all(service):
    error = service(registry()).refuses("/v1/")
    assert (error.reason, error.status, error.code) == ("missing_credentials", 401, -32001)
    assert error.challenges == ('Bearer realm="bsc"',)
    assert (error.bare, error.project, error.retry_after) == (False, "bsc", None)


def test_a_bad_credential_is_answered_as_rfc_6750_says(service):
    error = service(registry()).refuses("/v1/", bearer(token(hour(), "x" * 40)))
    assert (error.reason, error.status, error.code) == ("invalid_credentials", 401, -32001)
    (challenge,) = error.challenges
    assert challenge.startswith('Bearer realm="bsc", error="invalid_token", error_description="')


MALFORMED: list[tuple[str, Any]] = [
    ("two parts", lambda good: good.rpartition(".")[0]),
    ("four parts", lambda good: good + ".x"),
    ("five parts", lambda good: good + ".x.y"),
    ("padded", lambda good: good + "="),
    ("not base64url", lambda good: good.replace(".", ".+", 1)),
    ("longer than 8 KiB", lambda good: token(hour(pad="x" * 8000))),
    ("payload is a list", lambda good: token([1])),
    ("payload is no JSON", lambda good: token("{")),
    ("exp twice", lambda good: token(f'{{"exp": {NOW + 9}, "exp": {NOW + 10}}}')),
    ("alg twice", lambda good: token(hour(), header='{"alg": "HS256", "alg": "HS256"}')),
    ("crit", lambda good: token(hour(), crit=["exp"])),
    ("crit, empty", lambda good: token(hour(), crit=[])),
    ("kid is a number", lambda good: token(hour(), kid=7)),
    ("typ of a session token", lambda good: token(hour(), typ="rpcguard-session+jwt")),
]


@pytest.mark.parametrize("change", [c for _, c in MALFORMED], ids=[name for name, _ in MALFORMED])
def test_malformed_tokens(service, change):
    headers = bearer(change(token(hour())))
    assert service(registry()).refuses("/v1/", headers).reason == "malformed_credentials"


def test_the_largest_token_has_8_kib(service):
    fixed = len(token(hour(pad="")))
    pad = (8192 - fixed) // 4 * 3
    fits = next(t for n in range(8) if len(t := token(hour(pad="x" * (pad - n)))) <= 8192)
    assert len(fits) > 8188
    guarded = service(registry())
    guarded.accepts("/v1/", bearer(fits))
    over = next(t for n in range(8) if len(t := token(hour(pad="x" * (pad + n)))) > 8192)
    assert guarded.refuses("/v1/", bearer(over)).reason == "malformed_credentials"


def test_max_credential_is_a_setting(service):
    text = registry().replace("projects:", "bounds: {max_credential: 16KiB}\nprojects:", 1)
    service(text).accepts("/v1/", bearer(token(hour(pad="x" * 8000))))


# --- Secrets at load ------------------------------------------------------------------------------


def test_a_secret_of_less_than_32_bytes_is_refused_at_load(service):
    with pytest.raises(ConfigError) as caught:
        service(registry(secrets='      - {id: weak, secret: "only 31 bytes, one too few ---"}'))
    assert "projects.bsc.secrets[2]" in str(caught.value)
    assert "only 31" not in str(caught.value)


def test_32_bytes_are_enough(service, caplog):
    secret = "x" * 32
    guarded = service(registry(secrets=f'      - {{id: least, secret: "{secret}"}}'))
    guarded.accepts("/v1/", bearer(token(hour(), secret)))
    assert "weak" not in caplog.text


def test_allow_weak_loads_a_short_secret_with_a_warning(service, caplog):
    weak = '      - {id: weak, secret: "short", allow_weak: true}'
    with caplog.at_level(logging.WARNING, "rpcguard"):
        guarded = service(registry(secrets=weak))
    assert "weak secret" in caplog.text
    assert guarded.accepts("/v1/", bearer(token(hour(), "short"))).key_id == "weak"


def test_allow_weak_is_for_its_own_entry_alone(service):
    two = (
        '      - {id: weak, secret: "short", allow_weak: true}\n      - {id: x, secret: "shorter"}'
    )
    with pytest.raises(ConfigError, match=r"secrets\[3\]"):
        service(registry(secrets=two))


# --- The API key in the URL -----------------------------------------------------------------------


def test_no_target_that_may_hold_a_key_is_remembered(service):
    guarded = service(registry(WITH_KEY))
    guarded.accepts("/v1/", bearer(token(hour())))
    guarded.accepts(f"/v1/?key={API_KEY}", bearer(token(hour())))
    assert guarded.accepts(f"/v1/{API_KEY}").scheme == "api_key"
    remembered = repr(guarded.verifier.registry._places.known)
    assert "/v1/" in remembered
    assert API_KEY not in remembered


@pytest.mark.parametrize("path", ["/v1/", "/ws/v1/"])
def test_an_api_key_is_the_one_segment_after_the_prefix(service, path):
    principal = service(registry(WITH_KEY)).accepts(
        path + API_KEY, websocket=path.startswith("/ws")
    )
    assert (principal.scheme, principal.subject, principal.key_id) == ("api_key", "ops", "ops")
    assert (principal.name, principal.expires_at, principal.claims) == ("Operations", None, {})


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (f"/v1/{API_KEY}x", "invalid_credentials"),
        (f"/v1/{API_KEY[:-1]}", "invalid_credentials"),
        (f"/v1/{API_KEY.upper()}", "invalid_credentials"),
        (f"/v1/{key_digest(API_KEY)}", "malformed_credentials"),  # a colon is in no key
        (f"/v1/{key_digest(API_KEY)[7:]}", "invalid_credentials"),
        (f"/v1/{API_KEY}/more", "missing_credentials"),
        (f"/v1/more/{API_KEY}", "missing_credentials"),
        (f"/v1/?{API_KEY}", "missing_credentials"),
        (f"/v1/?api_key={API_KEY}", "missing_credentials"),
        ("/v1/%20", "malformed_credentials"),
        ("/v1/" + "k" * 9000, "malformed_credentials"),
    ],
)
def test_what_is_not_the_key_is_refused(service, target, reason):
    assert service(registry(WITH_KEY)).refuses(target).reason == reason


def test_a_query_after_the_key_is_not_part_of_it(service):
    service(registry(WITH_KEY)).accepts(f"/v1/{API_KEY}?trace=1")


def test_a_key_in_a_header_is_not_looked_at(service):
    headers = [("X-Api-Key", API_KEY)]
    assert service(registry(WITH_KEY)).refuses("/v1/", headers).reason == "missing_credentials"


def test_token_and_key_together_are_ambiguous_even_if_both_are_good(service):
    guarded = service(registry(WITH_KEY))
    error = guarded.refuses(f"/v1/{API_KEY}", bearer(token(hour())))
    assert (error.reason, error.status, error.code) == ("ambiguous_credentials", 400, -32600)


def test_token_and_key_together_are_ambiguous_even_if_one_is_bad(service):
    guarded = service(registry(WITH_KEY))
    for target, text in ((f"/v1/{API_KEY}", "bad"), ("/v1/bad", token(hour()))):
        assert guarded.refuses(target, bearer(text)).reason == "ambiguous_credentials"


def test_without_api_keys_a_segment_is_no_credential(service):
    guarded = service(registry())
    assert guarded.accepts(f"/v1/{API_KEY}", bearer(token(hour()))).scheme == "jwt"
    assert guarded.refuses(f"/v1/{API_KEY}").reason == "missing_credentials"


def test_keys_alone_make_a_project(service):
    text = f"""
version: 1
projects:
  bsc:
    preset: meganode
    match: {{path: /v1}}
{WITH_KEY}
"""
    guarded = service(text)
    assert guarded.accepts(f"/v1/{API_KEY}").subject == "ops"
    error = guarded.refuses("/v1/", bearer(token(hour())))
    assert error.reason == "missing_credentials"  # a kind that is not enabled is not looked at
    assert error.challenges == ('ApiKey realm="bsc"',)


def test_api_keys_have_dates_too(service):
    dated = WITH_KEY.replace("{id: ops,", "{id: ops, not_after: 2025-10-09T08:53:20Z,")
    guarded = service(registry(dated))
    guarded.now = NOW - 0.5
    assert guarded.accepts(f"/v1/{API_KEY}").expires_at == NOW
    guarded.now = NOW
    assert guarded.refuses(f"/v1/{API_KEY}").reason == "invalid_credentials"


def test_nothing_that_is_logged_raised_or_shown_holds_the_key_or_the_token(service, caplog):
    guarded = service(registry(WITH_KEY))
    good = token(hour())
    with caplog.at_level(logging.DEBUG):
        shown = [repr(guarded.accepts(f"/v1/{API_KEY}")), repr(guarded.verifier)]
        for target, headers in [
            (f"/v1/{API_KEY}", bearer(good)),
            (f"/v1/{API_KEY}x", []),
            ("/v1/", bearer(good + "x")),
        ]:
            error = guarded.refuses(target, headers)
            shown += [str(error), repr(error), error.message, error.detail, *error.challenges]
    text = "\n".join(shown) + caplog.text
    assert API_KEY not in text
    assert good.rpartition(".")[2][:20] not in text
    assert SECRET not in text


# --- Which route --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/v1/", "/v1", "/v1/?x=1"])
def test_a_route_that_names_its_project_takes_the_token_as_a_matched_one_does(service, target):
    guarded = service(registry(WITH_KEY))
    assert guarded.accepts(target, bearer(token(hour()))).scheme == "jwt"
    assert guarded.accepts(target, bearer(token(hour())), project="bsc").scheme == "jwt"


@pytest.mark.parametrize("target", ["/", "/rpc", "/v2", "/a/b", "/v1x"])
def test_where_no_prefix_matched_no_segment_is_a_key(service, target):
    guarded = service(registry(WITH_KEY))
    assert guarded.accepts(target, bearer(token(hour())), project="bsc").scheme == "jwt"
    assert guarded.refuses(target, project="bsc").reason == "missing_credentials"


@pytest.mark.parametrize("target", ["/v1/", "/ws/v1/"])
def test_a_route_that_names_its_project_reads_the_key_after_the_prefix(service, target):
    guarded = service(registry(WITH_KEY))
    assert guarded.accepts(target + API_KEY, project="bsc").scheme == "api_key"


def test_secrets_are_not_an_empty_configuration(service):
    """`when_no_keys: allow` must not open a project that has secrets."""
    try:
        guarded = service(registry("    when_no_keys: allow"))
    except ConfigError:
        return
    assert guarded.refuses("/v1/").reason == "missing_credentials"


# --- Revocation -----------------------------------------------------------------------------------


def test_a_token_is_named_by_its_key_and_jti(service):
    guarded = service(registry())
    one, two = (bearer(token(hour(jti=jti))) for jti in ("one", "two"))
    other_key = bearer(token(hour(jti="one"), OTHER_SECRET))
    guarded.verifier.revoke("bsc", jti="one", key="2026-11")
    assert guarded.refuses("/v1/", one).reason == "revoked"
    guarded.accepts("/v1/", two)
    guarded.accepts("/v1/", other_key)


def test_a_revoked_key_ends_everything_that_it_signed_even_what_was_seen_before(service):
    guarded = service(registry())
    ours, other = bearer(token(hour())), bearer(token(hour(), OTHER_SECRET))
    guarded.accepts("/v1/", ours)
    guarded.verifier.revoke("bsc", key="2026-11")
    assert guarded.refuses("/v1/", ours).reason == "revoked"
    guarded.accepts("/v1/", other)


def test_revoking_a_subject_ends_what_was_issued_before_now(service):
    guarded = service(registry())
    before = bearer(token(hour(sub="ci", iat=NOW)))
    guarded.verifier.revoke("bsc", subject="ci")
    guarded.now = NOW + 2
    assert guarded.refuses("/v1/", before).reason == "revoked"
    guarded.accepts("/v1/", bearer(token(hour(sub="ci", iat=NOW + 1))))
    guarded.accepts("/v1/", bearer(token(hour(sub="someone else"))))


def test_the_same_token_may_be_used_again(service):
    guarded = service(registry())
    for _ in range(3):
        guarded.accepts("/v1/", bearer(token(hour())), CALL)
