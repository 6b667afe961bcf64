"""What the audit trail says of the routes that issue: who was proved there, and nothing that is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from minting import bearer

from issuing.site import ALICE, BOB, OPEN, ROTATING, Site, proof, registry
from rpcguard import BackendError
from rpcguard.backends.base import Backend
from rpcguard.issuing import ROUTES
from rpcguard.owed import Answer, Owed

Who = tuple[Any, Any, Any]
NOBODY: Who = (None, None, None)
BY_SESSION: Who = ("session", ALICE.pubkey, None)  # by a signed challenge, or a refresh token
Trail = Callable[[], list[tuple[Any, Who]]]


class Down:
    """A backend that stops answering where something is to be settled."""

    def __init__(self, backend: Backend) -> None:
        self.epoch = backend.epoch
        self.close = backend.close

    def settle(self, owed: Owed, now: float) -> Answer:
        raise BackendError("down")


@pytest.fixture
def trail(caplog: pytest.LogCaptureFixture) -> Trail:
    """Return what gives the reason (None of what was accepted) and the caller of each record."""
    caplog.set_level(logging.INFO, "rpcguard.audit")

    def trail() -> list[tuple[Any, Who]]:
        records = [r.rpcguard for r in caplog.records if r.name == "rpcguard.audit"]
        return [(r["reason"], (r["scheme"], r["subject"], r["key_id"])) for r in records]

    return trail


def test_who_asks_for_a_challenge_has_proved_nothing(alone, trail):
    alone(OPEN).challenge()
    assert trail() == [(None, NOBODY)]


def test_who_signs_a_challenge_is_named_also_where_the_session_is_refused(alone, trail):
    site = alone(OPEN)
    text = site.challenge()
    site.refuses("/auth/verify", proof(text, BOB) | {"pubkey": ALICE.pubkey})
    site.verify(text)
    site.refuses("/auth/verify", proof(text))
    assert trail()[1:] == [
        ("invalid_credentials", NOBODY),
        (None, BY_SESSION),
        ("replayed", BY_SESSION),
    ]


def test_a_wallet_that_is_not_listed_is_named_once_it_has_signed(alone, trail):
    site = alone(registry(f"wallets: [{{pubkey: {BOB.pubkey}}}]"))
    site.refuses("/auth/verify", proof(site.challenge()))
    assert trail()[1:] == [("not_listed", BY_SESSION)]


def test_the_subject_of_a_refresh_token_is_named_also_of_an_old_one_that_ends_its_family(
    alone, trail
):
    site = alone(ROTATING)
    first = site.sign_in()["refreshToken"]
    second = site.refresh(first)["refreshToken"]
    site.refuses_refresh(first)
    site.refuses_refresh(second)
    site.refuses_refresh(f"rfr_00{'A' * 65}")
    site.refuses_refresh("not such a token")
    assert trail()[2:] == [
        (None, BY_SESSION),
        ("replayed", BY_SESSION),
        ("revoked", NOBODY),  # the backend says no more of it
        ("invalid_credentials", NOBODY),
        ("invalid_credentials", NOBODY),
    ]


def test_who_logs_out_is_named_with_the_secret_that_signed_the_session(alone, trail):
    site = alone(OPEN)
    headers = bearer(site.sign_in()["token"])
    site.serve("/auth/logout", b"", headers)
    site.refuses("/auth/logout", b"", headers)
    site.refuses("/auth/logout", b"", [])
    caller = ("session", ALICE.pubkey, "a")
    assert trail()[2:] == [(None, caller), ("revoked", caller), ("missing_credentials", NOBODY)]


def test_who_asks_for_an_api_key_is_named_as_the_wallet_that_signed(alone, trail):
    site = alone(OPEN, now=1_760_000_100.0)
    signed = site.asks_for_key()
    site.serve("/account/api-key", b"", signed)
    site.refuses("/account/api-key", b"", signed)
    caller = ("signature", ALICE.pubkey, ALICE.pubkey)
    assert trail() == [(None, caller), ("replayed", caller)]


def test_who_is_proved_is_named_where_the_backend_then_gives_no_answer(alone, trail, monkeypatch):
    site = alone(ROTATING, now=1_760_000_100.0)
    session, text = site.sign_in(), site.challenge()
    before = len(trail())

    monkeypatch.setattr(site.verifier, "_backend", Down(site.verifier._backend))
    site.refuses("/auth/verify", proof(text))
    site.refuses("/auth/refresh", {"refreshToken": session["refreshToken"]})
    site.refuses("/auth/logout", b"", bearer(session["token"]))
    site.refuses("/account/api-key", b"", site.asks_for_key())
    assert trail()[before:] == [
        ("backend_unavailable", who)
        for who in (
            BY_SESSION,
            NOBODY,
            ("session", ALICE.pubkey, "a"),
            ("signature", ALICE.pubkey, ALICE.pubkey),
        )
    ]


def test_nothing_that_was_given_out_or_shown_is_recorded(alone, trail, caplog):
    site: Site = alone(ROTATING, now=1_760_000_100.0)
    text = site.challenge()
    body = proof(text, challenge=text)
    session = site.serve("/auth/verify", body)
    renewed = site.refresh(session["refreshToken"])
    site.refuses_refresh(session["refreshToken"])
    again = site.sign_in()
    site.serve("/auth/logout", b"", bearer(again["token"]))
    signed = site.asks_for_key()
    key = site.serve("/account/api-key", b"", signed)["apiKey"]
    assert len(trail()) == 8
    assert {r.rpcguard["path"] for r in caplog.records} == set(ROUTES)
    secret = {text, text.split(":")[2], body["signature"], key, dict(signed)["X-Signature"]}
    for given in (session, renewed, again):
        secret |= {given["token"], given["refreshToken"], *given["token"].split(".")[1:]}
    everything = caplog.text + json.dumps([r.rpcguard for r in caplog.records])
    assert [value for value in secret if value in everything] == []
