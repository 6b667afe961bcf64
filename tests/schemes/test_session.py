"""Session tokens: what is minted, and what the scheme takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from minting import NOW, Wallet, bearer

from rpcguard import AuthError, owed
from rpcguard.base64url import decode
from rpcguard.keys import KeyRing, secret_key
from rpcguard.policy import Policy
from rpcguard.schemes.base import BearerKinds, Incoming, Proof
from rpcguard.schemes.challenge import Challenges
from rpcguard.schemes.claims import ClaimRules
from rpcguard.schemes.jwt import JwtRules, JwtScheme
from rpcguard.schemes.session import SessionScheme, offered_tokens
from rpcguard.schemes.wallets import Wallet as Listed
from rpcguard.schemes.wallets import Wallets
from rpcguard.sessions import OWN_CLAIMS, Family, Sessions, SigningSecret, header_of

PUBKEY = Wallet().pubkey
BEARERS = BearerKinds("nod_", frozenset(), "session")
FIRST, SECOND = b"the first secret of 32 bytes and more", b"the second secret of 32 bytes and more"


def _secret(kid: str = "a", raw: bytes = FIRST, **dates: Any) -> SigningSecret:
    return SigningSecret(secret_key(kid, "HS256", raw, **dates), raw, Challenges("p", "s", raw))


def _sessions(*secrets: SigningSecret, **more: Any) -> Sessions:
    values = {
        "project": "p",
        "audience": "p-id",
        "secrets": secrets or (_secret(),),
        "ttl": 3600,
        "refresh_ttl": None,
        "wallets": Wallets(None),
        "decode": lambda text, size: b"",
        "skew": 30.0,
    }
    return Sessions(**values | more)


def _scheme(sessions: Sessions, **claims: Any) -> SessionScheme:
    rules = JwtRules(
        project="p",
        algorithms=frozenset({"HS256"}),
        typ=frozenset({"rpcguard-session+jwt"}),
        claims=ClaimRules(
            required=("iss", "aud", "sub", "jti", "iat", "exp"),
            issuer=frozenset({"rpcguard"}),
            audience=frozenset({"p-id"}),
            **claims,
        ),
    )
    ring = KeyRing(secret.key for secret in sessions.secrets)
    return SessionScheme(JwtScheme(rules, ring, BEARERS, name="session"), BEARERS, sessions.wallets)


def _claims(token: str) -> dict[str, Any]:
    return json.loads(decode(token.split(".")[1]))


def _proof(sessions: Sessions, request: Incoming, now: float = NOW) -> Proof:
    found = _scheme(sessions).prove(request, now)
    assert isinstance(found, Proof)
    return found


def _reason(sessions: Sessions, request: Incoming, now: float = NOW) -> str:
    with pytest.raises(AuthError) as caught:
        _scheme(sessions).prove(request, now)
    return caught.value.reason


# Minting


def test_a_minted_token():
    issued = _sessions().mint(PUBKEY, NOW + 0.9, {"role": "x"})
    claims = _claims(issued.token)
    assert issued.expires_at == claims["exp"] == NOW + 3600
    assert claims.pop("jti")
    assert claims == {
        "iss": "rpcguard",
        "aud": "p-id",
        "sub": PUBKEY,
        "iat": NOW,
        "exp": NOW + 3600,
        "role": "x",
    }


def test_no_two_are_alike():
    sessions = _sessions()
    assert len({sessions.mint(PUBKEY, NOW, {}).token for _ in range(100)}) == 100


@pytest.mark.parametrize("name", sorted(OWN_CLAIMS))
def test_claims_of_rpcguard_cannot_be_set(name):
    with pytest.raises(ValueError, match=name):
        _sessions().mint(PUBKEY, NOW, {name: 1})
    with pytest.raises(ValueError, match=name):
        _sessions(refresh_ttl=60).start(PUBKEY, NOW, {name: 1})


def test_the_first_active_secret_signs():
    sessions = _sessions(
        _secret("later", SECOND, not_before=NOW + 10),
        _secret("over", SECOND, not_after=NOW),
        _secret("now"),
        _secret("too", SECOND),
    )
    assert sessions.signing(NOW).key.kid == "now"
    assert sessions.signing(NOW + 10).key.kid == "later"
    assert sessions.signing(NOW - 1).key.kid == "over"


def test_no_active_secret_is_503():
    sessions = _sessions(_secret(not_after=NOW))
    with pytest.raises(AuthError) as caught:
        sessions.mint(PUBKEY, NOW, {})
    assert caught.value.status == 503


def test_secrets_and_tokens_have_masked_reprs():
    sessions = _sessions(refresh_ttl=60)
    issued, text, record = sessions.start(PUBKEY, NOW, {})
    shown = repr(sessions) + repr(issued) + repr(record)
    for secret in (FIRST.decode(), issued.token, text):
        assert secret not in shown


# Refresh


def test_a_family():
    sessions = _sessions(refresh_ttl=60)
    first, text, record = sessions.start(PUBKEY, NOW + 0.5, {"role": "x"})
    sid = _claims(first.token)["sid"]
    assert (record.issued_at, record.expires_at) == (NOW + 0.5, NOW + 60)
    assert record.name == owed.refresh_name("p", text)
    assert record.slot == owed.session_name("p", sid)
    assert (record.project, record.subject) == ("p", PUBKEY)
    assert record.bucket == owed.bucket("p", PUBKEY)
    names = {owed.session_name("p", sid), owed.subject_name("p", PUBKEY)}
    assert set(record.revocable) == names | {owed.key_name("p", PUBKEY)}
    no_wallet = _sessions(refresh_ttl=60, wallets=None).start(PUBKEY, NOW, {})[2]
    assert no_wallet.revocable == (no_wallet.slot, owed.subject_name("p", PUBKEY))
    assert text not in record.value
    assert text[6:] not in record.value
    family = Family.of(text)
    assert (family.bucket, family.sid) == (record.bucket, sid)
    assert family.handle not in record.value + repr(record) + repr(family)
    second, other, following = sessions.renew(family, record.value, NOW + 30)
    assert _claims(second.token)["sid"] == sid
    assert _claims(second.token)["role"] == "x"
    assert following.slot == record.slot
    assert following.name != record.name
    assert following.expires_at == NOW + 90
    assert other != text
    assert other[:6] == text[:6] == f"rfr_{owed.bucket('p', PUBKEY):02x}"
    assert Family.of(other) == family


def test_a_record_tells_until_when_its_family_can_matter():
    long, short = (_sessions(ttl=ttl, refresh_ttl=60) for ttl in (3600, 10))
    _, text, record = long.start(PUBKEY, NOW, {})
    told = json.loads(record.value)
    assert (told["until"], told["ends"]) == (NOW + 3600, NOW + 60)
    _, _, following = short.renew(Family.of(text), record.value, NOW + 30)
    told = json.loads(following.value)
    assert (told["until"], told["ends"]) == (NOW + 3600, NOW + 90)  # a token of the longer life


def test_records_are_budgeted():
    sessions = _sessions(refresh_ttl=60, project_records=7, subject_records=3)
    record = sessions.start(PUBKEY, NOW, {})[2]
    assert (record.project_limit, record.subject_limit) == (7, 3)


@pytest.mark.parametrize(("refresh_ttl", "longest"), [(None, 130), (50, 130), (500, 530)])
def test_how_long_a_session_can_matter(refresh_ttl, longest):
    assert _sessions(ttl=100, refresh_ttl=refresh_ttl).longest(NOW) == NOW + longest


@pytest.mark.parametrize("subject", ["", None, 1, b"x", []])
def test_a_subject_is_a_text_that_is_not_empty(subject):
    with pytest.raises(ValueError, match="subject"):
        _sessions().mint(subject, NOW, {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"x", {1}])
def test_claims_that_no_verifier_would_take_are_not_minted(value):
    with pytest.raises(ValueError, match="JSON"):
        _sessions().mint(PUBKEY, NOW, {"x": value})


def test_a_token_is_known_by_its_first_part():
    token = _sessions().mint(PUBKEY, NOW, {}).token
    assert header_of(token) == token.split(".")[0]
    assert header_of("") == ""
    assert len(_claims(token)["jti"]) == 22  # 128 random bits


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[1:],
        lambda text: text + "A",
        lambda text: text[:-1],
        lambda text: text[:-1] + "=",
        lambda text: text[:-1] + "é",
        lambda text: "rfr_" + "0A" + text[6:],
        lambda text: text.replace("rfr_", "Rfr_"),
        lambda text: text + "\n",
    ],
)
def test_what_is_no_text_of_a_refresh_token_names_no_family(change: Callable[[str], str]):
    _, text, _ = _sessions(refresh_ttl=60).start(PUBKEY, NOW, {})
    assert Family.of(change(text)) is None


def test_every_part_of_the_handle_counts_for_the_sid():
    _, text, _ = _sessions(refresh_ttl=60).start(PUBKEY, NOW, {})
    others = [
        text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :] for at in range(4, len(text))
    ]
    sids = [Family.of(other).sid for other in others]
    assert len({*sids[:24], Family.of(text).sid}) == 25  # the bucket and 128 random bits
    assert {*sids[24:]} == {Family.of(text).sid}  # the secret, of 256


def test_two_families_of_one_subject_have_slots_of_their_own():
    sessions = _sessions(refresh_ttl=60)
    one, other = (sessions.start(PUBKEY, NOW, {})[2] for _ in range(2))
    assert one.slot != other.slot


# Proving


def test_a_session_is_proved(incoming: Callable[..., Incoming]):
    sessions = _sessions()
    issued = sessions.mint(PUBKEY, NOW, {})
    proof = _proof(sessions, incoming(bearer(issued.token)))
    assert (proof.principal.subject, proof.principal.scheme) == (PUBKEY, "session")
    assert proof.principal.expires_at == issued.expires_at
    jti = _claims(issued.token)["jti"]
    assert set(proof.owed.revocable) == {
        owed.digest("jti", "p", "a", jti),
        owed.subject_name("p", PUBKEY),
        owed.key_name("p", "a"),
    }
    assert (proof.owed.nonce, proof.owed.record, proof.policies) == (None, None, ())


def test_a_family_can_be_revoked_as_a_whole(incoming):
    sessions = _sessions(refresh_ttl=60)
    issued, _, _ = sessions.start(PUBKEY, NOW, {})
    proof = _proof(sessions, incoming(bearer(issued.token)))
    assert owed.session_name("p", _claims(issued.token)["sid"]) in proof.owed.revocable


def test_the_wallet_is_looked_up_each_time(incoming):
    policy = Policy(networks=())
    sessions = _sessions()
    request = incoming(bearer(sessions.mint(PUBKEY, NOW, {}).token))
    listed = _sessions(wallets=Wallets({PUBKEY: Listed("alice", allow=policy)}))
    proof = _proof(listed, request)
    assert (proof.principal.name, proof.policies) == ("alice", (policy,))
    assert proof.owed == _proof(sessions, request).owed
    assert proof.principal.claims == _proof(sessions, request).principal.claims
    assert proof.principal.expires_at == NOW + 3600
    unnamed = _proof(_sessions(wallets=Wallets({PUBKEY: Listed(allow=policy)})), request)
    assert (unnamed.principal.name, unnamed.policies) == (None, (policy,))
    assert _reason(_sessions(wallets=Wallets({})), request) == "not_listed"


def test_subjects_that_are_no_wallets(incoming):
    sessions = _sessions(wallets=None)
    assert _proof(sessions, incoming(bearer(sessions.mint("carol", NOW, {}).token))).policies == ()


def test_every_active_secret_verifies(incoming):
    both = _sessions(_secret("b", SECOND), _secret("a", FIRST, not_after=NOW + 10))
    request = incoming(bearer(_sessions().mint(PUBKEY, NOW, {}).token))
    assert _proof(both, request).principal.key_id == "a"
    assert _reason(both, request, NOW + 10) == "invalid_credentials"


@pytest.mark.parametrize(
    ("headers", "present"),
    [
        ([], False),
        (bearer("x"), True),
        (bearer("a.b.c"), True),
        (bearer("nod_x"), False),
        ([("Authorization", "Basic x")], False),
        ([("Sec-WebSocket-Protocol", "auth.x")], False),
    ],
)
def test_what_is_present_on_ordinary_http(incoming, headers, present):
    assert _scheme(_sessions()).present(incoming(headers)) == present


@pytest.mark.parametrize(
    ("offered", "tokens"),
    [
        ([], []),
        (["chat"], []),
        (["auth"], []),
        (["Auth.x"], []),
        (["auth."], [""]),
        (["auth.x"], ["x"]),
        (["chat, auth.x"], ["x"]),
        (["chat ,\tauth.x , other"], ["x"]),
        (["auth.x", "auth.y"], ["x", "y"]),
        (["auth.x,auth.x"], ["x", "x"]),
        (["Xauth.x"], []),
        (["auth.xX"], ["xX"]),
        (["auth.x\x0b"], ["x\x0b"]),  # blanks of a list are spaces and tabs (RFC 9110)
    ],
)
def test_what_is_offered_as_a_subprotocol(incoming, offered, tokens):
    headers = [("Sec-WebSocket-Protocol", value) for value in offered]
    request = incoming(headers, method="GET", websocket=True)
    assert offered_tokens(request) == tokens
    assert _scheme(_sessions()).present(request) == bool(tokens)


def test_a_token_as_a_subprotocol(incoming):
    sessions = _sessions()
    token, other = (sessions.mint(PUBKEY, NOW, {}).token for _ in range(2))

    def asked(*offered: str, header: str | None = None) -> Incoming:
        headers = [("Sec-WebSocket-Protocol", value) for value in offered]
        headers += bearer(header) if header else []
        return incoming(headers, method="GET", websocket=True)

    for offered in (["auth." + token], ["chat, auth." + token], ["chat", "auth." + token]):
        assert _proof(sessions, asked(*offered)).principal.subject == PUBKEY
    assert _proof(sessions, asked("auth." + token, header=token)).principal.subject == PUBKEY
    assert _proof(sessions, asked("chat", header=token)).principal.subject == PUBKEY
    assert _reason(sessions, asked("auth." + token, header=other)) == "ambiguous_credentials"
    for offered in (
        [f"auth.{token}", f"auth.{token}"],
        [f"auth.{token}, auth.{other}"],
        ["auth."],
        ["auth.x y"],
        ["auth.é"],
        ["auth." + token + "="],
    ):
        assert _reason(sessions, asked(*offered)) == "malformed_credentials"


def test_the_body_is_never_needed(incoming):
    assert not _scheme(_sessions()).wants_body(incoming(bearer("x")))


def test_what_revokes_a_token_is_known_after_its_end():
    sessions = _sessions()
    token = sessions.mint(PUBKEY, NOW, {}).token
    name = owed.digest("jti", "p", "a", _claims(token)["jti"])
    expected = owed.Revocation(name, None, NOW + 3600 + 30, owed.bucket("p", PUBKEY))
    assert _scheme(sessions).revocation(token, NOW + 10_000) == expected
    assert _scheme(_sessions(_secret("a", SECOND))).revocation(token, NOW) is None
    ended = _scheme(_sessions(_secret(not_after=NOW + 10)))
    assert [ended.revocation(token, now) is None for now in (NOW, NOW + 10)] == [False, True]
    with pytest.raises(AuthError):
        _scheme(sessions).revocation("x", NOW)


# What others ask of the scheme


def test_openapi_and_the_fields_of_a_session():
    scheme = _scheme(_sessions())
    assert scheme.security == (
        {"rpcSession": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    )
    assert scheme.fields == {"authorization", "sec-websocket-protocol"}


def test_a_session_that_was_let_in_is_worth_what_its_wallet_and_key_are_worth_now(incoming):
    policy = Policy(networks=())
    sessions = _sessions(wallets=Wallets({PUBKEY: Listed(allow=policy)}))
    who = _proof(sessions, incoming(bearer(sessions.mint(PUBKEY, NOW, {}).token))).principal
    assert _scheme(sessions).policies(who, NOW) == (policy,)
    assert _scheme(_sessions(wallets=None)).policies(who, NOW) == ()
    for other, reason in (
        (_sessions(wallets=Wallets({})), "not_listed"),
        (_sessions(_secret("b", SECOND)), "invalid_credentials"),
        (_sessions(_secret("a", FIRST, not_after=NOW)), "invalid_credentials"),
    ):
        with pytest.raises(AuthError) as caught:
            _scheme(other).policies(who, NOW)
        assert caught.value.reason == reason


def test_a_standing_session_need_not_be_fresh_but_may_not_have_ended(incoming):
    sessions = _sessions()
    request = incoming(bearer(sessions.mint(PUBKEY, NOW, {}).token))
    fresh = _scheme(sessions, iat_window=60.0)
    assert fresh.prove(request, NOW + 3599, standing=True)
    with pytest.raises(AuthError):
        fresh.prove(request, NOW + 3599)
    with pytest.raises(AuthError):
        fresh.prove(request, NOW + 3600, standing=True)


def test_who_watches_the_cache_of_sessions_is_told_of_every_look_up(incoming):
    told: list[bool] = []
    sessions = _sessions()
    scheme = _scheme(sessions)
    scheme.watch_lookups(told.append)
    request = incoming(bearer(sessions.mint(PUBKEY, NOW, {}).token))
    for _ in range(2):
        scheme.prove(request, NOW)
    assert told == [False, True]
