"""What a session token is taken for, and what it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from minting import NOW, bearer, hour, token

from issuing.site import ALICE, BOB, OPEN, SECRETS, registry
from rpcguard import ConfigError
from rpcguard.base64url import decode, encode

CLAIMS = {
    "iss": "rpcguard",
    "aud": "sol-1",
    "sub": ALICE.pubkey,
    "jti": "an id",
    "iat": NOW,
    "exp": NOW + 3600,
}
HEADER = {"alg": "HS256", "typ": "rpcguard-session+jwt", "kid": "a"}

BOTH = """
version: 1
projects:
  bots:
    preset: bearer
    audience: bots
    keys: [{kid: a, alg: HS256, secret: "${env:JWT}"}]
    session: {secrets: [{id: a, secret: "${env:A}"}]}
"""


def _forged(secret: str = SECRETS["A"], header: Any = None, **claims: Any) -> str:
    """Return a session token made by hand; None removes a claim or a header member."""
    head = {k: v for k, v in (HEADER | (header or {})).items() if v is not None}
    body = {k: v for k, v in (CLAIMS | claims).items() if v is not None}
    return token(body, secret, header=head)


def test_one_made_by_hand_as_the_document_says_is_taken(make):
    assert make(OPEN).admits(_forged()).subject == ALICE.pubkey


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        (_forged(SECRETS["B"]), "invalid_credentials"),
        (_forged(SECRETS["JWT"]), "invalid_credentials"),
        (_forged(header={"kid": "b"}), "invalid_credentials"),
        (_forged(header={"kid": None}), "invalid_credentials"),
        (_forged(header={"typ": None}), "malformed_credentials"),
        (_forged(header={"typ": "JWT"}), "malformed_credentials"),
        (_forged(header={"typ": "at+jwt"}), "malformed_credentials"),
        (_forged(header={"typ": "rpcguard-session"}), "malformed_credentials"),
        (_forged(header={"alg": "HS512"}), "unsupported_algorithm"),
        (_forged(header={"alg": "none"}), "unsupported_algorithm"),
        (_forged(header={"crit": ["exp"], "exp": 1}), "malformed_credentials"),
        (_forged(aud="solana"), "invalid_audience"),
        (_forged(aud="sol-2"), "invalid_audience"),
        (_forged(aud="sol"), "invalid_audience"),
        (_forged(iss="other"), "invalid_claims"),
        (_forged(iat=NOW + 60), "not_yet_valid"),
        (_forged(exp=NOW), "expired"),
        (_forged(exp=NOW * 1000 + 3_600_000), "invalid_claims"),
        (_forged(exp="tomorrow"), "invalid_claims"),
        (_forged(sub=7), "invalid_claims"),
        (_forged(jti=7), "invalid_claims"),
        *((_forged(**{name: None}), None) for name in CLAIMS),
    ],
)
def test_another_typ_key_audience_or_claim_is_refused(make, forged, reason):
    found = make(OPEN).denies(forged)
    assert found == reason if reason else found in ("invalid_claims", "invalid_audience")


def test_a_session_of_another_project_is_refused_even_under_one_secret(make):
    """Two projects with one secret are kept apart by `aud`; with other secrets by both."""
    text = registry("wallets: open\nmatch: {path: /a}") + registry(
        "wallets: open\nmatch: {path: /b}"
    ).partition("projects:")[2].replace("solana", "other").replace("sol-1", "sol-2")
    site = make(text)
    session = site.sign_in(project="solana")["token"]
    assert site.admits(session, "/a").project == "solana"
    assert site.denies(session, "/b") == "invalid_audience"
    assert site.refuses("/auth/logout", b"", bearer(session), project="other").status == 401
    assert site.admits(session, "/a")


def test_two_projects_with_sessions_need_two_ids(make):
    """The audience of a session is the id: with one secret, they would share their sessions."""
    text = registry("wallets: open\nmatch: {path: /a}") + registry(
        f"wallets: [{{pubkey: {ALICE.pubkey}}}]\nmatch: {{path: /b}}"
    ).partition("projects:")[2].replace("solana", "other")
    with pytest.raises(ConfigError, match="has sessions under this id too"):
        make(text)


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", None, "rpcguard-session+jwt"])
def test_a_session_is_never_the_projects_jwt_and_the_reverse(make, typ):
    site = make(BOTH)
    session = site.verifier.issue("bots", "carol")["token"]
    assert site.admits(session).scheme == "session"
    own = token(hour(sub="carol", aud="bots"), SECRETS["JWT"], kid="a")
    assert site.admits(own).scheme == "jwt"
    header = {"alg": "HS256", "kid": "a"} | ({"typ": typ} if typ else {})
    # The session secret signs no JWT of the project, whatever the header says.
    as_jwt = token(hour(sub="carol", aud="bots"), SECRETS["A"], header=header)
    assert site.denies(as_jwt) in ("invalid_credentials", "malformed_credentials", "invalid_claims")
    # Who may sign the project's JWTs may not make sessions.
    claims = CLAIMS | {"aud": "bots", "sub": "carol"}
    as_session = token(claims, SECRETS["JWT"], header=header)
    if typ == "rpcguard-session+jwt":
        assert site.denies(as_session) in ("invalid_credentials", "malformed_credentials")
    else:
        assert site.admits(as_session).scheme == "jwt"


@pytest.mark.parametrize(
    "header",
    [
        '{"alg": "HS256", "kid": "a", "typ": "rpcguard-session+jwt"}',
        '{"typ":"rpcguard-session+jwt","kid":"a","alg":"HS256"}',
        '{ "alg":"HS256","kid":"a","typ":"application/rpcguard-session+jwt"}',
        '{"alg":"HS256","kid":"a","typ":"RPCGUARD-SESSION+JWT"}',
    ],
)
@pytest.mark.parametrize("secret", ["A", "JWT"])
def test_another_spelling_of_a_sessions_header_does_not_make_it_a_jwt(make, header, secret):
    forged = token(CLAIMS | {"aud": "bots"}, SECRETS[secret], header=header)
    assert make(BOTH).denies(forged) in ("invalid_credentials", "malformed_credentials")


def test_logging_out_with_the_projects_jwt_is_refused(make):
    site = make(BOTH)
    own = token(hour(sub="carol", aud="bots", jti="x"), SECRETS["JWT"], kid="a")
    assert site.refuses("/auth/logout", b"", bearer(own)).status == 401
    assert site.admits(own)


def test_issue_is_for_the_applications_own_login(make):
    site = make(BOTH)
    answer = site.verifier.issue("bots", "carol", {"role": "admin"})
    assert list(answer) == ["token", "expiresAt"]
    principal = site.admits(answer["token"])
    assert (principal.subject, principal.claims["role"]) == ("carol", "admin")
    assert principal.expires_at == answer["expiresAt"] == NOW + 3600
    assert site.serve("/auth/logout", b"", bearer(answer["token"])) == {"revoked": True}
    assert site.denies(answer["token"]) == "revoked"


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti", "sid", "iat", "exp", "nbf"])
def test_issue_does_not_let_the_caller_set_what_rpcguard_sets(alone, name):
    site = alone(BOTH)
    with pytest.raises(ValueError, match=name):
        site.verifier.issue("bots", "carol", {name: "x"})
    site.reload(BOTH.replace("}]}\n", "}], refresh: rotating}\n"))
    with pytest.raises(ValueError, match=name):
        site.verifier.issue("bots", "carol", {name: "x"})


@pytest.mark.parametrize("project", ["nothing", "plain"])
def test_issue_needs_a_project_with_a_session(alone, project):
    text = BOTH + "  plain: {preset: bearer, match: {path: /p}, keys: []}\n"
    with pytest.raises(LookupError):
        alone(text).verifier.issue(project, "carol")


def test_a_session_without_a_subject_is_not_issued(alone):
    """It would pass for the key that signed it."""
    with pytest.raises(ValueError):
        alone(BOTH).verifier.issue("bots", "")


def test_a_project_without_wallets_has_nothing_to_sign_in_with(alone):
    site = alone(BOTH)
    for route in ("/auth/challenge", "/auth/verify"):
        assert site.refuses(route, {"pubkey": ALICE.pubkey}).status == 403


def test_a_key_prefix_decides_and_there_is_no_second_try(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    assert site.denies("nod_" + session) == "invalid_credentials"
    assert site.denies("NOD_" + session) in ("malformed_credentials", "invalid_credentials")


def test_two_kinds_of_credential_are_refused_even_if_both_are_good(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    both = [*bearer(session), *ALICE.v2("POST", "/")]
    assert site.denies(both) == "ambiguous_credentials"
    assert site.admits(ALICE.v2("POST", "/"))  # nothing was spent


# Logging out


def test_logout_ends_the_session_at_once_everywhere(make):
    one, other = make(OPEN), make(OPEN)
    ended, kept, bobs = one.sign_in()["token"], one.sign_in()["token"], one.sign_in(BOB)["token"]
    for each in (ended, kept, bobs):
        assert other.admits(each)  # cached there from now on
    assert one.serve("/auth/logout", b"", bearer(ended)) == {"revoked": True}
    for site in (one, other):
        assert site.denies(ended) == "revoked"
        assert site.admits(kept)
        assert site.admits(bobs)


def test_logging_out_twice_is_refused_and_harmless(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    site.serve("/auth/logout", b"", bearer(session))
    error = site.refuses("/auth/logout", b"", bearer(session))
    assert (error.status, error.reason) == (401, "revoked")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token": "x"}', b"no json", b"\xff"])
def test_logout_does_not_look_at_the_body(make, body):
    site = make(OPEN)
    headers = bearer(site.sign_in()["token"])
    assert site.serve("/auth/logout", body, headers) == {"revoked": True}


def _spellings(session: str) -> list[str]:
    header, payload, signature = session.split(".")
    other = json.dumps(json.loads(decode(payload)), indent=1).encode()
    last = {"A": "B", "Q": "R", "g": "h", "w": "x"}
    return [
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}.{signature[:-1]}{last.get(signature[-1], 'B')}",
        f"{header}.{payload}=.{signature}",
        f"{header}.{encode(other)}.{signature}",
        f"{header}.{payload}.{signature}.",
        session.replace("-", "+").replace("_", "/") + " ",
    ]


def test_no_other_spelling_of_a_session_that_ended_is_taken(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    site.serve("/auth/logout", b"", bearer(session))
    for text in _spellings(session):
        if text != session:
            assert site.denies(text)
    # The same claims signed anew, as nobody without the secret can: it is the `jti` that ended.
    claims = json.loads(decode(session.split(".")[1]))
    assert site.denies(token(claims, SECRETS["A"], header=HEADER | {"x": 1})) == "revoked"


def test_logging_out_with_what_is_no_live_session_revokes_nothing(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    claims = json.loads(decode(session.split(".")[1]))
    key = site.key_for()
    wrong = [
        [],
        bearer("x"),
        bearer("a.b.c"),
        bearer(_forged(SECRETS["B"], jti=claims["jti"])),
        bearer(_forged(aud="sol-2", jti=claims["jti"])),
        bearer(_forged(exp=NOW, jti=claims["jti"])),
        bearer(_forged(header={"typ": "JWT"}, jti=claims["jti"])),
        bearer(key),
        bearer(session) * 2,
        [("Authorization", f"Basic {session}")],
        [("Sec-WebSocket-Protocol", f"auth.{session}")],
        ALICE.v2("POST", "/auth/logout", b""),
    ]
    for headers in wrong:
        error = site.refuses("/auth/logout", b"", headers)
        assert (error.status, error.project) == (401, "sol-1")
        assert error.challenges
    assert site.admits(session)
    assert site.admits(key)


def test_a_logout_is_remembered_until_the_session_would_have_ended(make):
    """By any clock within the margin, and not for longer than that."""
    site, behind = make(OPEN), make(OPEN)
    session = site.sign_in()["token"]
    site.serve("/auth/logout", b"", bearer(session))
    site.now = NOW + 3600 + 29
    site.serve("/auth/logout", b"", bearer(site.sign_in(BOB)["token"]))  # prunes what has ended
    behind.now = NOW + 3599
    assert behind.denies(session) == "revoked"


def test_a_logout_that_cannot_be_recorded_is_503_and_not_a_success(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    site.verifier.close()
    error = site.refuses("/auth/logout", b"", bearer(session))
    assert (error.status, error.reason, error.project) == (503, "backend_unavailable", "sol-1")


@pytest.mark.parametrize("route", ["/auth/challenge", "/auth/verify", "/auth/refresh"])
def test_without_the_backend_every_route_is_503(make, route):
    site = make(registry(session=", refresh: rotating"))
    body = {
        "pubkey": ALICE.pubkey,
        "signature": ALICE.sign("x"),
        "refreshToken": "rfr_00" + "x" * 65,
    }
    site.verifier.close()
    error = site.refuses(route, body)
    assert (error.status, error.reason, error.project) == (503, "backend_unavailable", "sol-1")
    error = site.refuses("/account/api-key", b"", site.asks_for_key())
    assert (error.status, error.reason, error.project) == (503, "backend_unavailable", "sol-1")
