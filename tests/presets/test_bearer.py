"""bearer: JWTs of one's own issuer, one algorithm per key."""

from __future__ import annotations

import asyncio
import json

import pytest
from minting import (
    CALL,
    NOW,
    SECRET,
    bearer,
    hour,
    key_digest,
    private_key,
    public_pem,
    segment,
    token,
)

from rpcguard import AuthError, ConfigError, Request

HMACS = {"HS256": SECRET, "HS384": SECRET * 2, "HS512": SECRET * 2}
PUBLIC = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
ALL = [*HMACS, *PUBLIC]


def key(alg: str, kid: str = "", more: str = "") -> str:
    material = (
        f"secret: {json.dumps(HMACS[alg])}"
        if alg in HMACS
        else f"public_key: {json.dumps(public_pem(alg))}"
    )
    return f"      - {{kid: {kid or alg}, alg: {alg}, {material}{more}}}"


def registry(*keys: str, extra: str = "") -> str:
    listed = "\n".join(keys or [key("EdDSA")])
    return f"""
version: 1
projects:
  bots:
    preset: bearer
    match: {{path: /bots}}
    issuer: https://id.example.com
    audience: bots
    keys:
{listed}
{extra}
"""


def minted(alg: str = "EdDSA", *, kid: str | None = "", typ: object = "JWT", **claims: object):
    """Return a token as our own issuer mints it."""
    more = {} if kid is None else {"kid": kid or alg}
    payload = hour(**{"iss": "https://id.example.com", "aud": "bots", "sub": "bot-7", **claims})
    head = {"alg": alg, **more} if typ is None else {"alg": alg, "typ": typ, **more}
    return token(payload, HMACS.get(alg) or private_key(alg), alg, header=head)


@pytest.mark.parametrize("alg", ALL)
def test_each_algorithm(service, alg):
    principal = service(registry(key(alg))).accepts("/bots", bearer(minted(alg)))
    assert (principal.subject, principal.key_id, principal.scheme) == ("bot-7", alg, "jwt")


def test_all_algorithms_together_one_per_key(service):
    guarded = service(registry(*map(key, ALL)))
    for alg in ALL:
        guarded.accepts("/bots", bearer(minted(alg)))


@pytest.mark.parametrize("kid", ALL)
def test_the_algorithm_belongs_to_the_key(service, kid):
    guarded = service(registry(*map(key, ALL)))
    for alg in set(ALL) - {kid}:
        error = guarded.refuses("/bots", bearer(minted(alg, kid=kid)))
        assert error.reason == "unsupported_algorithm"


@pytest.mark.parametrize("alg", ["none", "PS384", "PS512", "ES512", "ES256K", "HS1", "eddsa"])
def test_other_algorithms_do_not_exist(service, alg):
    text = token({}, private_key("EdDSA"), "EdDSA", header={"alg": alg, "kid": "EdDSA"})
    error = service(registry()).refuses("/bots", bearer(text))
    assert error.reason == "unsupported_algorithm"


def test_none_without_a_signature(service):
    text = f"{segment({'alg': 'none', 'kid': 'EdDSA'})}.{segment(hour())}."
    assert service(registry()).refuses("/bots", bearer(text)).reason == "unsupported_algorithm"


@pytest.mark.parametrize("alg", ["PS384", "ES512", "none", "HS1"])
def test_other_algorithms_are_an_error_at_load(service, alg):
    with pytest.raises(ConfigError, match="alg"):
        service(registry(f"      - {{kid: a, alg: {alg}, secret: {SECRET * 3}}}"))


CLAIMS = [
    ({"exp": None}, "invalid_claims"),
    ({"exp": NOW}, "expired"),
    ({"iss": None}, "invalid_claims"),
    ({"iss": "https://id.example.co"}, "invalid_claims"),
    ({"iss": "https://id.example.com/"}, "invalid_claims"),
    ({"iss": "https://id.example"}, "invalid_claims"),
    ({"iss": ["https://id.example.com"]}, "invalid_claims"),
    ({"aud": None}, "invalid_audience"),
    ({"aud": "bot"}, "invalid_audience"),
    ({"aud": "botss"}, "invalid_audience"),
    ({"aud": "Bots"}, "invalid_audience"),
    ({"aud": ["bots", "x"]}, None),
    ({"aud": ["x"]}, "invalid_audience"),
    ({"iat": NOW + 6}, "not_yet_valid"),
    ({"nbf": NOW + 1}, "not_yet_valid"),
    ({"sub": None}, None),
    ({"sub": 5}, "invalid_claims"),
    ({"sid": 5}, "invalid_claims"),
    ({"extra": {"any": [None]}}, None),
]


@pytest.mark.parametrize(("claims", "reason"), CLAIMS, ids=[str(c[0]) for c in CLAIMS])
def test_the_claims(service, claims, reason):
    guarded = service(registry())
    headers = bearer(minted(**claims))
    if reason is None:
        guarded.accepts("/bots", headers)
    else:
        assert guarded.refuses("/bots", headers).reason == reason


def test_without_sub_the_key_is_the_subject(service):
    assert service(registry()).accepts("/bots", bearer(minted(sub=None))).subject == "EdDSA"


@pytest.mark.parametrize(
    ("setting", "claims", "reason"),
    [
        ("required: []", {"exp": None}, None),
        ("required: [exp, jti]", {}, "invalid_claims"),
        ("required: [exp, jti]", {"jti": "x"}, None),
        ("leeway: 10s", {"exp": NOW - 9}, None),
        ("leeway: 10s", {"exp": NOW - 10}, "expired"),
        ("max_lifetime: 10m", {"exp": NOW + 601}, None),
        ("max_lifetime: 10m", {"exp": NOW + 602}, "invalid_claims"),
        ("issuer: [https://id.example.com, x]", {"iss": "x"}, None),
        ("audience: [bots, x]", {"aud": "x"}, None),
        ("subject_claim: email", {"email": "a@b.example"}, None),
        ("subject_claim: email", {"email": 7}, "invalid_claims"),
    ],
)
def test_the_rules_are_settings(service, setting, claims, reason):
    name = setting.partition(":")[0]
    lines = [line for line in registry().splitlines() if not line.strip().startswith(f"{name}:")]
    guarded = service("\n".join([*lines, f"    {setting}"]))
    headers = bearer(minted(**claims))
    if reason is None:
        guarded.accepts("/bots", headers)
    else:
        assert guarded.refuses("/bots", headers).reason == reason


@pytest.mark.parametrize(
    ("typ", "accepted"),
    [
        ("JWT", True),
        ("jwt", True),
        (None, True),
        ("at+jwt", True),
        ("application/at+jwt", True),
        ("rpcguard-session+jwt", False),
        ("dpop+jwt", False),
        ("logout+jwt", False),
        ("", False),
    ],
)
def test_kinds_of_token_are_kept_apart_by_typ(service, typ, accepted):
    guarded = service(registry())
    headers = bearer(minted(typ=typ))
    if accepted:
        guarded.accepts("/bots", headers)
    else:
        assert guarded.refuses("/bots", headers).reason == "malformed_credentials"


@pytest.mark.parametrize("member", ["jku", "jwk", "x5u", "x5c", "x5t", "cty", "other"])
def test_headers_that_offer_a_key_are_ignored(service, member):
    """A genuine token may have them; one by another key does not become genuine by them."""
    from jwt.algorithms import OKPAlgorithm

    mine = private_key("EdDSA", 1)
    offered = json.loads(OKPAlgorithm.to_jwk(mine.public_key()))
    header = {"alg": "EdDSA", "kid": "EdDSA", member: offered}
    payload = hour(iss="https://id.example.com", aud="bots")
    guarded = service(registry())
    guarded.accepts("/bots", bearer(token(payload, private_key("EdDSA"), "EdDSA", header=header)))
    forged = bearer(token(payload, mine, "EdDSA", header=header))
    assert guarded.refuses("/bots", forged).reason == "invalid_credentials"


def test_an_unknown_key_and_a_wrong_key_are_refused_alike(service):
    guarded = service(registry())
    mine = private_key("EdDSA", 1)
    payload = hour(iss="https://id.example.com", aud="bots")
    errors = [
        guarded.refuses("/bots", bearer(token(payload, mine, "EdDSA", kid=kid)))
        for kid in ("EdDSA", "unknown")
    ]
    shown = {(e.reason, e.status, e.code, e.message, e.challenges, str(e)) for e in errors}
    assert len(shown) == 1
    assert errors[0].reason == "invalid_credentials"


@pytest.mark.parametrize(
    ("scheme", "accepted"),
    [
        ("Bearer", True),
        ("bearer", True),
        ("BEARER", True),
        ("bEaReR", True),
        ("Bearer  ", True),
        ("Bearer      ", True),
        ("Bearer\t", False),
        ("Bearer:", False),
        ("Bearer ,", False),
        ("JWT", False),
        ("", False),
        ("Token", False),
    ],
)
def test_the_authorization_field(service, scheme, accepted):
    guarded = service(registry())
    headers = bearer(minted(), scheme)
    if accepted:
        guarded.accepts("/bots", headers)
    else:
        error = guarded.refuses("/bots", headers)
        assert error.reason in ("missing_credentials", "malformed_credentials")


@pytest.mark.parametrize("extra", [" x", ",Bearer x", ";x", " ", "\n", "\0", "é", "\udc80"])
def test_nothing_may_follow_the_token(service, extra):
    headers = bearer(minted() + extra)
    assert service(registry()).refuses("/bots", headers).reason == "malformed_credentials"


@pytest.mark.parametrize(
    "headers",
    [
        [("Token", "x")],
        [("Cookie", "token=x")],
        [("X-Api-Key", "x")],
        [("Sec-WebSocket-Protocol", "auth.x")],
    ],
)
def test_tokens_elsewhere_are_not_looked_at(service, headers):
    guarded = service(registry())
    assert guarded.refuses("/bots?access_token=x", headers).reason == "missing_credentials"
    guarded.accepts("/bots?access_token=x", [*headers, *bearer(minted())])


# --- HTTPS ----------------------------------------------------------------------------------------

PROXIED = "trusted_proxies: [192.0.2.0/24]\n"


@pytest.mark.parametrize(
    ("facts", "headers", "accepted"),
    [
        ({"scheme": "https"}, [], True),
        ({"scheme": "http"}, [], False),
        ({"scheme": "http"}, [("X-Forwarded-Proto", "https")], False),
        ({"scheme": "http", "client": "198.51.100.1"}, [("X-Forwarded-Proto", "https")], False),
        ({"scheme": "http", "client": "192.0.2.9"}, [("X-Forwarded-Proto", "https")], True),
        ({"scheme": "http", "client": "192.0.2.9"}, [("X-Forwarded-Proto", "HTTPS")], True),
        ({"scheme": "http", "client": "192.0.2.9"}, [("X-Forwarded-Proto", "http")], False),
        ({"scheme": "http", "client": "192.0.2.9"}, [], False),
        ({"scheme": "http", "client": "192.0.2.9"}, [("X-Forwarded-Ssl", "on")], False),
        ({"scheme": "https", "client": "192.0.2.9"}, [("X-Forwarded-Proto", "http")], False),
        ({"scheme": "http", "client": "192.0.2.9"}, [("X-Forwarded-Proto", "https, http")], False),
        ({"scheme": "http", "client": "192.0.2.9"}, [("Forwarded", "proto=https")], False),
    ],
)
def test_require_https(service, facts, headers, accepted):
    text = registry(extra="    require_https: true").replace("projects:", PROXIED + "projects:", 1)
    guarded = service(text)
    if accepted:
        guarded.accepts("/bots", [*bearer(minted()), *headers], **facts)
    else:
        error = guarded.refuses("/bots", [*bearer(minted()), *headers], **facts)
        assert (error.reason, error.status, error.code) == ("https_required", 403, -32003)


def test_plain_requests_pass_by_default(service):
    service(registry()).accepts("/bots", bearer(minted()), scheme="http")


# --- Revocation and outage ------------------------------------------------------------------------


def test_by_session(service):
    guarded = service(registry())
    family = [bearer(minted(sid="s1", jti=str(n))) for n in range(2)]
    guarded.accepts("/bots", family[0])
    guarded.verifier.revoke("bots", session="s1")
    for headers in family:
        assert guarded.refuses("/bots", headers).reason == "revoked"
    guarded.accepts("/bots", bearer(minted(sid="s2")))


def test_by_subject_everything_issued_before_now(service):
    guarded = service(registry())
    old, undated = bearer(minted()), bearer(minted(iat=None))
    guarded.now = NOW + 10
    guarded.verifier.revoke("bots", subject="bot-7")
    for headers in (old, undated):
        assert guarded.refuses("/bots", headers).reason == "revoked"
    guarded.accepts("/bots", bearer(minted(iat=NOW + 11)))
    guarded.accepts("/bots", bearer(minted(sub="bot-8")))


def test_by_key_and_by_token(service):
    guarded = service(registry(key("EdDSA"), key("ES256")))
    guarded.verifier.revoke("bots", key="ES256")
    guarded.verifier.revoke("bots", key="EdDSA", jti="t1")
    assert guarded.refuses("/bots", bearer(minted("ES256"))).reason == "revoked"
    assert guarded.refuses("/bots", bearer(minted(jti="t1"))).reason == "revoked"
    guarded.accepts("/bots", bearer(minted(jti="t2")))


def test_revocations_of_one_project_do_not_touch_another(service):
    text = registry() + registry().partition("projects:\n")[2].replace("bots:", "more:", 1).replace(
        "/bots", "/more", 1
    )
    guarded = service(text)
    guarded.verifier.revoke("more", key="EdDSA")
    guarded.accepts("/bots", bearer(minted()))
    assert guarded.refuses("/more", bearer(minted())).reason == "revoked"


def test_the_twin_of_an_ecdsa_signature_is_the_same_token(service):
    """Both signatures are good; a token that is named by its signature would be two tokens."""
    from base64 import urlsafe_b64decode

    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    guarded = service(registry(key("ES256"), extra="    single_use: true"))
    text = minted("ES256")
    head, _, signature = text.rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    guarded.accepts("/bots", bearer(text))
    assert guarded.refuses("/bots", bearer(f"{head}.{segment(twin)}")).reason == "replayed"
    fresh = minted("ES256", jti="revoked")
    head, _, signature = fresh.rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    guarded.verifier.revoke("bots", key="ES256", jti="revoked")
    assert guarded.refuses("/bots", bearer(f"{head}.{segment(twin)}")).reason == "revoked"


def test_single_use_never_lets_a_token_in_twice(service):
    """Also one that never ends: without `exp` nothing says how long to remember it."""
    try:
        guarded = service(registry(extra="    single_use: true\n    required: []"))
    except ConfigError:
        return
    headers = bearer(minted(exp=None))
    outcomes = []
    for _ in range(2):
        try:
            outcomes.append(guarded.accepts("/bots", headers).scheme)
        except AuthError as error:
            outcomes.append(error.reason)
    assert outcomes.count("jwt") <= 1


class Broken:
    """A backend that is down."""

    def settle(self, owed, now):
        from rpcguard import BackendError

        raise BackendError("down")

    async def asettle(self, owed, now):
        return self.settle(owed, now)

    def close(self):
        pass


def test_503_when_the_backend_cannot_answer(service):
    guarded = service(registry(), backend=Broken())
    error = guarded.refuses("/bots", bearer(minted()))
    assert (error.reason, error.status, error.code) == ("backend_unavailable", 503, -32002)
    assert error.project == "bots"
    with pytest.raises(AuthError) as caught:
        asyncio.run(guarded.verifier.averify(Request("POST", "/bots", bearer(minted()), CALL)))
    assert caught.value.status == 503


def test_an_outage_does_not_hide_a_bad_credential(service):
    guarded = service(registry(), backend=Broken())
    assert guarded.refuses("/bots").reason == "missing_credentials"
    assert guarded.refuses("/bots", bearer(minted(exp=NOW))).reason == "expired"


def test_revocation_false_owes_nothing_and_survives_an_outage(service):
    guarded = service(registry(extra="    revocation: false"), backend=Broken())
    guarded.accepts("/bots", bearer(minted()))
    used = service(registry(extra="    revocation: false\n    single_use: true"), backend=Broken())
    assert used.refuses("/bots", bearer(minted())).reason == "backend_unavailable"


def test_hmac_secrets_have_the_length_of_their_hash(service):
    for alg, size in (("HS256", 32), ("HS384", 48), ("HS512", 64)):
        entry = f"      - {{kid: a, alg: {alg}, secret: {'x' * size}}}"
        service(registry(entry))
        with pytest.raises(ConfigError, match="7518"):
            service(registry(entry.replace("x" * size, "x" * (size - 1))))


def test_a_public_key_is_no_secret(service):
    text = f"      - {{kid: a, alg: HS256, secret: {json.dumps(public_pem('RS256'))}}}"
    with pytest.raises(ConfigError, match="public key"):
        service(registry(text))


@pytest.mark.parametrize("alg", PUBLIC)
def test_a_key_of_one_type_cannot_have_the_algorithm_of_another(service, alg):
    other = "ES256" if alg[:2] in ("RS", "PS") or alg == "ES384" else "RS256"
    entry = f"      - {{kid: a, alg: {alg}, public_key: {json.dumps(public_pem(other))}}}"
    if alg == "ES256":
        entry = entry.replace(json.dumps(public_pem(other)), json.dumps(public_pem("ES384")))
    with pytest.raises(ConfigError, match=r"keys\[0\]"):
        service(registry(entry))


def test_an_rsa_key_must_say_its_algorithm_here(service):
    entry = f"      - {{kid: a, public_key: {json.dumps(public_pem('RS256'))}}}"
    with pytest.raises(ConfigError, match="alg is required"):
        service(registry(entry))


def test_another_tenants_key_of_the_same_secret_is_still_another_key(service):
    """One secret under two ids: a token's kid decides which it is."""
    twice = [key("HS256", "a"), key("HS256", "b")]
    guarded = service(registry(*twice))
    assert guarded.accepts("/bots", bearer(minted("HS256", kid="b"))).key_id == "b"
    assert guarded.refuses("/bots", bearer(minted("HS256", kid=None))).reason == (
        "invalid_credentials"
    )


def test_api_keys_are_read_behind_bearer_and_in_a_header_and_not_in_the_url(service):
    text = registry(extra=f"    api_keys: [{{id: ops, digest: '{key_digest('key_0123')}'}}]")
    guarded = service(text)
    assert guarded.accepts("/bots", bearer("key_0123")).scheme == "api_key"
    assert guarded.accepts("/bots", [("X-Api-Key", "key_0123")]).key_id == "ops"
    assert guarded.refuses("/bots/key_0123").reason == "missing_credentials"
    assert guarded.refuses("/bots?api_key=key_0123").reason == "missing_credentials"
