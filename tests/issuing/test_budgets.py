"""How much one wallet, and all of them, can make the backend remember."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from backends.kinds import WHOLE
from minting import NOW, bearer

from issuing.site import ALICE, BOB, MALLORY, ROTATING, Site, registry
from rpcguard import AuthError
from rpcguard.errors import BackendError

DAY = 86_400
# Projects whose budget is shared out among buckets are in tests/backends/test_conformance.py.
ONE_BUDGET = pytest.mark.parametrize("kind", WHOLE, indirect=True, ids=lambda kind: kind.name)
REFRESH = ", refresh: rotating, refresh_ttl: 1d"


def _limited(*lines: str, session: str = REFRESH) -> str:
    return registry("\n".join(["wallets: open", *lines]), session)


def _log_out(site: Site, token: str) -> None:
    assert site.serve("/auth/logout", b"", bearer(token)) == {"revoked": True}


def _logout_refused(site: Site, token: str) -> AuthError:
    return site.refuses("/auth/logout", b"", bearer(token))


def _token(site: Site, subject: str = "alice") -> str:
    token: str = site.verifier.issue("solana", subject)["token"]
    return token


def _raises(work: Callable[[], Any]) -> AuthError:
    with pytest.raises(AuthError) as caught:
        work()
    return caught.value


# API keys and refresh tokens


def test_a_wallet_that_holds_as_many_as_it_may_is_refused_alone(make):
    site = make(_limited("max_subject_records: 2"))
    for _ in range(2):
        assert site.sign_in()["refreshToken"]
    error = _raises(site.sign_in)
    assert (error.status, error.reason, error.project) == (429, "rate_limited", "sol-1")
    error = site.refuses("/account/api-key", b"", site.asks_for_key())
    assert (error.status, error.reason, error.project) == (429, "rate_limited", "sol-1")
    assert site.sign_in(BOB)["refreshToken"]
    assert site.key_for(BOB)


@ONE_BUDGET
def test_a_project_that_holds_as_many_as_it_may_is_refused_alone(make):
    lines = ("wallets: open\nmatch: {path: /a}\nmax_records: 2", REFRESH)
    first = registry(*lines)
    second = first.partition("projects:")[2].replace("solana", "other").replace("/a", "/b")
    site = make(first + second.replace("sol-1", "sol-2"))
    site.sign_in(project="solana")
    site.key_for(BOB, project="solana")
    error = _raises(lambda: site.sign_in(MALLORY, project="solana"))
    assert (error.status, error.reason, error.project) == (503, "backend_unavailable", "sol-1")
    assert site.sign_in(MALLORY, project="other")["refreshToken"]


def test_what_takes_the_place_of_another_needs_no_room(make):
    site = make(_limited("max_subject_records: 2"))
    pair, key = site.sign_in(), site.key_for()
    for turn in range(3):
        old, key = key, site.key_for(nonce=10 + turn)
        assert site.denies(old) == "invalid_credentials"
        assert site.admits(key)
        pair = site.refresh(pair["refreshToken"])
        assert site.admits(pair["token"])
    assert _raises(site.sign_in).reason == "rate_limited"


def test_logging_out_and_dropping_a_key_give_room(make):
    site = make(_limited("max_subject_records: 2"))
    pair, _ = site.sign_in(), site.key_for()
    _log_out(site, pair["token"])
    assert site.sign_in()
    assert _raises(site.sign_in).reason == "rate_limited"
    assert site.verifier.drop_api_key("solana", ALICE.pubkey)
    assert site.sign_in()
    assert _raises(site.sign_in).reason == "rate_limited"


def test_a_refresh_token_gives_room_at_its_end(make):
    site = make(_limited("max_subject_records: 1"))
    site.sign_in()
    site.now = NOW + DAY - 1
    assert _raises(site.sign_in).reason == "rate_limited"
    site.now = NOW + DAY
    assert site.sign_in()


def test_sessions_without_refresh_need_no_room(make):
    site = make(_limited("max_subject_records: 1", "max_records: 1", session=""))
    site.key_for(BOB)
    for _ in range(3):
        assert site.admits(site.sign_in()["token"])


@ONE_BUDGET
def test_from_python_it_is_the_same_refusal(make):
    site = make(_limited("max_subject_records: 1", "max_records: 2"))
    site.verifier.issue("solana", "carol")
    for work in (
        lambda: site.verifier.issue("solana", "carol"),
        lambda: site.verifier.new_api_key("solana", "carol"),
    ):
        error = _raises(work)
        assert (error.status, error.reason, error.project) == (429, "rate_limited", "sol-1")
    assert site.verifier.new_api_key("solana", ALICE.pubkey)
    assert site.verifier.new_api_key("solana", ALICE.pubkey)
    error = _raises(lambda: site.verifier.new_api_key("solana", BOB.pubkey))
    assert (error.status, error.reason) == (503, "backend_unavailable")


# Logging out


def test_logouts_of_one_subject_are_budgeted_and_refuse_it_alone(make):
    site = make(_limited("max_subject_nonces: 3", session=""))
    tokens = [_token(site) for _ in range(4)]
    for token in tokens[:3]:
        _log_out(site, token)
    error = _logout_refused(site, tokens[3])
    assert (error.status, error.reason, error.project) == (429, "rate_limited", "sol-1")
    assert site.admits(tokens[3])  # it was not half revoked
    assert [site.denies(token) for token in tokens[:3]] == ["revoked"] * 3
    _log_out(site, _token(site, "bob"))


@ONE_BUDGET
def test_logouts_of_one_project_are_budgeted(make):
    site = make(_limited("max_nonces: 2", session=""))
    for subject in ("alice", "bob"):
        _log_out(site, _token(site, subject))
    error = _logout_refused(site, _token(site, "carol"))
    assert (error.status, error.reason) == (503, "backend_unavailable")


@ONE_BUDGET
def test_who_has_used_its_logouts_up_is_let_in_all_the_same(make):
    """They last an hour, and must not take the place of the nonces of requests."""
    site = make(_limited("max_subject_nonces: 2", "max_nonces: 3", session=""))
    for _ in range(2):
        _log_out(site, _token(site, ALICE.pubkey))
    _log_out(site, _token(site, BOB.pubkey))
    assert _logout_refused(site, _token(site, ALICE.pubkey)).reason == "rate_limited"
    assert _logout_refused(site, _token(site, MALLORY.pubkey)).reason == "backend_unavailable"
    assert site.admits(site.sign_in()["token"])
    assert site.admits(ALICE.v2("POST", "/", nonce="00000000000000aa"))
    assert site.admits(site.sign_in(MALLORY)["token"])


def test_a_logout_gives_its_room_back_when_its_revocation_ends(make):
    site = make(_limited("max_subject_nonces: 1", session=""))
    _log_out(site, _token(site))
    site.now = NOW + 3600 + 29
    assert _logout_refused(site, _token(site)).reason == "rate_limited"
    site.now = NOW + 3600 + 31
    _log_out(site, _token(site))


@pytest.mark.parametrize("fails", ["drop", "revoke"])
def test_a_logout_that_fails_on_the_way_can_be_tried_again_and_is_paid_for_once(
    make, monkeypatch, fails
):
    site = make(_limited("max_subject_nonces: 1"))
    pair = site.verifier.issue("solana", "alice")
    kept = _token(site)

    def failing(*_):
        raise BackendError("gone")

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(type(site.verifier._backend), fails, failing)
            assert _logout_refused(site, pair["token"]).status == 503
        assert site.admits(pair["token"])
    _log_out(site, pair["token"])
    assert site.denies(pair["token"]) == "revoked"
    assert site.refuses_refresh(pair["refreshToken"])
    assert _logout_refused(site, kept).reason == "rate_limited"


def test_sign_ins_and_logouts_in_a_loop_leave_no_more_than_the_budget(tmp_path: Path, store: Path):
    site = Site(tmp_path, _limited("max_subject_nonces: 20"), f"sqlite:///{store}")
    refused = []
    with closing(site.verifier):
        for _ in range(60):
            pair = site.verifier.issue("solana", "mallory")
            try:
                _log_out(site, pair["token"])
            except AuthError as error:
                refused.append(error.reason)
        assert refused == ["rate_limited"] * 40
        assert _rows(store, "revocation") == 2 * 20  # the token and its family
        _log_out(site, _token(site, "bob"))


def _rows(store: Path, table: str) -> int:
    with closing(sqlite3.connect(store)) as connection:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)


# Old refresh tokens


def test_an_old_refresh_token_ends_its_family_at_the_family_s_own_cost(tmp_path, store):
    site = Site(tmp_path, _limited("max_subject_records: 2"), f"sqlite:///{store}")
    with closing(site.verifier):
        for ended in (1, 2):
            old = site.sign_in()["refreshToken"]
            site.refresh(old)
            assert site.refuses_refresh(old) == "replayed"
            for _ in range(5):  # it is over, and costs nothing more
                assert site.refuses_refresh(old) == "revoked"
            assert _rows(store, "revocation") == ended
        assert _raises(site.sign_in).reason == "rate_limited"
        site.now = NOW + DAY
        assert site.sign_in()


def test_a_family_that_an_old_token_ended_stays_so_whatever_the_registry_says_meanwhile(make):
    site = make(registry(session=", refresh: rotating, refresh_ttl: 10d"))
    old = site.sign_in()["refreshToken"]
    current = site.refresh(old)["refreshToken"]
    site.reload(registry(session=", refresh: rotating, refresh_ttl: 1h"))
    assert site.refuses_refresh(old) == "replayed"
    for days in (1, 5, 9.9):
        site.now = NOW + days * DAY
        site.verifier.revoke("solana", session="other")  # prunes what has ended
        assert site.refuses_refresh(current) == "revoked"


@pytest.mark.parametrize("ends", ["logout", "reuse"])
def test_session_tokens_from_before_a_shorter_ttl_end_with_their_family(make, ends):
    site = make(registry(session=", refresh: rotating, refresh_ttl: 2h, ttl: 3h"))
    first = site.sign_in()
    site.reload(registry(session=", refresh: rotating, refresh_ttl: 1m, ttl: 1m"))
    second = site.refresh(first["refreshToken"])
    if ends == "logout":
        _log_out(site, second["token"])
    else:
        assert site.refuses_refresh(first["refreshToken"]) == "replayed"
    site.now = NOW + 3 * 3600 - 1
    site.verifier.revoke("solana", session="other")  # prunes what has ended
    assert site.denies(first["token"]) == "revoked"


def test_only_who_knows_the_family_can_end_it(make):
    """The `sid` of a session token does not name it; any text that an old token begins with does."""
    site = make(ROTATING)
    pair = site.sign_in()
    text, sid = pair["refreshToken"], site.admits(pair["token"]).claims["sid"]
    assert site.refuses_refresh(f"{text[:6]}{sid}{text[28:]}") == "invalid_credentials"
    elsewhere = f"{int(text[4:6], 16) ^ 1:02x}"
    assert site.refuses_refresh(text[:4] + elsewhere + text[6:]) == "invalid_credentials"
    pair = site.refresh(text)
    text = pair["refreshToken"]
    assert site.refuses_refresh(text[:28] + "x" * 43) == "replayed"
    assert site.refuses_refresh(text) == "revoked"
    assert site.denies(pair["token"]) == "revoked"
