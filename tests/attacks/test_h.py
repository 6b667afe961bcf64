"""H: time, state, outage."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from contextlib import closing

import pytest
from minting import CALL, NOW, Wallet, bearer, hour, token

from attacks.site import projects, registry
from rpcguard import AuthError, BackendError, Request
from rpcguard.backends.memory import MemoryBackend
from rpcguard.owed import Answer

ALICE = Wallet(1)
REPLAYED, EXPIRED, UNAVAILABLE = "replayed", "expired", "backend_unavailable"


class Broken:
    """A backend that does the same whatever it is asked."""

    epoch = b"0" * 16

    def __init__(self, what):
        self.what = what

    def settle(self, owed, now):
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what

    async def asettle(self, owed, now):
        return self.settle(owed, now)

    def spent(self, names, now):
        return self.settle(None, now)

    def revoke(self, revocations, now):
        self.settle(None, now)

    def close(self):
        """Nothing to close."""


@pytest.mark.parametrize("path", ["/hs", "/wallet", "/pub", "/key"])
def test_H1_a_backend_that_is_down_lets_nobody_in(make, path):
    site = make(backend=Broken(BackendError("down")))
    credentials = {
        "/hs": bearer(token(hour())),
        "/wallet": ALICE.v1(),
        "/pub": bearer(token(hour(), kid="kid-mac")),
        "/key": [],
    }
    target = "/key/an-api-key-of-more-than-32-characters" if path == "/key" else path
    error = site.error(target, credentials[path])
    assert (error.reason, error.status, error.retry_after) == (UNAVAILABLE, 503, 1)
    request = Request("POST", target, credentials[path], CALL)
    with pytest.raises(Exception) as caught:
        asyncio.run(site.verifier.averify(request))
    assert caught.value.reason == UNAVAILABLE


def test_H1_a_store_that_is_locked_answers_in_bounded_time(make, tmp_path):
    store = tmp_path / "locked.db"
    site = make(registry("wallet", backend=f"sqlite:///{store}?timeout=50ms"))
    assert site.told("/wallet", ALICE.v1()) == ""
    with closing(sqlite3.connect(store)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert site.denies("/wallet", ALICE.v1(nonce="1" * 16)) == UNAVAILABLE
        other.rollback()
    assert site.told("/wallet", ALICE.v1(nonce="1" * 16)) == ""


@pytest.mark.parametrize(
    "junk", [None, True, 1, "ok", b"", [], {}, object(), ("ok",), Answer.OK.verdict]
)
def test_H2_an_answer_that_is_none_lets_nobody_in(make, junk):
    site = make(backend=Broken(junk))
    with pytest.raises((AuthError, AttributeError)) as caught:
        site.admits("/wallet", ALICE.v1())
    assert getattr(caught.value, "reason", UNAVAILABLE) == UNAVAILABLE


@pytest.mark.parametrize(
    "record", ["", "{}", "null", "[]", "{", '{"subject": 3}', '{"subject":"x"}', None]
)
def test_H2_a_record_that_is_damaged_lets_nobody_in(make, record):
    site = make(backend=Broken(Answer(Answer.OK.verdict, record)))
    with pytest.raises((AuthError, TypeError, ValueError, KeyError)):
        site.admits("/wallet", "nod_" + "0" * 50)


@pytest.mark.parametrize("backend", ["memory://", "sqlite:///back.db"])
def test_H3_when_the_clock_goes_back_what_was_spent_stays_spent(make, backend):
    text = json.dumps({"version": 1, "backend": backend,
                       "projects": {"wallet": projects()["wallet"]}})  # fmt: skip
    site = make(text)
    site.now = NOW + 100
    signed = ALICE.v1(timestamp=NOW + 100)
    assert site.told("/wallet", signed) == ""
    for later in (1_000, 10_000):  # the first nonce has ended, and was dropped
        site.now = NOW + later
        assert site.told("/wallet", ALICE.v1(timestamp=NOW + later, nonce="1" * 16)) == ""
    for back in (100, 70, 130):
        site.now = NOW + back
        assert site.denies("/wallet", signed) in (REPLAYED, EXPIRED)
    site.now = NOW + 10_001
    assert site.told("/wallet", ALICE.v1(timestamp=NOW + 10_001, nonce="2" * 16)) == ""


def test_H4_when_the_clock_jumps_ahead_nothing_breaks_and_room_comes_free(make):
    backend = MemoryBackend(now=NOW, restart_guard=False)
    site = make(registry("wallet"), backend=backend)
    for number in range(300):
        assert site.told("/wallet", ALICE.v1(nonce=f"{number:016x}")) == ""
    site.now = NOW + 10 * 365 * 86400
    for number in range(300):
        later = int(site.now)
        assert site.told("/wallet", ALICE.v1(timestamp=later, nonce=f"{number:016x}")) == ""
    assert site.denies("/wallet", ALICE.v1(nonce="f" * 16)) == EXPIRED


@pytest.mark.parametrize("now", [float("nan"), 0.0, -1.0, float("-inf")])
def test_H4_a_clock_that_tells_no_time_lets_nobody_in(make, now):
    site = make()
    site.now = now
    for path, credential in (("/hs", bearer(token(hour()))), ("/wallet", ALICE.v1())):
        assert site.denies(path, credential) == UNAVAILABLE


def test_H5_a_restarted_memory_refuses_what_was_signed_before_its_start(make):
    first = make(registry("wallet", backend="memory://"))
    second_start = make(registry("wallet", backend="memory://"), clock=lambda: NOW + 10.0)
    signed = ALICE.v1(timestamp=NOW)
    assert first.told("/wallet", ALICE.v1(timestamp=NOW + 5)) == ""
    assert second_start.denies("/wallet", signed) == EXPIRED  # it may have been spent before
    assert second_start.told("/wallet", ALICE.v1(timestamp=NOW + 15)) == ""


def test_H5_several_workers_on_a_memory_of_their_own_are_warned_of(make, monkeypatch, caplog):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with caplog.at_level(logging.WARNING):
        make(registry("wallet", backend="memory://"))
    assert "sqlite://" in caplog.text


def test_H6_a_full_store_refuses_and_forgets_nothing(make):
    document = json.loads(registry("wallet"))
    document["projects"]["wallet"] |= {"max_nonces": 12, "max_subject_nonces": 5}
    site = make(json.dumps(document))

    def spend(wallet, number):
        return site.told("/wallet", wallet.v1(nonce=f"{number:016x}"))

    assert [spend(ALICE, n) for n in range(7)] == [""] * 5 + ["rate_limited"] * 2
    others = [spend(Wallet(n), n) for n in range(10, 20)]
    assert others == [""] * 7 + [UNAVAILABLE] * 3
    assert [spend(ALICE, n) for n in range(5)] == [REPLAYED] * 5  # none was forgotten for another


def test_H7_a_remembered_token_is_judged_anew_each_time(make):
    site = make(registry("hs", "pub"))
    text = token(hour(nbf=NOW))
    assert [site.told("/hs", text) for _ in range(2)] == ["", ""]
    site.now = NOW - 1
    assert site.denies("/hs", text) == "not_yet_valid"
    site.now = NOW + 3599
    assert site.told("/hs", text) == ""
    site.now = NOW + 3600
    assert site.denies("/hs", text) == EXPIRED
    site.now = float(NOW)
    assert site.told("/hs", text) == ""
    site.verifier.revoke("hs", token=text)
    assert site.denies("/hs", text) == "revoked"
    other = token(hour(sub="bob"))
    assert site.told("/hs", other) == ""
    site.verifier.revoke("hs", subject="bob")
    assert site.denies("/hs", other) == "revoked"


@pytest.mark.parametrize("backend", ["memory://?restart_guard=off", "sqlite:///cancelled.db"])
def test_H8_a_request_that_is_cancelled_has_spent_its_nonce_or_not_asked(make, backend):
    site = make(json.dumps({"version": 1, "backend": backend,
                            "projects": {"wallet": projects()["wallet"]}}))  # fmt: skip

    async def storm():
        accepted = 0
        for number in range(60):
            request = Request("POST", "/wallet", ALICE.v1(nonce=f"{number:016x}"), CALL)
            first = asyncio.create_task(site.verifier.averify(request))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            first.cancel()
            results = await asyncio.gather(first, return_exceptions=True)
            passed = not isinstance(results[0], BaseException)
            again = [
                await asyncio.gather(site.verifier.averify(request), return_exceptions=True)
                for _ in range(2)
            ]
            passes = passed + sum(not isinstance(each[0], BaseException) for each in again)
            assert passes <= 1
            accepted += passes
        return accepted

    before = threading.active_count()
    assert asyncio.run(storm()) > 0
    assert threading.active_count() < before + 50
