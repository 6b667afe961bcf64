"""How often a caller may call: what is counted, when, and what the refusal says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from minting import CALL, OTHER_SECRET, SECRET, Wallet, bearer, hour, key_digest, token

from rpcguard import AuthError, ConfigError, Request
from rpcguard.limiter import EXACT, Limiter
from rpcguard.peer import parse_address
from rpcguard.rates import Charge, Limits, Rate, network_of, principal_charges

REGISTRY = f"""
version: 1
backend: "memory://?restart_guard=off"
trusted_proxies: [10.0.0.0/8]
projects:
  bsc:
    preset: meganode
    match: {{path: /v1}}
    secrets:
      - {{id: a, secret: "{SECRET}"}}
      - {{id: b, secret: "{OTHER_SECRET}", limits: {{per_key: 3/day}}}}
    api_keys:
      - {{id: ops, digest: "{key_digest("k" * 32)}", limits: {{per_key: 1/day}}}}
    limits: LIMITS
  other:
    preset: meganode
    secrets: [{{id: a, secret: "{SECRET}"}}]
    limits: {{per_project: 1/day}}
  solana:
    preset: nodius
    match: {{path: /solana}}
    wallets:
      - {{pubkey: {Wallet(1).pubkey}}}
      - {{pubkey: {Wallet(2).pubkey}, limits: {{per_key: 3/day}}}}
    session: {{secret: "{SECRET}"}}
    limits: {{per_key: 2/day, per_ip: 20/day}}
"""


def registry(limits: str) -> str:
    return REGISTRY.replace("LIMITS", f"{{{limits}}}")


def sync(verifier: Any, request: Request) -> Any:
    return verifier.verify(request)


def in_a_loop(verifier: Any, request: Request) -> Any:
    return asyncio.run(verifier.averify(request))


DRIVERS = pytest.mark.parametrize("drive", [sync, in_a_loop], ids=["verify", "averify"])


def ask(
    subject: str = "alice",
    secret: str = SECRET,
    client: str = "192.0.2.1",
    target: str = "/v1",
    headers: Any = (),
) -> Request:
    text = token(hour(sub=subject), secret)
    return Request("POST", target, [*bearer(text), *headers], CALL, client)


def told(drive: Any, verifier: Any, request: Request) -> str:
    try:
        drive(verifier, request)
    except AuthError as error:
        assert error.status != 429 or error.code == -32005
        return error.reason
    return ""


def counts(drive: Any, verifier: Any, *requests: Request) -> list[str]:
    return [told(drive, verifier, request) for request in requests]


def test_who_has_no_key_is_not_counted_by_key():
    limits = Limits(per_key=(Rate(86400, 1),), per_project=(Rate(86400, 9),))

    kinds = [charge.kind for charge in principal_charges(limits, "main", None, "alice")]

    assert kinds == ["per_project"]


PASS, FULL = "", "rate_limited"


@DRIVERS
@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ("per_ip: 2/day", [ask(), ask("bob"), ask("eve")], [PASS, PASS, FULL]),
        ("per_ip: 1/day", [ask(), ask(client="192.0.2.2")], [PASS, PASS]),
        ("per_key: 2/day", [ask(), ask("bob"), ask("eve")], [PASS, PASS, FULL]),
        ("per_key: 1/day", [ask(), ask(secret=OTHER_SECRET)], [PASS, PASS]),
        ("per_subject: 1/day", [ask(), ask("bob"), ask()], [PASS, PASS, FULL]),
        ("per_subject: 1/day", [ask(), ask(secret=OTHER_SECRET)], [PASS, FULL]),
        ("per_project: 2/day", [ask(), ask("bob"), ask("eve")], [PASS, PASS, FULL]),
        ("per_project: 1/day", [ask(), ask(target="/x"), ask(target="/x")], [PASS, PASS, FULL]),
        ("per_key: [100/hour, 2/day]", [ask(), ask(), ask()], [PASS, PASS, FULL]),
        ("per_key: [2/hour, 100/day]", [ask(), ask(), ask()], [PASS, PASS, FULL]),
        ("per_key: 1/day, per_ip: 9/day", [ask(), ask()], [PASS, FULL]),
    ],
)  # fmt: skip
def test_each_kind_counts_what_it_names(guard, drive, limits, requests, expected):
    assert counts(drive, guard(registry(limits)), *requests) == expected


@DRIVERS
def test_a_key_of_its_own_limits_has_these_in_place_of_the_projects(guard, drive):
    verifier = guard(registry("per_key: 1/day"))
    assert counts(drive, verifier, *[ask(secret=OTHER_SECRET)] * 4) == [PASS, PASS, PASS, FULL]
    assert counts(drive, verifier, ask(), ask()) == [PASS, FULL]
    key = Request("POST", f"/v1/{'k' * 32}", [], CALL)
    assert counts(drive, verifier, key, key) == [PASS, FULL]


@DRIVERS
def test_a_key_that_is_full_takes_nothing_from_the_project(guard, drive):
    verifier = guard(registry("per_key: 1/day, per_project: 2/day"))
    assert counts(drive, verifier, ask(), ask(), ask()) == [PASS, FULL, FULL]
    assert told(drive, verifier, ask(secret=OTHER_SECRET)) == PASS
    assert told(drive, verifier, ask(secret=OTHER_SECRET)) == FULL


@DRIVERS
def test_an_address_is_counted_before_anything_is_checked(guard, drive):
    verifier = guard(registry("per_ip: 3/day"))
    bad = Request("POST", "/v1", bearer("x"), CALL, "192.0.2.1")
    nothing = Request("POST", "/v1", [], CALL, "192.0.2.1")
    wrong = ask(secret="y" * 40)
    assert counts(drive, verifier, bad, nothing, wrong, bad, nothing, ask()) == [
        "malformed_credentials", "missing_credentials", "invalid_credentials", FULL, FULL, FULL,
    ]  # fmt: skip


@DRIVERS
def test_the_others_count_what_the_policy_lets_through(guard, drive):
    text = registry("per_project: 1/day").replace(
        "    limits: {per_project: 1/day}\n  other",
        "    limits: {per_project: 1/day}\n    allow: {ips: [192.0.2.1]}\n  other",
    )
    verifier = guard(text)
    strangers = [ask(client="192.0.2.9"), ask(secret="y" * 40)]
    assert counts(drive, verifier, *strangers) == ["forbidden_ip", "invalid_credentials"]
    assert counts(drive, verifier, ask(), ask()) == [PASS, FULL]


@DRIVERS
def test_a_refused_request_has_not_spent_its_nonce(guard, drive):
    verifier = guard(registry("per_ip: 1/day"))
    wallet = Wallet(1)

    def signed(nonce: str) -> Request:
        return Request("POST", "/solana", wallet.v1(nonce=nonce), CALL)

    assert counts(drive, verifier, signed("0" * 16), signed("1" * 16)) == [PASS, PASS]
    assert told(drive, verifier, signed("2" * 16)) == FULL
    verifier._limiter = Limiter(None)  # as when its time has come
    assert counts(drive, verifier, signed("2" * 16), signed("2" * 16)) == [PASS, "replayed"]


@DRIVERS
def test_a_revoked_credential_takes_nothing_from_the_others(guard, drive):
    verifier = guard(registry("per_project: 3/day"))
    verifier.revoke("bsc", subject="mallory")
    assert counts(drive, verifier, *[ask("mallory")] * 5) == ["revoked"] * 5
    assert counts(drive, verifier, *[ask()] * 4) == [PASS, PASS, PASS, FULL]
    assert counts(drive, verifier, ask("mallory")) == ["revoked"]


@DRIVERS
def test_a_wallet_is_one_key_whatever_it_proves_itself_with(guard, drive):
    verifier = guard(registry("per_ip: 1/day"))
    for number, most in ((1, 2), (2, 3)):
        wallet = Wallet(number)
        session = verifier.issue("solana", wallet.pubkey)["token"]
        key = verifier.new_api_key("solana", wallet.pubkey)
        requests = [
            Request("POST", "/solana", wallet.v1(), CALL),
            Request("POST", "/solana", bearer(session), CALL),
            Request("POST", "/solana", bearer(key), CALL),
            Request("POST", "/solana", bearer(session), CALL),
        ]
        assert counts(drive, verifier, *requests) == [PASS] * most + [FULL] * (4 - most)


@DRIVERS
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("2001:db8::1", "2001:db8::2", FULL),  # one host has its /64
        ("2001:db8::1", "2001:db8:0:1::1", PASS),
        ("::ffff:192.0.2.1", "192.0.2.1", FULL),
        ("unix", None, FULL),  # who cannot be told apart is counted together
        ("testclient", "unix", FULL),
    ],
)
def test_what_counts_as_one_address(guard, drive, first, second, expected):
    verifier = guard(registry("per_ip: 1/day"))
    assert counts(drive, verifier, ask(client=first), ask(client=second)) == [PASS, expected]


@DRIVERS
def test_only_trusted_proxies_say_whose_request_it_is(guard, drive):
    verifier = guard(registry("per_ip: 1/day"))
    forwarded = [("X-Forwarded-For", "203.0.113.1, 192.0.2.7")]
    spoofed = [("X-Forwarded-For", "203.0.113.2, 192.0.2.7")]
    assert counts(
        drive,
        verifier,
        ask(client="10.0.0.1", headers=forwarded),
        ask(client="10.0.0.1", headers=spoofed),
        ask(client="192.0.2.8", headers=forwarded),
        ask(client="192.0.2.8", headers=[("X-Forwarded-For", "203.0.113.3")]),
    ) == [PASS, FULL, PASS, FULL]


def test_the_name_of_a_network():
    assert network_of(None) == ""
    assert network_of(parse_address("192.0.2.1")) == "192.0.2.1"
    assert network_of(parse_address("2001:db8::5")) == "20010db800000000::/64"


@DRIVERS
def test_a_recheck_of_a_connection_is_not_counted(guard, drive):
    verifier = guard(registry("per_ip: 1/day, per_project: 1/day"))
    request = ask()
    assert told(drive, verifier, request) == PASS
    for _ in range(3):
        assert verifier.verify(request, standing=True).subject == "alice"
        assert asyncio.run(verifier.averify(request, standing=True)).subject == "alice"


def test_the_routes_that_issue_count_the_address(guard):
    verifier = guard(registry("per_ip: 1/day").replace("per_ip: 20/day", "per_ip: 2/day"))
    body = json.dumps({"pubkey": Wallet(1).pubkey}).encode()
    request = Request("POST", "/auth/challenge", [], body, "192.0.2.1")
    for _ in range(2):
        assert "challenge" in verifier.serve("/auth/challenge", request, "solana")
    for route in ("/auth/challenge", "/auth/verify", "/auth/refresh", "/account/api-key"):
        with pytest.raises(AuthError) as caught:
            verifier.serve(route, request, "solana")
        assert (caught.value.reason, caught.value.project) == (FULL, "solana")


def test_threads_are_counted_together_to_the_last_one(guard):
    verifier = guard(registry("per_project: 40/day"))
    results: list[str] = []

    def worker() -> None:
        results.extend(told(sync, verifier, ask()) for _ in range(10))

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (results.count(PASS), results.count(FULL)) == (40, 40)


FORKED = """
import os, sys, threading
from rpcguard.errors import AuthError
from rpcguard.limiter import Limiter
from rpcguard.rates import Charge, Rate

limiter = Limiter(None)
charge = Charge("per_ip", (Rate(86400, 1),), ("p", "a"))
limiter.spend([charge], lambda error: error)
storage = limiter._strategies()[0].storage
name = next(iter(storage.events))
storage.locks[name].acquire()  # as another thread may hold it at the moment of the fork
child = os.fork()
if child == 0:
    limiter.spend([charge], lambda error: error)  # its own counters: it neither hangs nor is refused
    os._exit(0)
storage.locks[name].release()
print(os.waitpid(child, 0)[1])
"""


def test_a_child_of_a_fork_counts_for_itself():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "0"


def test_a_limit_survives_a_reload_of_the_registry(guard):
    verifier = guard(registry("per_project: 1/day"))
    assert told(sync, verifier, ask()) == PASS
    verifier.reload()
    assert told(sync, verifier, ask()) == FULL


# --- What the refusal says ----------------------------------------------------------------------------


@DRIVERS
def test_the_refusal_says_what_is_limited_and_when_there_is_room(guard, drive):
    verifier = guard(registry("per_key: [5/hour, 1/day]"))
    drive(verifier, ask())
    with pytest.raises(AuthError) as caught:
        drive(verifier, ask())
    error = caught.value
    assert (error.status, error.code, error.project) == (429, -32005, "bsc")
    assert error.retry_after is not None and 0 < error.retry_after <= 86400
    found = dict(error.headers)
    assert found["RateLimit-Policy"] == '"per_key-3600s";q=5;w=3600, "per_key-86400s";q=1;w=86400'
    assert found["RateLimit"] == f'"per_key-86400s";r=0;t={error.retry_after}'
    assert len(found) == 2
    assert error.detail == "per_key: 1 in 86400 s"
    assert error.caller == ("jwt", "alice", "a")


@pytest.mark.parametrize("kind", ["per_ip", "per_key", "per_subject", "per_project"])
def test_the_refusal_names_the_kind(guard, kind):
    verifier = guard(registry(f"{kind}: 1/day"))
    verifier.verify(ask())
    with pytest.raises(AuthError) as caught:
        verifier.verify(ask())
    assert dict(caught.value.headers)["RateLimit-Policy"] == f'"{kind}-86400s";q=1;w=86400'


def test_many_requests_in_a_day_are_counted_in_constant_memory():
    """The moving window remembers each request; above `EXACT` the sliding counter does not."""
    limiter = Limiter(None)
    charge = Charge("per_project", (Rate(86400, EXACT + 1),), ("p",))
    for _ in range(EXACT + 1):
        limiter.spend([charge], lambda error: error)
    with pytest.raises(AuthError):
        for _ in range(3):  # at most one more at the edge of a day
            limiter.spend([charge], lambda error: error)
    storage = limiter._strategies()[1].storage
    assert len(storage.events) == 0
    assert len(storage.storage) <= 2


# --- The registry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("per_ip: 10", "expected requests per second"),
        ("per_ip: 0/second", "expected requests per second"),
        ("per_ip: -1/second", "expected requests per second"),
        ("per_ip: 10/s", "expected requests per second"),
        ("per_ip: 10/seconds", "expected requests per second"),
        ("per_ip: 10 / second", "expected requests per second"),
        ("per_ip: 1e3/second", "expected requests per second"),
        ("per_ip: 1000000000/second", "expected requests per second"),
        ("per_ip: []", "must not be empty"),
        ("per_ip: [1/second, 2/second]", "two rates for one period"),
        ("per_user: 1/second", "unknown key"),
        ("", "limits nothing"),
    ],
)
def test_limits_are_written_exactly(guard, limits, message):
    with pytest.raises(ConfigError, match=message):
        guard(registry(limits))


@pytest.mark.parametrize("kind", ["per_ip", "per_project"])
def test_a_key_cannot_limit_what_is_not_its_own(guard, kind):
    with pytest.raises(ConfigError, match="unknown key"):
        guard(
            registry("per_ip: 1/day").replace(
                "limits: {per_key: 1/day}", f"limits: {{{kind}: 1/day}}"
            )
        )


def test_limits_without_their_package_do_not_load(guard, monkeypatch):
    monkeypatch.setattr("rpcguard.registry.policies.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"install rpcguard\[limits\]"):
        guard(registry("per_ip: 1/day"))


@pytest.mark.parametrize(("limits", "loaded"), [("", False), ("limits: {per_ip: 1/day}", True)])
def test_the_package_is_loaded_only_where_something_is_limited(tmp_path, limits, loaded):
    path = tmp_path / "registry.yaml"
    path.write_text(
        f"version: 1\nbackend: memory://\nprojects:\n  a:\n    preset: meganode\n    {limits}\n"
        f'    secrets: [{{id: a, secret: "{SECRET}"}}]\n'
    )
    code = (
        "import sys\nfrom rpcguard import AuthError, Request, Verifier\n"
        f"with Verifier.from_yaml({str(path)!r}, watch=False) as verifier:\n"
        "    try:\n        verifier.verify(Request('GET', '/', []))\n"
        "    except AuthError as error:\n        print(error.reason)\n"
        "print('limits' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["missing_credentials", str(loaded)]


def test_names_that_are_over_are_forgotten_and_those_that_count_are_not(monkeypatch):
    """A stranger with many addresses, or many wallets, must not fill the memory for good."""
    monkeypatch.setattr("rpcguard.limiter.TIDY", 50)
    limiter = Limiter(None)

    def spend(name: str, period: int) -> None:
        limiter.spend([Charge("per_ip", (Rate(period, 1),), ("p", name))], lambda error: error)

    spend("full", 86400)
    for number in range(48):
        spend(f"short {number}", 1)
    storage = next(iter(limiter._opened.values()))[0].storage
    later = time.time() + 60
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: later))
    storage._MemoryStorage__expire_events()  # type: ignore[attr-defined]  # what its timer does
    assert len(storage.events) == 49  # type: ignore[attr-defined]
    spend("the 50th", 86400)
    spend("one more", 86400)
    assert len(storage.events) == 3  # type: ignore[attr-defined]
    for name in ("full", "the 50th", "one more"):
        with pytest.raises(AuthError, match="rate_limited"):
            spend(name, 86400)
