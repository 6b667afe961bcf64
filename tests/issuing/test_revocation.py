"""Revocation: by token, by `jti`, by session, by subject, by key; everywhere at the next request."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from minting import NOW, bearer, hour, private_key, public_pem, token

from issuing.site import ALICE, BOB, OPEN, ROTATING, SECRETS, Site, proof, registry
from rpcguard import AuthError
from rpcguard.base64url import decode, encode

DAY = 86_400
BOTS = """
version: 1
projects:
  bots:
    preset: bearer
    audience: bots
    keys:
      - {kid: hs, alg: HS256, secret: "${env:JWT}"}
      - {kid: es, alg: ES256, public_key: PEM}
    session: {secrets: [{id: a, secret: "${env:A}"}]}
"""


def _claims(text: str) -> dict:
    return json.loads(decode(text.split(".")[1]))


def _bots(make) -> Site:
    return make(BOTS.replace("PEM", json.dumps(public_pem("ES256"))))


def test_by_token(make):
    one, other = make(OPEN), make(OPEN)
    ended, kept = one.sign_in()["token"], one.sign_in()["token"]
    assert other.admits(ended)
    one.verifier.revoke("solana", token=ended)
    for site in (one, other):
        assert site.denies(ended) == "revoked"
        assert site.denies(ended, standing=True) == "revoked"
        assert site.admits(kept)


def test_a_token_is_revoked_whatever_its_spelling(make):
    """An ECDSA signature has a twin, and with the key any number of brothers."""
    site = _bots(make)
    claims = hour(sub="carol", aud="bots")
    first = token(claims, private_key("ES256"), "ES256", kid="es")
    head, body, signature = first.split(".")
    raw = decode(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin_token = f"{head}.{body}.{encode(twin)}"
    other = token(claims, private_key("ES256"), "ES256", kid="es")
    assert site.admits(first)
    assert site.admits(twin_token)
    site.verifier.revoke("bots", token=twin_token)
    for text in (first, twin_token, other):
        assert site.denies(text) == "revoked"


def test_a_token_of_the_projects_own_issuer_is_revoked_too(make):
    site = _bots(make)
    ended = token(hour(sub="carol", aud="bots", jti="1"), SECRETS["JWT"], kid="hs")
    kept = token(hour(sub="carol", aud="bots", jti="2"), SECRETS["JWT"], kid="hs")
    site.verifier.revoke("bots", token=ended)
    assert site.denies(ended) == "revoked"
    assert site.admits(kept)


@pytest.mark.parametrize("wrong", ["", "x", "a.b.c", "\u00e9", "nod_00ff", "x" * 10_000])
def test_what_is_no_token_of_the_project_cannot_be_revoked(make, wrong):
    with pytest.raises(AuthError):
        make(OPEN).verifier.revoke("solana", token=wrong)


def test_a_token_under_a_wrong_key_revokes_nothing(make):
    site = make(OPEN)
    session = site.sign_in()["token"]
    forged = token(_claims(session), SECRETS["B"], header={"alg": "HS256", "kid": "a"})
    with pytest.raises(AuthError):
        site.verifier.revoke("solana", token=forged)
    assert site.admits(session)


def test_a_token_that_has_expired_may_be_revoked(make):
    """Another clock may still be behind."""
    ahead, behind = make(OPEN), make(OPEN)
    session = ahead.sign_in()["token"]
    ahead.now = NOW + 3600 + 5
    ahead.verifier.revoke("solana", token=session)
    behind.now = NOW + 3599
    assert behind.denies(session) == "revoked"


def test_by_token_where_two_ids_hold_one_secret(make):
    """Renaming a secret while its old id still counts is a rotation as well."""
    text = OPEN.replace(
        '{id: a, secret: "${env:A}"}', '{id: b, secret: "${env:A}"}, {id: a, secret: "${env:A}"}'
    )
    site = make(OPEN)
    session = site.sign_in()["token"]
    site.reload(text)
    assert site.admits(session).key_id == "a"
    site.verifier.revoke("solana", token=session)
    assert site.denies(session) == "revoked"


def test_by_jti_and_key(make):
    one, other = make(OPEN), make(OPEN)
    ended, kept = one.sign_in()["token"], one.sign_in()["token"]
    one.verifier.revoke("solana", jti=_claims(ended)["jti"], key="a")
    for site in (one, other):
        assert site.denies(ended) == "revoked"
        assert site.admits(kept)  # the key is not revoked
    with pytest.raises(ValueError, match="key"):
        one.verifier.revoke("solana", jti="x")


def test_by_session(make):
    one, other = make(ROTATING), make(ROTATING)
    first = one.sign_in()
    second = one.refresh(first["refreshToken"])
    kept = one.sign_in()
    one.verifier.revoke("solana", session=_claims(first["token"])["sid"])
    for site in (one, other):
        assert site.denies(first["token"]) == site.denies(second["token"]) == "revoked"
        assert site.refuses_refresh(second["refreshToken"]) in ("revoked", "invalid_credentials")
        assert site.admits(kept["token"])


def test_by_subject_all_that_was_issued_until_now(make):
    one, other = make(ROTATING), make(ROTATING)
    pair, key, bobs = one.sign_in(), one.key_for(), one.sign_in(BOB)
    signed = ALICE.v2("POST", "/")
    one.now = other.now = NOW + 5
    one.verifier.revoke("solana", subject=ALICE.pubkey)
    for site in (one, other):
        assert site.denies(pair["token"]) == "revoked"
        assert site.denies(key) == "revoked"
        assert site.denies(signed) == "revoked"
        assert site.refuses_refresh(pair["refreshToken"]) in ("revoked", "invalid_credentials")
        assert site.admits(bobs["token"])


def test_who_was_revoked_may_come_back(make):
    site = make(ROTATING)
    site.verifier.revoke("solana", subject=ALICE.pubkey)
    site.now = NOW + 1
    pair = site.sign_in()
    assert site.admits(pair["token"])
    assert site.admits(site.refresh(pair["refreshToken"])["token"])
    assert site.admits(site.key_for())


def test_who_was_revoked_comes_back_in_the_next_second(make):
    """`iat` counts whole seconds: within the same one, old and new cannot be told apart."""
    site = make(OPEN)
    site.now = NOW + 0.25
    old = site.sign_in()["token"]
    site.now = NOW + 0.5
    site.verifier.revoke("solana", subject=ALICE.pubkey)
    assert site.denies(old) == "revoked"
    site.now = NOW + 1
    assert site.admits(site.sign_in()["token"])


def test_by_key_of_a_session_secret(make):
    one, other = make(OPEN), make(OPEN)
    session, key = one.sign_in()["token"], one.key_for()
    one.verifier.revoke("solana", key="a")
    for site in (one, other):
        assert site.denies(session) == "revoked"
        assert site.admits(key)
        assert site.admits(ALICE.v2("POST", "/", nonce=f"{id(site) % 2**60:016x}"))


def test_by_key_of_an_issued_api_key(make):
    one, other = make(OPEN), make(OPEN)
    key, bobs = one.key_for(), one.key_for(BOB)
    one.verifier.revoke("solana", key=one.admits(key).key_id)
    for site in (one, other):
        assert site.denies(key) == "revoked"
        assert site.admits(bobs)
    assert one.admits(one.key_for(nonce=2))


def test_by_key_of_a_wallet_all_that_it_can_do(make):
    one, other = make(ROTATING), make(ROTATING)
    one.now = other.now = NOW + 0.5
    ended = [one.sign_in(), one.refresh(one.sign_in()["refreshToken"])]
    key = one.key_for()
    bobs, bobs_key = one.sign_in(BOB), one.key_for(BOB)
    challenge = one.challenge()
    for site in (one, other):
        assert site.admits(key)
        assert site.admits(ended[0]["token"])
    one.verifier.revoke("solana", key=ALICE.pubkey)
    for site in (one, other):
        for credential in (*[each["token"] for each in ended], key):
            assert site.denies(credential) == "revoked"
            assert site.denies(credential, standing=True) == "revoked"
        for pair in ended:
            assert site.refuses_refresh(pair["refreshToken"]) == "revoked"
        assert site.denies(ALICE.v2("POST", "/", nonce=f"{id(site) % 2**60:016x}")) == "revoked"
        assert site.refuses("/auth/verify", proof(challenge)).reason == "revoked"
        signed = site.asks_for_key(ALICE, id(site) % 2**60)
        assert site.refuses("/account/api-key", b"", signed).reason == "revoked"
        assert site.admits(bobs["token"])
        assert site.admits(bobs_key)
    assert one.refresh(bobs["refreshToken"])


def test_by_key_of_a_wallet_also_what_the_application_gives_it_later(make):
    """Unlike a subject's revocation, it does not end."""
    site = make(ROTATING)
    site.verifier.revoke("solana", key=ALICE.pubkey)
    site.now = NOW + 10
    pair = site.verifier.issue("solana", ALICE.pubkey)
    assert site.denies(pair["token"]) == "revoked"
    assert site.refuses_refresh(pair["refreshToken"]) == "revoked"
    assert site.denies(site.verifier.new_api_key("solana", ALICE.pubkey)) == "revoked"


def test_a_subject_that_is_no_wallet_is_no_key(make):
    text = """
version: 1
projects:
  bots:
    preset: bearer
    session: {secrets: [{id: a, secret: "${env:A}"}], refresh: rotating}
"""
    site = make(text)
    pair = site.verifier.issue("bots", "alice")
    site.verifier.revoke("bots", key="alice")
    assert site.admits(pair["token"])
    assert site.refresh(pair["refreshToken"])


def test_one_project_revokes_nothing_of_another(make):
    first = registry("wallets: open\nmatch: {path: /a}")
    second = first.partition("projects:")[2].replace("solana", "other").replace("/a", "/b")
    site = make(first + second.replace("sol-1", "sol-2"))
    session = site.sign_in(project="other")["token"]
    key = site.key_for(project="other")
    site.now += 1
    site.verifier.revoke("solana", subject=ALICE.pubkey)
    site.verifier.revoke("solana", key="a")
    with pytest.raises(AuthError):
        site.verifier.revoke("solana", token="x.y.z")
    assert site.admits(session, "/b")
    assert site.admits(key, "/b")


@pytest.mark.parametrize("arguments", [{}, {"expires_at": NOW + 1}])
def test_something_must_be_named(make, arguments):
    with pytest.raises(ValueError, match="name"):
        make(OPEN).verifier.revoke("solana", **arguments)


def test_the_project_must_exist(make):
    with pytest.raises(LookupError):
        make(OPEN).verifier.revoke("other", subject="x")


def test_a_revocation_outlives_the_process(tmp_path, url):
    texts = []
    for _ in range(2):
        site = Site(tmp_path, OPEN, url)
        with closing(site.verifier):
            if not texts:
                texts = [site.sign_in()["token"], site.sign_in()["token"]]
                site.verifier.revoke("solana", token=texts[0])
            assert site.denies(texts[0]) == "revoked"
            assert site.admits(texts[1])


def test_without_revocation_a_logout_and_a_rotation_count_all_the_same(make):
    """`revocation: false` is for JWTs of other issuers, which survive an outage then."""
    site = make(registry("wallets: open\nrevocation: false"))
    session, key = site.sign_in()["token"], site.key_for()
    site.serve("/auth/logout", b"", bearer(session))
    assert site.denies(session) == "revoked"
    site.key_for(nonce=2)
    assert site.denies(key) == "invalid_credentials"


# How long it is kept


def _ends(store: Path) -> list[float]:
    with closing(sqlite3.connect(store)) as connection:
        return [end for (end,) in connection.execute("SELECT expires FROM revocation")]


@pytest.fixture
def site(tmp_path: Path, store: Path):
    site = Site(tmp_path, ROTATING, f"sqlite:///{store}")
    with closing(site.verifier):
        yield site


def test_a_logout_is_kept_until_the_last_clock_has_passed_the_end(site, store):
    site.serve("/auth/logout", b"", bearer(site.verifier.issue("solana", "x")["token"]))
    assert (
        _ends(store) == [NOW + 3600 + 30] * 2
    )  # the token's, and the session tokens' of its family


def test_a_revoked_token_is_kept_as_long_as_it_would_have_lived(site, store):
    site.verifier.revoke("solana", token=site.sign_in()["token"])
    (end,) = _ends(store)
    assert NOW + 3600 + 30 <= end < NOW + 3600 + 300


def test_a_revoked_session_is_kept_as_long_as_its_family_could_live(site, store):
    site.verifier.revoke("solana", session=_claims(site.sign_in()["token"])["sid"])
    (end,) = _ends(store)
    assert NOW + DAY + 30 <= end < math.inf


def test_a_revoked_key_that_has_no_end_is_kept_for_good(site, store):
    site.verifier.revoke("solana", key=site.admits(site.key_for()).key_id)
    assert _ends(store) == [math.inf]


def test_a_revocation_is_kept_as_long_as_is_said(site, store):
    site.verifier.revoke("solana", subject=ALICE.pubkey, expires_at=NOW + 60)
    assert _ends(store) == [NOW + 60]


def test_what_has_ended_is_dropped(site, store):
    for number in range(50):
        token_ = site.verifier.issue("solana", f"s{number}")["token"]
        site.serve("/auth/logout", b"", bearer(token_))
    site.now = NOW + 2 * DAY
    for number in range(3):
        token_ = site.verifier.issue("solana", f"t{number}")["token"]
        site.serve("/auth/logout", b"", bearer(token_))
    assert len(_ends(store)) == 6


@pytest.mark.parametrize("shorter", ["refresh_ttl: 1d", "ttl: 1m, refresh_ttl: 1h"])
def test_shorter_lifetimes_do_not_bring_a_revoked_session_back(make, shorter):
    site = make(registry(session=", ttl: 24h, refresh: rotating, refresh_ttl: 30d"))
    session = site.sign_in()
    site.reload(registry(session=f", refresh: rotating, {shorter}"))
    site.verifier.revoke("solana", session=_claims(session["token"])["sid"])
    for later in (0, 23 * 3600, 25 * 3600, 29 * DAY):
        site.now = NOW + later
        assert site.refuses_refresh(session["refreshToken"]) == "revoked"
        assert site.denies(session["token"]) in ("revoked", "expired")


def test_a_session_of_which_nothing_is_known_is_revoked_for_good(site, store):
    site.verifier.revoke("solana", session="never issued")
    assert _ends(store) == [math.inf]


def test_a_revoked_subject_loses_the_api_key_that_a_fast_clock_issued(make):
    fast, site = make(OPEN), make(OPEN)
    fast.now = NOW + 20
    key = fast.key_for()
    site.verifier.revoke("solana", subject=ALICE.pubkey)
    site.now = NOW + DAY
    assert site.denies(key) == "revoked"
    assert site.admits(site.key_for(nonce=2))
