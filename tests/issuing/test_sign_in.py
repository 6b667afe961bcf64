"""Challenge and response: `/auth/challenge` and `/auth/verify`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import base58
import pytest
from minting import NOW, Wallet

import rpcguard.issuing
from issuing.site import ALICE, BOB, MALLORY, OPEN, SECRETS, proof, registry, slot_of
from rpcguard.base64url import decode

T = NOW // 100 * 100  # the time that a challenge of `NOW` shows


def _parts(token: str) -> tuple[dict, dict]:
    header, payload, _ = token.split(".")
    return json.loads(decode(header)), json.loads(decode(payload))


def test_the_text_of_a_challenge(make):
    site = make(OPEN)
    assert re.fullmatch(rf"nodius:challenge:[0-9a-f]{{32}}:{T}", site.challenge())
    site.now = T + 99.9
    assert site.challenge().endswith(f":{T}")
    site.now = T + 100
    assert site.challenge().endswith(f":{T + 100}")


def test_the_service_is_configured(alone):
    site = alone(registry(session=", service: my-node"))
    assert site.challenge().startswith("my-node:challenge:")


def test_the_successor_protocol_has_sessions_too(alone):
    site = alone(OPEN.replace("preset: nodius", "preset: nodius-2026"))
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,31}:challenge:[0-9a-f]{32}:[0-9]+", site.challenge())
    assert site.admits(site.sign_in()["token"]).subject == ALICE.pubkey


def test_sixteen_slots_are_handed_out_in_turn(make):
    site = make(OPEN)
    given = [site.challenge() for _ in range(32)]
    assert len(set(given)) == 16
    assert given[:16] == given[16:]


def test_challenges_differ_by_key_project_and_time(alone):
    two = registry("wallets: open\nmatch: {path: /a}") + OPEN[OPEN.index("  solana") - 1 :].replace(
        "solana", "other"
    ).replace("sol-1", "sol-2")
    site = alone(two)
    seen = set()
    for wallet in (ALICE, BOB):
        for project in ("solana", "other"):
            for site.now in (NOW, NOW + 100):
                seen |= {site.challenge(wallet, project=project) for _ in range(16)}
    assert len({slot_of(text) for text in seen}) == 16 * 8


def test_processes_with_one_secret_and_one_backend_take_each_others(make):
    one, other = make(OPEN), make(OPEN)
    assert other.verify(one.challenge())["token"]


def test_another_backend_has_other_challenges(tmp_path, alone):
    """What one backend has forgotten is not accepted by the next."""
    site = alone(OPEN)
    text = site.challenge()
    again = alone(OPEN)
    assert again.refuses("/auth/verify", proof(text)).reason == "invalid_credentials"


def test_the_session_of_who_signs_the_challenge(make):
    site = make(OPEN)
    site.now = NOW + 0.75
    answer = site.sign_in()
    assert list(answer) == ["token", "expiresAt"]
    header, claims = _parts(answer["token"])
    assert header == {"alg": "HS256", "typ": "rpcguard-session+jwt", "kid": "a"}
    assert set(claims) == {"iss", "aud", "sub", "jti", "iat", "exp"}
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("rpcguard", "sol-1", ALICE.pubkey)
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 3600)
    assert answer["expiresAt"] == claims["exp"]
    assert type(answer["expiresAt"]) is int
    principal = site.admits(answer["token"])
    assert (principal.subject, principal.project) == (ALICE.pubkey, "solana")
    assert (principal.scheme, principal.key_id) == ("session", "a")
    assert principal.expires_at == claims["exp"]
    assert principal.claims == claims


def test_every_session_has_an_id_of_its_own(alone):
    site = alone(OPEN)
    ids = {_parts(site.sign_in()["token"])[1]["jti"] for _ in range(16)}
    assert len(ids) == 16
    assert all(len(decode(text)) >= 16 for text in ids)


def test_a_session_ends_after_its_hour(make):
    site = make(OPEN)
    token = site.sign_in()["token"]
    site.now = NOW + 3599.9
    assert site.admits(token)
    assert site.admits(token, standing=True)
    site.now = NOW + 3600
    assert site.denies(token) == "expired"
    assert site.denies(token, standing=True) == "expired"


def test_the_lifetime_is_configured(alone):
    site = alone(registry(session=", ttl: 5m"))
    answer = site.sign_in()
    assert answer["expiresAt"] == NOW + 300
    site.now = NOW + 300
    assert site.denies(answer["token"]) == "expired"


def test_one_challenge_verifies_once(make):
    one, other = make(OPEN), make(OPEN)
    text = one.challenge()
    assert one.verify(text)
    for site in (one, other):
        error = site.refuses("/auth/verify", proof(text))
        assert (error.status, error.reason) == (401, "replayed")


def test_a_refused_answer_spends_nothing(make):
    site = make(OPEN)
    text = site.challenge()
    wrong = proof(text) | {"signature": BOB.sign(text)}
    assert site.refuses("/auth/verify", wrong).reason == "invalid_credentials"
    assert site.verify(text)


@pytest.mark.parametrize("age", [0, 99, 199])
def test_the_current_and_two_earlier_times_are_tried(make, age):
    site = make(OPEN)
    site.now = T
    text = site.challenge()
    site.now = T + 100 + age
    assert site.verify(text)


@pytest.mark.parametrize("age", [300, 301, 400, 86_400])
def test_a_challenge_lives_at_most_five_minutes(make, age):
    site = make(OPEN)
    site.now = T
    text = site.challenge()
    site.now = T + age
    assert site.refuses("/auth/verify", proof(text)).reason == "invalid_credentials"


def test_a_spent_challenge_is_remembered_as_long_as_any_clock_would_take_it(make):
    """Clocks may differ by 30 s: the nonce must outlive the challenge by that."""
    ahead, behind = make(OPEN), make(OPEN)
    text = behind.challenge()
    behind.verify(text)
    for offset in (250, 299.9):
        ahead.now = T + offset
        assert ahead.refuses("/auth/verify", proof(text)).reason == "replayed"
    # One that is ahead prunes; one that is 30 s behind must still refuse it.
    ahead.now = T + 329
    for _ in range(40):
        ahead.sign_in(Wallet(100 + _))
    behind.now = T + 299
    error = behind.refuses("/auth/verify", proof(text))
    assert error.reason in ("replayed", "expired")


def test_a_challenge_of_the_future_is_none(make):
    site = make(OPEN)
    site.now = T + 100
    text = site.challenge()
    site.now = T + 99
    assert site.refuses("/auth/verify", proof(text)).reason == "invalid_credentials"


def _altered(text: str) -> list[str]:
    service, word, random, when = text.split(":")
    return [
        f"other:{word}:{random}:{when}",
        f"{service}:{word}:{random[::-1]}:{when}",
        f"{service}:{word}:{random.upper()}:{when}",
        f"{service}:{word}:{random}:{int(when) + 1}",
        f"{service}:{word}:{random}:{int(when) - 100}",
        f"{text}\n",
        f" {text}",
        "",
    ]


def test_whatever_is_wrong_the_refusal_is_the_same(make):
    """Wrong key, altered, expired or never given: a stranger learns nothing from the answer."""
    site = make(OPEN)
    text = site.challenge()
    expired = site.challenge()
    wrong = [
        proof(text) | {"signature": MALLORY.sign(text)},
        proof(text) | {"pubkey": MALLORY.pubkey},
        proof("nodius:challenge:" + "0" * 32 + f":{T}"),
        *(proof(altered) for altered in _altered(text)),
        proof(text, challenge=text + "x"),
        proof(text, challenge=""),
        proof(text, challenge=expired),
    ]
    seen = []
    for body in wrong:
        error = site.refuses("/auth/verify", body)
        seen.append((error.status, error.code, error.message, error.reason, error.challenges))
    site.now = T + 300
    error = site.refuses("/auth/verify", proof(expired))
    seen.append((error.status, error.code, error.message, error.reason, error.challenges))
    assert set(seen) == {seen[0]}
    assert seen[0][0] == 401
    assert seen[0][3] == "invalid_credentials"


def test_the_body_may_name_the_challenge(make):
    site = make(OPEN)
    text, other = site.challenge(), site.challenge()
    assert site.refuses("/auth/verify", proof(text, challenge=other)).status == 401
    assert site.serve("/auth/verify", proof(text, challenge=text))["token"]
    assert site.refuses("/auth/verify", proof(text, challenge=text)).reason == "replayed"


def test_spent_challenges_are_passed_over_and_after_all_sixteen_it_is_429(make):
    site, other = make(OPEN), make(OPEN)
    seen = set()
    for turn in range(16):
        text = (site, other)[turn % 2].challenge()
        site.verify(text)
        seen.add(text)
    assert len(seen) == 16
    for each in (site, other):
        error = each.refuses("/auth/challenge", {"pubkey": ALICE.pubkey})
        assert (error.status, error.reason, error.code) == (429, "rate_limited", -32005)
        assert error.retry_after
    assert site.sign_in(BOB)
    site.now = T + 100
    assert site.sign_in()


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every message that a signature was verified over."""
    seen: list[bytes] = []
    real = rpcguard.issuing.verify_ed25519

    def counting(public: bytes, message: bytes, signature: bytes) -> bool:
        seen.append(message)
        return real(public, message, signature)

    monkeypatch.setattr(rpcguard.issuing, "verify_ed25519", counting)
    return seen


def test_a_bad_signature_costs_at_most_48_verifications(make, verifications):
    site = make(OPEN)
    site.refuses("/auth/verify", proof("no challenge"))
    assert len(verifications) == 48
    assert len(set(verifications)) == 48


def test_a_bad_signature_over_a_named_challenge_costs_one(make, verifications):
    site = make(OPEN)
    text = site.challenge()
    site.refuses("/auth/verify", proof("no challenge", challenge=text))
    assert len(verifications) == 1
    site.refuses("/auth/verify", proof(text, challenge="no challenge"))
    assert len(verifications) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "1" * 63},
        {"signature": "1" * 89},
        {"signature": "0OIl" * 22},
        {"signature": "é" * 64},
        {"signature": "x" * 8000},
        {"signature": ""},
        {"pubkey": ""},
        {"pubkey": "1" * 32},  # of small order: it verifies what nobody signed
        {"pubkey": base58.b58encode(b"\x01" + bytes(31)).decode()},
        {"pubkey": base58.b58encode(b"\xff" * 32).decode()},
        {"pubkey": "é" * 44},
        {"pubkey": ALICE.pubkey + "1"},
        {"pubkey": "1" + ALICE.pubkey},
        {"pubkey": "x" * 8000},
    ],
)
def test_bounds_come_before_any_verification(make, verifications, change):
    site = make(OPEN)
    error = site.refuses("/auth/verify", proof(site.challenge()) | change)
    assert (error.status, error.reason) == (400, "invalid_body")
    assert verifications == []


def test_an_unlisted_wallet_is_told_so_only_after_its_signature_verifies(make):
    site = make(registry(f"wallets: [{{pubkey: {ALICE.pubkey}, name: alice}}]"))
    assert site.admits(site.sign_in()["token"]).name == "alice"
    text = site.challenge(MALLORY)  # asking tells nobody who is listed
    wrong = proof(text, MALLORY) | {"signature": ALICE.sign(text)}
    assert site.refuses("/auth/verify", wrong).reason == "invalid_credentials"
    error = site.refuses("/auth/verify", proof(text, MALLORY))
    assert (error.status, error.reason) == (403, "not_listed")


def test_a_challenge_cannot_be_signed_as_a_request(alone):
    """A signature over a challenge is none over a request, and the reverse."""
    site = alone(OPEN)
    fields = ALICE.fields(site.challenge(), NOW, "0" * 16)
    assert site.denies(fields) == "invalid_credentials"
    payload = f"{NOW}:{'0' * 16}:{'0' * 64}"
    error = site.refuses("/auth/verify", proof(payload))
    assert error.reason == "invalid_credentials"


def test_a_crash_between_spending_and_answering_costs_a_new_challenge_alone(make):
    site = make(OPEN)
    text = site.challenge()
    site.verify(text)  # the answer is lost
    assert site.refuses("/auth/verify", proof(text)).reason == "replayed"
    assert site.admits(site.sign_in()["token"])


def test_challenges_do_not_depend_on_the_thread(alone):
    site = alone(OPEN)
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.extend(site.challenge() for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(texts) == 400
    assert len(set(texts)) == 16


def test_workers_that_were_forked_start_at_slots_of_their_own(tmp_path):
    """Else two browsers of one wallet get one challenge, and one of them is refused."""
    command = [sys.executable, str(Path(__file__).parent / "forked.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    given = done.stdout.split()
    assert len(given) == 8
    assert len(set(given)) > 1  # all eight alike by chance: once in 268 million runs


def test_live_nonces_of_sign_ins_are_budgeted_as_the_registry_says(alone):
    site = alone(registry("wallets: open\nmax_subject_nonces: 2"))
    site.sign_in()
    site.sign_in()
    error = site.refuses("/auth/verify", proof(site.challenge()))
    assert error.reason == "rate_limited"
    assert site.sign_in(BOB)


def test_nothing_secret_is_logged_or_shown(make, caplog):
    caplog.set_level(0)
    site = make(OPEN.replace("}]}", "}], refresh: rotating}"))
    text = site.challenge()
    answer = site.verify(text)
    error = site.refuses("/auth/verify", proof(text))
    key = site.key_for()
    site.refuses("/auth/refresh", {"refreshToken": key})
    site.refresh(answer["refreshToken"])
    site.refuses("/auth/refresh", {"refreshToken": answer["refreshToken"]})
    project = site.verifier.registry.projects["solana"]
    shown = caplog.text + repr(error) + str(error) + error.detail + repr(project)
    for secret in (
        answer["token"],
        answer["refreshToken"],
        key,
        ALICE.sign(text),
        *SECRETS.values(),
    ):
        assert secret not in shown
