"""Session secrets: ids, dates, and their rotation without a gap."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from minting import NOW

from issuing.site import ALICE, OPEN, Site, proof, registry
from rpcguard import ConfigError
from rpcguard.keys import verify_ed25519


def _with(*secrets: str) -> str:
    entries = "".join(f"\n        - {{{entry}}}" for entry in secrets)
    before, _, _ = OPEN.partition("    session:")
    return f"{before}    session:\n      secrets:{entries}\n"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


A, B = 'id: a, secret: "${env:A}"', 'id: b, secret: "${env:B}"'


def test_the_first_signs_and_all_verify(make):
    site = make(_with(A))
    old = site.sign_in()["token"]
    site.reload(_with(B, A))
    assert site.admits(old).key_id == "a"
    new = site.sign_in()["token"]
    assert site.admits(new).key_id == "b"
    site.reload(_with(B))
    assert site.denies(old) == "invalid_credentials"
    assert site.admits(new)


def test_a_secret_that_is_taken_off_ends_its_sessions_though_they_are_known(make):
    site = make(_with(A, B))
    old = site.sign_in()["token"]
    assert site.admits(old)
    site.reload(_with(B))
    assert site.denies(old) == "invalid_credentials"


def test_another_secret_under_the_same_id_ends_its_sessions(make):
    site = make(_with(A))
    old = site.sign_in()["token"]
    assert site.admits(old)
    site.reload(_with('id: a, secret: "${env:B}"'))
    assert site.denies(old) == "invalid_credentials"


def test_dates_turn_one_on_and_the_other_off(make):
    start, end = NOW + 1000, NOW + 4600
    site = make(_with(f"{B}, not_before: {_date(start)}", f"{A}, not_after: {_date(end)}"))
    old = site.sign_in()["token"]
    assert site.admits(old).key_id == "a"
    site.now = start - 1
    late = site.sign_in()["token"]
    site.now = start
    new = site.sign_in()["token"]
    assert site.admits(new).key_id == "b"
    assert site.admits(late).key_id == "a"
    site.now = end - 1005  # within the hour of `late`
    assert site.admits(late)


def test_a_secret_past_its_date_verifies_nothing(make):
    site = make(_with(f"{B}, not_before: {_date(NOW + 50)}", f"{A}, not_after: {_date(NOW + 100)}"))
    old = site.sign_in()["token"]
    site.now = NOW + 99
    assert site.admits(old)
    site.now = NOW + 100
    assert site.denies(old) == "invalid_credentials"


def test_without_an_active_secret_nobody_signs_in(make):
    site = make(_with(f"{A}, not_after: {_date(NOW - 1)}"))
    for route in ("/auth/challenge", "/auth/verify"):
        error = site.refuses(route, proof("x"))
        assert (error.status, error.reason) == (503, "backend_unavailable")


def test_a_challenge_under_one_secret_is_none_under_another(make):
    site = make(_with(A))
    text = site.challenge()
    site.reload(_with(B))
    assert site.refuses("/auth/verify", proof(text)).status == 401
    assert site.sign_in()


def test_a_challenge_that_is_named_is_good_for_as_long_as_its_secret_is_active(make):
    site = make(_with(A))
    named, unnamed, late = (site.challenge() for _ in range(3))
    site.reload(_with(B, A))
    assert site.admits(site.verify(named, challenge=named)["token"]).key_id == "b"
    assert site.refuses("/auth/verify", proof(named, challenge=named)).reason == "replayed"
    error = site.refuses("/auth/verify", proof(unnamed))  # only the first secret's are tried
    assert (error.status, error.reason) == (401, "invalid_credentials")
    site.reload(_with(B))
    assert site.refuses("/auth/verify", proof(late, challenge=late)).status == 401


def test_one_worker_has_the_edit_before_another(make):
    """The new secret is appended first, so that each knows what the other gives out."""
    before, after = make(_with(A, B)), make(_with(B, A))
    for gives, verifies in ((before, after), (after, before)):
        text = gives.challenge()
        assert verifies.admits(verifies.verify(text, challenge=text)["token"])


@pytest.mark.parametrize(("named", "checks"), [(False, 48), (True, 1)])
def test_however_many_secrets_a_verify_costs_no_more_signature_checks(
    make, monkeypatch, named, checks
):
    counted = []

    def counting(*arguments):
        counted.append(arguments)
        return verify_ed25519(*arguments)

    monkeypatch.setattr("rpcguard.issuing.verify_ed25519", counting)
    site = make(_with(B, A, 'id: c, secret: "${env:C}"'))
    text = site.challenge()
    body = proof("something else") | ({"challenge": text} if named else {})
    assert site.refuses("/auth/verify", body).status == 401
    assert len(counted) == checks


def test_the_short_form_is_one_secret(make):
    text = OPEN.partition("    session:")[0] + '    session: {secret: "${env:A}"}\n'
    site = make(text)
    assert site.admits(site.sign_in()["token"]).subject == ALICE.pubkey


@pytest.mark.parametrize(
    ("session", "complaint"),
    [
        ("{secrets: []}", "secrets"),
        ('{secret: "${env:A}", secrets: [{id: a, secret: "${env:B}"}]}', "choose"),
        ('{secrets: [{id: a, secret: "${env:A}"}, {id: a, secret: "${env:B}"}]}', "before"),
        ('{secrets: [{secret: "${env:A}"}]}', "id"),
        ("{ttl: 1h}", "secrets"),
        ('{secret: "${env:A}", ttl: 0s}', "ttl"),
        ('{secret: "${env:A}", ttl: 1ms}', "ttl"),
        ('{secret: "${env:A}", refresh: sometimes}', "refresh"),
        ('{secret: "${env:A}", service: "Not A Name"}', "service"),
        ('{secret: "${env:A}", service: 9lives}', "service"),
        ('{secret: "${env:A}", service: abcdefghijklmnopqrstuvwxyz0123456}', "service"),
        ('{secret: "${env:A}", unknown: 1}', "unknown"),
        ("{secret: short}", "32"),
    ],
)
def test_a_session_that_is_wrong_does_not_load(tmp_path, session, complaint):
    text = OPEN.partition("    session:")[0] + f"    session: {session}\n"
    with pytest.raises(ConfigError, match=complaint):
        Site(tmp_path, text, "memory://")


@pytest.mark.parametrize("weak", ["", ", allow_weak: true"])
def test_a_weak_secret_is_refused_whatever_is_said(make, weak):
    """It is nobody's but ours: there is no provider who would hand out a short one."""
    text = OPEN.partition("    session:")[0]
    with pytest.raises(ConfigError):
        make(text + f"    session: {{secrets: [{{id: a, secret: short{weak}}}]}}\n")


def test_a_preset_without_sessions_has_no_use_for_one(tmp_path):
    text = """
version: 1
projects:
  bsc:
    preset: meganode
    secrets: [{id: a, secret: "${env:A}"}]
    session: {secret: "${env:B}"}
"""
    with pytest.raises(ConfigError, match="no use"):
        Site(tmp_path, text, "memory://")


def test_wallets_without_a_session_have_no_sign_in(alone):
    site = alone(registry().partition("    session:")[0])
    for route in ("/auth/challenge", "/auth/verify", "/auth/refresh"):
        assert site.refuses(route, proof("x")).reason == "no_project"
        assert site.refuses(route, proof("x"), project="solana").status == 403
