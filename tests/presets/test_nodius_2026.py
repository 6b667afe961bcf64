"""The successor of Nodius's document: one payload with a domain tag, API keys in X-Api-Key."""

from __future__ import annotations

import pytest
from minting import CALL, NOW, Wallet, bearer, key_digest, replaced, sha256

WALLET = Wallet()
API_KEY = "nk-0123456789abcdef"


def registry(extra: str = "") -> str:
    return f"""
version: 1
projects:
  solana:
    preset: nodius-2026
    match: {{path: [/solana, /ws/solana]}}
    wallets: open
    api_keys: [{{id: bot, digest: '{key_digest(API_KEY)}'}}]
{extra}
"""


def test_method_path_time_nonce_and_body_are_signed_behind_a_tag(service):
    principal = service(registry()).accepts("/solana", WALLET.v2026("POST", "/solana"))
    assert (principal.subject, principal.scheme) == (WALLET.pubkey, "signature")


def test_the_query_is_not_signed(service):
    guarded = service(registry())
    guarded.accepts("/solana?x=1", WALLET.v2026("POST", "/solana"))
    error = guarded.refuses("/solana?x=1", WALLET.v2026("POST", "/solana?x=1", nonce="n-2"))
    assert error.reason == "invalid_credentials"


def test_the_path_is_the_raw_one(service):
    guarded = service(registry())
    guarded.accepts("/solana/a%20b", WALLET.v2026("POST", "/solana/a%20b"))
    headers = WALLET.v2026("POST", "/solana/a b", nonce="n-2")
    assert guarded.refuses("/solana/a%20b", headers).reason == "invalid_credentials"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/solana"), ("POST", "/solana/"), ("POST", "/Solana"), ("", "")]
)
def test_another_method_or_path_does_not_verify(service, method, path):
    error = service(registry()).refuses("/solana", WALLET.v2026(method, path))
    assert error.reason == "invalid_credentials"


def test_the_public_prefix_is_signed(service):
    guarded = service(registry("    public_prefix: /rpc"))
    guarded.accepts("/solana", WALLET.v2026("POST", "/rpc/solana"))
    headers = WALLET.v2026("POST", "/solana", nonce="n-2")
    assert guarded.refuses("/solana", headers).reason == "invalid_credentials"


def test_the_older_protocols_do_not_pass(service):
    guarded = service(registry())
    for headers in (WALLET.v1(), WALLET.v2("POST", "/solana")):
        assert guarded.refuses("/solana", headers).reason == "invalid_credentials"


@pytest.mark.parametrize("version", ["1", "2", "9", "x"])
def test_there_are_no_version_headers(service, version):
    """A field that the protocol does not have is not looked at."""
    headers = [*WALLET.v2026("POST", "/solana"), ("X-Auth-Version", version)]
    service(registry()).accepts("/solana", headers)


@pytest.mark.parametrize(
    ("offset", "reason"),
    [(-60, None), (60, None), (-61, "expired"), (61, "not_yet_valid")],
)
def test_the_window_is_60_seconds_either_way(service, offset, reason):
    guarded = service(registry())
    headers = WALLET.v2026("POST", "/solana", timestamp=NOW + offset)
    if reason is None:
        guarded.accepts("/solana", headers)
    else:
        assert guarded.refuses("/solana", headers).reason == reason


@pytest.mark.parametrize(
    ("nonce", "accepted"),
    [
        ("a", True),
        ("Z" * 128, True),
        ("a_b:c.d,e-9", True),
        ("a1760000000:b", True),
        ("1760000000", True),
        (":", True),
        ("-1:a", True),
        ("", False),
        ("Z" * 129, False),
        ("a b", False),
        ("a/b", False),
        ("a\n", False),
        ("é", False),
        ("٣:a", False),
        ("0:a", False),
        ("1760000000:a", False),
        (f"{NOW}:" + "0" * 16, False),
    ],
)
def test_the_nonce(service, nonce, accepted):
    guarded = service(registry())
    headers = WALLET.v2026("POST", "/solana", nonce=nonce)
    if accepted:
        guarded.accepts("/solana", headers)
        assert guarded.refuses("/solana", headers).reason == "replayed"
    else:
        assert guarded.refuses("/solana", headers).reason == "malformed_credentials"


def test_fields_cannot_move_between_path_time_and_nonce(service):
    """One signature must not be two requests: `/solana:1` at 2 is `/solana` at 1 by its text."""
    guarded = service(registry())
    headers = WALLET.v2026("POST", f"/solana:{NOW}", timestamp=NOW, nonce="x")
    moved = replaced(headers, "X-Nonce", f"{NOW}:x")
    assert guarded.refuses("/solana", moved).reason == "malformed_credentials"


def test_a_nonce_with_a_comma_is_refused_where_repeated_headers_are_joined(service):
    guarded = service(registry())
    headers = WALLET.v2026("POST", "/solana", nonce="a,b")
    assert guarded.refuses("/solana", headers, joined=True).reason == "malformed_credentials"
    guarded.accepts("/solana", headers)


def test_a_replayed_nonce_of_an_older_time_is_refused_as_long_as_it_could_pass(service):
    guarded = service(registry())
    headers = WALLET.v2026("POST", "/solana", timestamp=NOW + 60)
    guarded.accepts("/solana", headers)
    guarded.now = NOW + 120
    assert guarded.refuses("/solana", headers).reason == "replayed"


def test_api_keys_come_in_x_api_key(service):
    guarded = service(registry())
    for name in ("X-Api-Key", "x-api-key", "X-API-KEY"):
        assert guarded.accepts("/solana", [(name, API_KEY)]).scheme == "api_key"
    assert guarded.refuses("/solana", bearer(API_KEY)).reason == "missing_credentials"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("X-Api-Key", "other")], "invalid_credentials"),
        ([("X-Api-Key", "")], "malformed_credentials"),
        ([("X-Api-Key", f"{API_KEY},{API_KEY}")], "malformed_credentials"),
        ([("X-Api-Key", f"{API_KEY} ")], "malformed_credentials"),
        ([("X-Api-Key", "é")], "malformed_credentials"),
        ([("X-Api-Key", "\udc80")], "malformed_credentials"),
        ([("X-Api-Key", "k" * 8193)], "malformed_credentials"),
        ([("X-Api-Key", API_KEY)] * 2, "malformed_credentials"),
        ([("X-Api-Key", API_KEY), ("X_Api_Key", API_KEY)], "malformed_credentials"),
        (
            [("X-Api-Key", API_KEY), *WALLET.v2026("POST", "/solana")],
            "ambiguous_credentials",
        ),
        ([("X-Api-Key", "bad"), ("X-Nonce", "bad")], "ambiguous_credentials"),
    ],
)
def test_other_api_keys(service, headers, reason):
    assert service(registry()).refuses("/solana", headers).reason == reason


def test_a_bearer_is_no_credential_here(service):
    guarded = service(registry())
    headers = [*WALLET.v2026("POST", "/solana"), *bearer("x.y.z")]
    assert guarded.accepts("/solana", headers).scheme == "signature"


def test_the_challenges(service):
    challenges = service(registry()).refuses("/solana").challenges
    assert sorted(challenges) == ['ApiKey realm="solana"', 'Signature realm="solana"']


def test_the_body_is_signed(service):
    guarded = service(registry())
    headers = WALLET.v2026("POST", "/solana", b"")
    assert guarded.refuses("/solana", headers, CALL).reason == "invalid_credentials"
    guarded.accepts("/solana", headers, b"")
    assert sha256(b"").startswith("e3b0c442")
