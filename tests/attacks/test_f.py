"""F: sessions, challenges and API keys."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import pickle
import sqlite3
import threading
from contextlib import closing

import base58
import pytest
from minting import (
    NOW,
    OTHER_SECRET,
    SECRET,
    Wallet,
    bearer,
    hour,
    key_digest,
    replaced,
    token,
)

from attacks.site import API_KEY, MEMORY, SESSION, problems, project, registry
from attacks.tokens import mac, signed
from rpcguard import Request

MALFORMED, INVALID = "malformed_credentials", "invalid_credentials"
ALICE, BOB = Wallet(1), Wallet(2)


@pytest.fixture
def site(make):
    """A site of each test's own: sessions are state."""
    return make()


def proof(text, wallet=ALICE, **more):
    return {"pubkey": wallet.pubkey, "signature": wallet.sign(text), **more}


def challenge(site, wallet=ALICE):
    return site.serve("/auth/challenge", {"pubkey": wallet.pubkey})["challenge"]


def session(site, wallet=ALICE):
    return site.serve("/auth/verify", proof(challenge(site, wallet), wallet))["token"]


def test_F1_a_session_ends_everywhere_when_it_is_logged_out(make, tmp_path):
    text = registry("wallet", backend=f"sqlite:///{tmp_path}/shared.db")
    one, two = make(text), make(text)
    issued, other = session(one), session(one)
    assert [each.told("/wallet", issued) for each in (one, two)] == ["", ""]
    assert one.serve("/auth/logout", b"", bearer(issued)) == {"revoked": True}
    assert [each.told("/wallet", issued) for each in (one, two)] == ["revoked", "revoked"]
    assert two.told("/wallet", other) == ""
    two.now += 3599
    assert two.denies("/wallet", issued) == "revoked"  # to its end
    assert make(text).denies("/wallet", issued) == "revoked"  # and in a new process


def test_F2_another_spelling_of_a_token_that_was_logged_out_is_none(site):
    issued = session(site)
    site.serve("/auth/logout", b"", bearer(issued))
    head, payload, signature = issued.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + last[last.index(signature[-1]) ^ 1]
    for text in (f"{issued}=", f"{head}=.{payload}.{signature}", f"{head}.{payload}.{twin}"):
        assert site.denies("/wallet", text) in (MALFORMED, INVALID)


def test_F3_logging_out_with_a_bad_token_revokes_nothing(site):
    issued = session(site)
    claims = {"iss": "rpcguard", "aud": "wallet", "sub": ALICE.pubkey, "jti": "x", **hour()}
    head = {"typ": "rpcguard-session+jwt", "kid": "session"}
    bad = [
        (mac(SESSION, {**claims, "exp": NOW - 1}, **head), "expired"),
        (mac(OTHER_SECRET, claims, **head), INVALID),
        ("nonsense", MALFORMED),
        ("", "missing_credentials"),
    ]
    for text, reason in bad:
        headers = bearer(text) if text else []
        assert site.refuses("/auth/logout", b"", headers).reason == reason
    assert site.refuses("/auth/logout", b"", ALICE.v1(b"")).reason == "missing_credentials"
    assert site.told("/wallet", issued) == ""


def test_F4_a_challenge_is_spent_by_the_first_that_answers_it(site):
    text = challenge(site)
    wrong = {"pubkey": ALICE.pubkey, "signature": BOB.sign(text)}
    assert site.refuses("/auth/verify", wrong).reason == INVALID  # which spends nothing
    assert "token" in site.serve("/auth/verify", proof(text))
    assert site.refuses("/auth/verify", proof(text)).reason == "replayed"


@pytest.mark.parametrize("backend", [MEMORY, "sqlite:///race.db?timeout=10s"])
def test_F5_two_at_once_with_one_challenge_get_one_session(make, backend):
    site = make(registry("wallet", backend=backend))
    body = proof(challenge(site))
    seen: list[str] = []
    barrier = threading.Barrier(8)

    def answer():
        barrier.wait(30)
        try:
            seen.append(site.serve("/auth/verify", body)["token"])
        except Exception as error:
            seen.append(getattr(error, "reason", repr(error)))

    threads = [threading.Thread(target=answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen)[1:] == ["replayed"] * 7 or seen.count("replayed") == 7
    assert sum(text.count(".") == 2 for text in seen) == 1


def test_F6_a_challenge_for_one_key_is_not_signed_by_another(site):
    text = challenge(site)
    for pubkey, wallet in ((ALICE, BOB), (BOB, BOB), (BOB, ALICE)):
        body = {"pubkey": pubkey.pubkey, "signature": wallet.sign(text)}
        assert site.refuses("/auth/verify", body).reason == INVALID


def test_F7_without_a_challenge_that_counts_the_refusal_is_the_same(site):
    text = challenge(site)
    head, _, when = text.rpartition(":")
    altered = [f"{head}:{int(when) + 100}", text[:-40] + "0" * 32 + text[-8:], text + " ",
               text.upper(), "nodius:challenge:" + "0" * 32 + f":{when}", "hello", ""]  # fmt: skip
    told = {
        (e.reason, e.message)
        for each in altered
        if (e := site.refuses("/auth/verify", proof(each)))
    }
    for meant in (altered[0], text):
        body = proof(altered[1], challenge=meant)
        told.add(
            (site.refuses("/auth/verify", body).reason, site.refuses("/auth/verify", body).message)
        )
    site.now += 301
    told.add(
        (
            site.refuses("/auth/verify", proof(text)).reason,
            site.refuses("/auth/verify", proof(text)).message,
        )
    )
    assert len(told) == 1
    assert {reason for reason, _ in told} == {INVALID}


def test_F8_strangers_who_ask_for_challenges_write_and_displace_nothing(make, tmp_path):
    store = tmp_path / "store.db"
    site = make(registry("wallet", backend=f"sqlite:///{store}"))
    mine = challenge(site)
    with closing(sqlite3.connect(store)) as connection:
        before = list(connection.iterdump())
    for number in range(2_000):
        body = {"pubkey": (ALICE if number % 2 else Wallet(number)).pubkey}
        assert "challenge" in site.serve("/auth/challenge", body)
    with closing(sqlite3.connect(store)) as connection:
        assert list(connection.iterdump()) == before
    assert "token" in site.serve("/auth/verify", proof(mine))


@pytest.mark.parametrize(
    "pubkey",
    [None, 1, True, [], {}, {"x": 1}, "", " ", "1" * 32, "z" * 44, ALICE.pubkey[:-1], ALICE.pubkey + "1",
     "1" + ALICE.pubkey, ALICE.pubkey + " ", "1" * 100_000, "z" * 100_000, "é" * 32, "\0",
     base58.b58encode(bytes([1]) + bytes(31)).decode(), base58.b58encode(b"\xff" * 32).decode(),
     base58.b58encode(bytes.fromhex("ec" + "ff" * 30 + "7f")).decode()],
)  # fmt: skip
@pytest.mark.parametrize("route", ["/auth/challenge", "/auth/verify"])
def test_F9_a_public_key_that_is_none_gets_no_challenge(site, pubkey, route):
    error = site.refuses(route, {"pubkey": pubkey, "signature": ALICE.sign("x")})
    assert error.status in (400, 413)
    assert error.reason in ("invalid_body", "body_too_large")


def test_F10_a_challenge_cannot_be_foretold(make):
    randoms = set()
    for number in range(4):
        document = json.loads(registry("wallet"))
        document["projects"]["wallet"]["session"]["secret"] = SESSION + str(number)
        site = make(json.dumps(document))
        for _ in range(16):
            randoms.add(challenge(site).split(":")[2])
    assert len(randoms) == 4 * 16
    assert all(len(bytes.fromhex(random)) == 16 for random in randoms)  # 128 bits under the secret
    bits = "".join(f"{int(random, 16):0128b}" for random in randoms)
    assert 0.4 < bits.count("1") / len(bits) < 0.6


def test_F11_a_new_api_key_ends_the_old_one_also_when_two_are_made_at_once(make, tmp_path):
    site = make(registry("wallet", backend=f"sqlite:///{tmp_path}/keys.db?timeout=10s"))
    old = site.verifier.new_api_key("wallet", ALICE.pubkey)
    assert site.told("/wallet", old) == ""
    made: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: made.append(site.verifier.new_api_key("wallet", ALICE.pubkey))
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(made)) == 6
    assert sorted(site.told("/wallet", key) for key in [old, *made]) == ["", *[INVALID] * 6]


def test_F12_a_key_is_looked_up_whole(make):
    keys = ["shared-prefix-of-two-keys-0123456789-a", "shared-prefix-of-two-keys-0123456789-b"]
    entries = [{"id": f"k{n}", "digest": key_digest(key)} for n, key in enumerate(keys)]
    site = make(json.dumps(project("key", api_keys=entries)))
    assert [site.admits(f"/key/{key}").key_id for key in keys] == ["k0", "k1"]
    issuing = make()
    issued = issuing.verifier.new_api_key("wallet", ALICE.pubkey)
    for other in (keys[0][:-1], keys[0] + "x", keys[0][:10], keys[0].upper()):
        assert site.denies(f"/key/{other}") == INVALID
    for other in ("nod_", issued[:-1], issued + "0", issued[:6], "nod_" + issued):
        assert issuing.denies("/wallet", other) in (INVALID, MALFORMED)


def test_F13_an_unknown_key_is_answered_as_a_wrong_one(make):
    site = make()
    unknown = [
        site.error(f"/key/{text}") for text in ("x" * 32, API_KEY[:-1] + "x", "é", "\udc80x")
    ]
    told = {(e.status, e.code, e.message) for e in unknown if e.reason == INVALID}
    assert len(told) == 1
    assert {error.reason for error in unknown} <= {INVALID, MALFORMED, "invalid_target"}
    digests = [key.kid for scheme in site.verifier.registry.projects["key"].schemes
               for key in scheme.rules.static.values()]  # fmt: skip
    assert digests == ["ops"]  # found by the digest of the whole, so that no byte is compared alone
    headers = [("X-Api-Key", "ключ")]
    assert site.denies("/next", headers) == MALFORMED  # a text that no digest is compared with


@pytest.mark.parametrize(
    "change",
    [lambda k: k + " ", lambda k: " " + k, lambda k: k.upper(), lambda k: k + "\0", lambda k: k + "é",
     lambda k: k + "\n", lambda k: k * 30_000, lambda k: "", lambda k: k[:4]],
)  # fmt: skip
def test_F14_a_key_has_one_form_and_a_bound(make, change):
    site = make()
    issued = site.verifier.new_api_key("wallet", ALICE.pubkey)
    header = site.verifier.new_api_key("next", ALICE.pubkey)
    if not change(issued).startswith(" "):  # which is a second space after Bearer
        assert site.denies("/wallet", change(issued)) in (MALFORMED, INVALID)
    reason = site.denies("/next", [("X-Api-Key", change(header))])
    assert reason in (MALFORMED, INVALID, "missing_credentials")
    assert site.told("/next", [("X-Api-Key", header)]) == ""


def test_F15_a_bearer_is_a_key_or_a_token_by_its_prefix_once(site):
    issued = session(site)
    assert site.denies("/wallet", "nod_" + issued) in (INVALID, MALFORMED)
    key = site.verifier.new_api_key("wallet", ALICE.pubkey)
    assert site.denies("/wallet", key.removeprefix("nod_")) == MALFORMED
    assert site.denies("/wallet", "NOD_" + key[4:]) == MALFORMED
    prefixed = token(hour(), SECRET, header=b'nod_{"alg":"HS256"}')
    assert site.denies("/wallet", prefixed) in (INVALID, MALFORMED)


@pytest.mark.parametrize("name", ["api_key", "apikey", "token", "access_token", "key", "jwt"])
def test_F16_a_query_is_no_place_for_a_credential_by_default(site, name, caplog):
    caplog.set_level(logging.DEBUG)
    issued = session(site)
    for path in ("/hs", "/wallet", "/key", "/pub"):
        for text in (API_KEY, issued, token(hour())):
            assert site.denies(f"{path}?{name}={text}") == "missing_credentials"
    assert site.told(f"/key/{API_KEY}") == ""
    assert API_KEY not in caplog.text
    assert issued not in caplog.text


def test_F17_no_secret_shows_in_a_repr_an_error_or_a_pickle(make, tmp_path):
    site = make()
    secrets = [SECRET, SESSION, API_KEY, key_digest(API_KEY).removeprefix("sha256:")]
    seen: set[int] = set()
    shown: list[str] = []

    def walk(thing, depth=0):
        if id(thing) in seen or depth > 6:
            return
        seen.add(id(thing))
        if type(thing).__module__.startswith("rpcguard"):
            shown.append(repr(thing))
            shown.append(str(thing))
            kind = type(thing)
            names = {*getattr(kind, "__slots__", ()), *getattr(kind, "_fields", ())}
            for name in {*names, *getattr(thing, "__dict__", {})}:
                walk(getattr(thing, name, None), depth + 1)
        elif isinstance(thing, dict):
            for value in list(thing.values()):
                walk(value, depth + 1)
        elif isinstance(thing, list | tuple | frozenset | set):
            for value in thing:
                walk(value, depth + 1)

    walk(site.verifier)
    assert len(shown) > 50
    text = " ".join(shown)
    assert [secret for secret in secrets if secret in text] == []
    principal = site.admits("/hs", token(hour(sub="alice")))
    assert pickle.loads(pickle.dumps(principal)) == principal == copy.copy(principal)
    assert SECRET.encode() not in pickle.dumps(principal)
    error = site.error("/hs", token(hour(), OTHER_SECRET))
    assert SECRET not in repr(vars(error))
    told = problems(tmp_path, project(nonsense=1))
    assert SECRET not in told


def test_F18_what_callers_send_breaks_no_log(site, caplog):
    caplog.set_level(logging.DEBUG)
    hostile = "x\r\nERROR root: forged\x1b[2J\x07\u2028"
    site.told("/pub", signed(kid=hostile))
    site.told("/hs", token(hour(sub=hostile)))
    site.told("/wallet", replaced(ALICE.v1(), "X-Pubkey", hostile))
    site.told(f"/hs/{hostile}", token(hour()))
    site.told("/hs", [*bearer(token(hour())), ("User-Agent", hostile)], method=hostile)
    assert len(caplog.records) >= 5
    for record in caplog.records:
        assert record.getMessage().isprintable()


def test_F19_guessing_is_limited_by_the_address_that_is_trusted(make):
    document = json.loads(registry("wallet", "hs"))
    for each in document["projects"].values():
        each["limits"] = {"per_ip": "5/day"}
    site = make(json.dumps(document))

    def guess(number, client="192.0.2.1"):
        headers = [("X-Forwarded-For", f"203.0.113.{number}"), ("X-Real-IP", f"203.0.113.{number}")]
        return site.told("/hs", [*bearer(mac(f"guess {number}")), *headers], client=client)

    assert [guess(n) for n in range(7)] == [INVALID] * 5 + ["rate_limited"] * 2
    assert guess(9, "192.0.2.2") == INVALID
    body = json.dumps(proof("guess")).encode()
    told = []
    for number in range(7):
        fields = [("X-Forwarded-For", f"203.0.113.{number}")]
        request = Request("POST", "/auth/verify", fields, body, "192.0.2.1")
        with pytest.raises(Exception) as caught:
            site.verifier.serve("/auth/verify", request, "wallet")
        told.append(caught.value.reason)
    assert told == [INVALID] * 5 + ["rate_limited"] * 2


def test_F20_what_is_stored_opens_nothing(make, tmp_path):
    store = tmp_path / "stored.db"
    document = json.loads(registry("wallet", backend=f"sqlite:///{store}"))
    document["projects"]["wallet"]["session"]["refresh"] = "rotating"
    site = make(json.dumps(document))
    key = site.verifier.new_api_key("wallet", ALICE.pubkey)
    issued = site.serve("/auth/verify", proof(challenge(site)))
    site.admits("/wallet", key)
    site.admits("/wallet", ALICE.v1(nonce="feedfacecafebeef"))
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("stored.db*"))
    assert ALICE.pubkey.encode() in raw  # whose they are
    for secret in (key, issued["token"], issued["refreshToken"], "feedfacecafebeef"):
        for part in (secret, secret[8:], secret[-16:]):
            assert part.encode() not in raw
            assert hashlib.sha256(secret.encode()).hexdigest().encode() not in raw
