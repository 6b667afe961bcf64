"""Refresh tokens: off by default, rotating where they are on, and the end of their family."""

from __future__ import annotations

import json
import re

import pytest
from minting import NOW, bearer

from issuing.site import ALICE, BOB, OPEN, ROTATING, registry
from rpcguard.base64url import decode
from rpcguard.errors import BackendError
from rpcguard.owed import bucket
from rpcguard.strict_json import MAX_DEPTH

DAY = 86_400


def _claims(answer: dict) -> dict:
    return json.loads(decode(answer["token"].split(".")[1]))


def test_off_by_default(make):
    site = make(OPEN)
    assert list(site.sign_in()) == ["token", "expiresAt"]
    assert list(site.verifier.issue("solana", ALICE.pubkey)) == ["token", "expiresAt"]
    error = site.refuses("/auth/refresh", {"refreshToken": "rfr_00" + "x" * 65})
    assert error.status in (401, 403)
    assert list(make(registry(session=", refresh: off")).sign_in()) == ["token", "expiresAt"]


def test_the_two_extra_fields(make):
    site = make(ROTATING)
    for answer in (site.sign_in(), site.verifier.issue("solana", ALICE.pubkey)):
        assert list(answer) == ["token", "expiresAt", "refreshToken", "refreshExpiresAt"]
        assert (answer["expiresAt"], answer["refreshExpiresAt"]) == (NOW + 3600, NOW + DAY)
        assert type(answer["refreshExpiresAt"]) is int
        shard = bucket("solana", ALICE.pubkey)
        assert re.fullmatch(rf"rfr_{shard:02x}[A-Za-z0-9_-]{{65}}", answer["refreshToken"])
        assert len(_claims(answer)["sid"]) >= 22


def test_a_refresh_token_gives_the_next_pair(make):
    one, other = make(ROTATING), make(ROTATING)
    first = one.sign_in()
    one.now = other.now = NOW + 1800.5
    second = other.refresh(first["refreshToken"])
    assert list(second) == ["token", "expiresAt", "refreshToken", "refreshExpiresAt"]
    assert second["expiresAt"] == NOW + 1800 + 3600
    assert second["refreshExpiresAt"] == NOW + 1800 + DAY
    assert second["refreshToken"] != first["refreshToken"]
    old, new = _claims(first), _claims(second)
    assert (old["sub"], old["sid"], old["aud"]) == (new["sub"], new["sid"], new["aud"])
    assert old["jti"] != new["jti"]
    for site in (one, other):
        assert site.admits(second["token"]).subject == ALICE.pubkey
        assert site.admits(first["token"])  # until its own end


def test_it_goes_on_for_as_long_as_it_is_used(make):
    site = make(ROTATING)
    pair = site.sign_in()
    for day in range(1, 40):
        site.now = NOW + day * (DAY - 1)
        pair = site.refresh(pair["refreshToken"])
        assert site.admits(pair["token"])


def test_the_claims_of_issue_stay(make):
    site = make(ROTATING)
    first = site.verifier.issue("solana", ALICE.pubkey, {"role": "reader", "n": [1, {"a": None}]})
    second = site.refresh(site.refresh(first["refreshToken"])["refreshToken"])
    claims = site.admits(second["token"]).claims
    assert (claims["role"], claims["n"]) == ("reader", [1, {"a": None}])


def test_claims_as_deep_as_issue_takes_them_can_be_refreshed_and_logged_out(make):
    site = make(ROTATING)
    deepest: object = 1
    for _ in range(MAX_DEPTH - 1):
        deepest = [deepest]
    with pytest.raises(ValueError, match="JSON"):
        site.verifier.issue("solana", ALICE.pubkey, {"n": [deepest]})
    first, other = (site.verifier.issue("solana", ALICE.pubkey, {"n": deepest}) for _ in range(2))
    second = site.refresh(first["refreshToken"])
    assert site.admits(second["token"]).claims["n"] == deepest
    assert site.refuses_refresh(first["refreshToken"]) == "replayed"
    assert site.serve("/auth/logout", b"", bearer(other["token"])) == {"revoked": True}


def test_using_a_spent_one_ends_the_family_and_its_access_tokens(make):
    one, other = make(ROTATING), make(ROTATING)
    first = one.sign_in()
    second = one.refresh(first["refreshToken"])
    bystander = one.sign_in()
    bobs = one.sign_in(BOB)
    assert other.admits(second["token"])
    error = other.refuses("/auth/refresh", {"refreshToken": first["refreshToken"]})
    assert (error.status, error.reason) == (401, "replayed")
    for site in (one, other):
        assert site.refuses_refresh(second["refreshToken"]) in ("revoked", "invalid_credentials")
        for each in (first, second):
            assert site.denies(each["token"]) == "revoked"
            assert site.denies(each["token"], standing=True) == "revoked"
    assert one.admits(bystander["token"])
    assert one.refresh(bystander["refreshToken"])
    assert one.refresh(bobs["refreshToken"])


def test_a_spent_one_is_known_as_long_as_it_would_have_lived(make):
    site = make(ROTATING)
    first = site.sign_in()
    second = site.refresh(first["refreshToken"])
    site.now = NOW + DAY - 1
    assert site.refuses_refresh(first["refreshToken"]) == "replayed"
    assert site.refuses_refresh(second["refreshToken"]) in ("revoked", "invalid_credentials")


def test_the_oldest_of_many_ends_the_youngest(make):
    site = make(ROTATING)
    pairs = [site.sign_in()]
    for _ in range(5):
        pairs.append(site.refresh(pairs[-1]["refreshToken"]))
    assert site.refuses_refresh(pairs[0]["refreshToken"]) == "replayed"
    assert site.denies(pairs[-1]["token"]) == "revoked"


def test_after_the_family_has_ended_it_stays_so(make):
    site = make(ROTATING)
    first = site.sign_in()
    second = site.refresh(first["refreshToken"])
    site.refuses_refresh(first["refreshToken"])
    site.now = NOW + DAY - 1
    site.serve("/auth/logout", b"", bearer(site.sign_in(BOB)["token"]))  # prunes what has ended
    assert site.refuses_refresh(second["refreshToken"]) in ("revoked", "invalid_credentials")


def test_logging_out_ends_the_family(make):
    one, other = make(ROTATING), make(ROTATING)
    first = one.sign_in()
    second = one.refresh(first["refreshToken"])
    bystander = one.sign_in()
    assert one.serve("/auth/logout", b"", bearer(first["token"])) == {"revoked": True}
    for site in (one, other):
        assert site.denies(first["token"]) == "revoked"
        assert site.denies(second["token"]) == "revoked"
        assert site.refuses_refresh(second["refreshToken"]) in ("revoked", "invalid_credentials")
        assert site.admits(bystander["token"])


def test_an_end(make):
    site = make(ROTATING)
    text = site.sign_in()["refreshToken"]
    site.now = NOW + DAY
    error = site.refuses("/auth/refresh", {"refreshToken": text})
    assert (error.status, error.reason) == (401, "invalid_credentials")


def test_the_last_moment_before_the_end(make):
    site = make(ROTATING)
    text = site.sign_in()["refreshToken"]
    site.now = NOW + DAY - 0.5
    assert site.admits(site.refresh(text)["token"])


def test_a_crash_between_issuing_and_answering(make):
    """The client shows the old token again, the family ends, and signing in again works: never
    locked out, and never two that live."""
    site = make(ROTATING)
    first = site.sign_in()
    lost = site.refresh(first["refreshToken"])  # the process dies before the client has this
    assert site.refuses_refresh(first["refreshToken"]) == "replayed"
    assert site.refuses_refresh(lost["refreshToken"]) in ("revoked", "invalid_credentials")
    assert site.denies(lost["token"]) == "revoked"
    again = site.sign_in()
    assert site.admits(again["token"])
    assert site.refresh(again["refreshToken"])


def test_a_crash_before_issuing_leaves_the_old_token_good(make, monkeypatch):
    site = make(ROTATING)
    first = site.sign_in()

    def failing(*_):
        raise BackendError("gone")

    backend = type(site.verifier._backend)
    with monkeypatch.context() as patch:
        patch.setattr(backend, "rotate", failing)
        assert site.refuses_refresh(first["refreshToken"]) == "backend_unavailable"
    assert site.refresh(first["refreshToken"])


def test_a_family_that_cannot_be_ended_is_503_and_not_just_a_replay(make, monkeypatch):
    """If the end cannot be recorded now, the next use of a spent one must end it."""
    site = make(ROTATING)
    first = site.sign_in()
    second = site.refresh(first["refreshToken"])

    def failing(*_):
        raise BackendError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(site.verifier._backend), "revoke", failing)
        assert site.refuses_refresh(first["refreshToken"]) == "backend_unavailable"
    assert site.refuses_refresh(first["refreshToken"]) == "replayed"
    assert site.refuses_refresh(second["refreshToken"]) in ("revoked", "invalid_credentials")


def test_a_sign_in_whose_refresh_token_cannot_be_kept_gives_nothing(make, monkeypatch):
    site = make(ROTATING)

    def failing(*_):
        raise BackendError("gone")

    body = {"pubkey": ALICE.pubkey, "signature": ALICE.sign(site.challenge())}
    with monkeypatch.context() as patch:
        patch.setattr(type(site.verifier._backend), "put", failing)
        assert site.refuses("/auth/verify", body).status == 503
        with pytest.raises(BackendError):
            site.verifier.issue("solana", ALICE.pubkey)
    assert site.sign_in()


def test_what_is_no_refresh_token(make):
    site = make(ROTATING)
    pair, key = site.sign_in(), site.key_for()
    text = pair["refreshToken"]
    wrong = [
        "",
        "x",
        text[:-1],
        text + "x",
        text.swapcase(),
        " " + text,
        "é",
        key,
        pair["token"],
        "rfr_" + text[6:],
        "x" * 8000,
    ]
    for each in wrong:
        assert site.refuses_refresh(each) in ("invalid_credentials", "malformed_credentials")
    assert site.denies(text) == "malformed_credentials"
    assert site.denies([("X-Api-Key", text)]) == "missing_credentials"
    assert site.refresh(text)


def test_a_refresh_token_of_another_project_is_unknown(make):
    one = registry("wallets: open\nmatch: {path: /a}", ", refresh: rotating")
    two = (
        one.partition("projects:")[2]
        .replace("solana", "other")
        .replace("/a", "/b")
        .replace("sol-1", "sol-2")
    )
    site = make(one + two)
    text = site.sign_in(project="solana")["refreshToken"]
    assert site.refuses_refresh(text, project="other") == "invalid_credentials"
    assert site.refresh(text, project="solana")


def test_turned_off_no_refresh_token_works(make):
    site = make(ROTATING)
    text = site.sign_in()["refreshToken"]
    site.reload(OPEN)
    error = site.refuses("/auth/refresh", {"refreshToken": text})
    assert error.status in (401, 403)


def test_a_logout_while_refresh_is_off_ends_the_family_all_the_same(make):
    """Turned on again, a family whose session has logged out must not come back."""
    site = make(ROTATING)
    pair = site.sign_in()
    site.reload(OPEN)
    site.serve("/auth/logout", b"", bearer(pair["token"]))
    site.now = NOW + 3 * 3600
    site.serve("/auth/logout", b"", bearer(site.sign_in(BOB)["token"]))  # prunes what has ended
    site.reload(ROTATING)
    assert site.refuses_refresh(pair["refreshToken"])


def test_a_shorter_refresh_ttl_does_not_bring_an_ended_family_back(make):
    site = make(ROTATING)
    pair = site.sign_in()
    site.reload(registry(session=", refresh: rotating, refresh_ttl: 1m, ttl: 1m"))
    site.serve("/auth/logout", b"", bearer(pair["token"]))
    site.now = NOW + 600
    site.serve("/auth/logout", b"", bearer(site.sign_in(BOB)["token"]))
    assert site.denies(pair["token"]) == "revoked"
    assert site.refuses_refresh(pair["refreshToken"])


def test_a_new_secret_signs_what_is_refreshed(make):
    site = make(ROTATING)
    pair = site.sign_in()
    site.reload(ROTATING.replace('{id: a, secret: "${env:A}"}', '{id: b, secret: "${env:B}"}'))
    assert site.denies(pair["token"]) == "invalid_credentials"
    assert site.admits(site.refresh(pair["refreshToken"])["token"]).key_id == "b"
