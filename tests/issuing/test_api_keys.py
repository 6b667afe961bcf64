"""API keys that rpcguard issues: asked for by signature, kept by digest, one to a wallet."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from minting import NOW, bearer, flip_bit, key_digest, replaced, without

from issuing.site import ALICE, BOB, MALLORY, OPEN, Site, registry
from rpcguard import ConfigError, Request
from rpcguard.errors import BackendError
from rpcguard.owed import bucket

ROUTE = "/account/api-key"
NEXT = OPEN.replace("preset: nodius", "preset: nodius-2026")


def test_the_form_of_a_key(make):
    site = make(OPEN)
    key = site.key_for()
    shard = bucket("solana", ALICE.pubkey)
    assert re.fullmatch(rf"nod_{shard:02x}[0-9a-f]{{40,}}", key)
    principal = site.admits(key)
    assert (principal.subject, principal.project) == (ALICE.pubkey, "solana")
    assert (principal.scheme, principal.expires_at) == ("api_key", None)
    assert principal.key_id
    assert principal.key_id not in key


def test_a_key_does_not_expire(make):
    site = make(OPEN)
    key = site.key_for()
    site.now = NOW + 50 * 365 * 86400
    site.key_for(BOB)  # a write, which prunes what has ended
    assert site.admits(key)


def test_a_new_key_ends_the_one_before_everywhere(make):
    one, other = make(OPEN), make(OPEN)
    keys = [one.key_for(nonce=number) for number in range(1, 6)]
    assert len(set(keys)) == 5
    for site in (one, other):
        for key in keys[:-1]:
            assert site.denies(key) == "invalid_credentials"
        assert site.admits(keys[-1])


def test_a_new_key_ends_nobody_elses(make):
    site = make(OPEN)
    bobs = site.key_for(BOB)
    site.key_for()
    site.key_for(nonce=2)
    assert site.admits(bobs).subject == BOB.pubkey


def test_a_refused_request_for_a_key_ends_none(make):
    site = make(OPEN)
    key = site.key_for()
    signed = site.asks_for_key(nonce=2)
    site.refuses(ROUTE, b"", replaced(signed, "X-Nonce", "00000000000000ff"))
    assert site.admits(key)


def test_the_signature_works_once(make):
    one, other = make(OPEN), make(OPEN)
    signed = one.asks_for_key()
    key = one.serve(ROUTE, b"", signed)["apiKey"]
    for site in (one, other):
        error = site.refuses(ROUTE, b"", signed)
        assert (error.status, error.reason) == (401, "replayed")
        assert site.admits(key)


def test_nothing_but_a_wallet_signature_counts(make):
    site = make(OPEN)
    session, key = site.sign_in()["token"], site.key_for()
    for headers in ([], bearer(session), bearer(key), [("X-Api-Key", key)]):
        error = site.refuses(ROUTE, b"", headers)
        assert (error.status, error.reason) == (401, "missing_credentials")
        assert error.challenges == ('Signature realm="sol-1"',)
    assert site.admits(key)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("X-Signature", MALLORY.sign("x")), "invalid_credentials"),
        (("X-Pubkey", MALLORY.pubkey), "invalid_credentials"),
        (("X-Timestamp", str(NOW - 31)), "invalid_credentials"),
        (("X-Http-Path", "/"), "invalid_binding"),
        (("X-Http-Method", "GET"), "invalid_binding"),
        (("X-Auth-Version", "3"), "unsupported_algorithm"),
    ],
)
def test_a_signature_that_is_wrong(make, change, reason):
    site = make(OPEN)
    assert site.refuses(ROUTE, b"", replaced(site.asks_for_key(), *change)).reason in (
        reason,
        "expired",
    )


@pytest.mark.parametrize("name", ["X-Pubkey", "X-Signature", "X-Timestamp", "X-Nonce"])
def test_a_signature_that_lacks_a_field(make, name):
    site = make(OPEN)
    error = site.refuses(ROUTE, b"", without(site.asks_for_key(), name))
    assert error.reason == "malformed_credentials"


def test_a_signature_for_another_route_or_body_gives_no_key(make):
    site = make(OPEN)
    signed = ALICE.v2("POST", "/", b"")
    assert site.refuses(ROUTE, b"", signed).reason == "invalid_binding"
    error = site.refuses(ROUTE, b"{}", site.asks_for_key())
    assert error.reason == "invalid_credentials"
    signed = ALICE.v2("POST", ROUTE, b'{"a": 1}', nonce="00000000000000aa")
    assert site.serve(ROUTE, {"a": 1}, signed)["apiKey"]


def test_a_signature_that_was_used_for_a_call_gives_no_key(make):
    """Version 1 binds no path: the nonce, one for both, is what keeps it from a second use."""
    site = make(OPEN)
    signed = ALICE.v1(b"")
    assert site.verifier.verify(Request("POST", "/", signed, b""))
    assert site.refuses(ROUTE, b"", signed).reason == "replayed"


@pytest.mark.parametrize(
    ("lowest", "reason"),
    [
        ("", None),
        ("api_key: {min_version: 1}", None),
        ("api_key: {min_version: 2}", "unsupported_algorithm"),
        ("min_version: 2", "unsupported_algorithm"),
        ("min_version: 2\napi_key: {min_version: 1}", "unsupported_algorithm"),
    ],
)
def test_which_version_asks_for_a_key(make, lowest, reason):
    site = make(registry(f"wallets: open\n{lowest}".rstrip()))
    signed = ALICE.v1(b"")
    if reason:
        assert site.refuses(ROUTE, b"", signed).reason == reason
    else:
        assert site.admits(site.serve(ROUTE, b"", signed)["apiKey"])
    assert site.admits(site.key_for(nonce=7))


def test_version_2_for_keys_leaves_version_1_for_the_rest(make):
    site = make(registry("wallets: open\napi_key: {min_version: 2}"))
    assert site.admits(ALICE.v1())


def test_a_version_for_keys_that_the_preset_does_not_have_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="min_version"):
        Site(tmp_path, registry("wallets: open\napi_key: {min_version: 3}"), "memory://")


def test_the_successor_protocol_reads_keys_in_their_own_header(make):
    site = make(NEXT)
    signed = ALICE.v2026("POST", ROUTE, b"")
    key = site.serve(ROUTE, b"", signed)["apiKey"]
    assert key.startswith("nod_")
    principal = site.admits([("X-Api-Key", key)])
    assert (principal.subject, principal.scheme) == (ALICE.pubkey, "api_key")
    assert site.denies(key)  # behind Bearer it is none
    session = site.sign_in()["token"]
    assert site.denies([("X-Api-Key", key), *bearer(session)]) == "ambiguous_credentials"


def test_static_and_issued_keys_side_by_side(make):
    static = "nod_static-key-of-the-operator"
    site = make(registry(f'wallets: open\napi_keys: [{{id: ops, digest: "{key_digest(static)}"}}]'))
    issued = site.key_for()
    assert site.admits(static).key_id == "ops"
    assert site.admits(issued).subject == ALICE.pubkey
    assert site.denies(static + "x") == "invalid_credentials"
    site.verifier.revoke("solana", key="ops")
    assert site.denies(static) == "revoked"
    assert site.admits(issued)


def test_a_static_key_that_was_an_issued_one_is_static(make):
    """The registry wins, and it is not looked up twice."""
    site = make(OPEN)
    key = site.key_for()
    site.reload(registry(f'wallets: open\napi_keys: [{{id: ops, digest: "{key_digest(key)}"}}]'))
    assert site.admits(key).key_id == "ops"


def test_no_other_text_is_the_key(make):
    site = make(OPEN)
    key = site.key_for()
    wrong = {flip_bit(key, position) for position in range(len(key) * 7)}
    wrong |= {key[:-1], key + "0", key + "=", key[:4], key[:6], key.upper(), key + key}
    for text in wrong - {key}:
        assert site.denies(text) in ("invalid_credentials", "malformed_credentials")
    assert site.admits(key)


def test_the_digest_of_a_key_is_no_key(make):
    site = make(OPEN)
    key = site.key_for()
    digest = key_digest(key).removeprefix("sha256:")
    for text in (f"nod_{digest}", f"nod_{key[4:6]}{digest}", f"nod_{site.admits(key).key_id}"):
        assert site.denies(text) == "invalid_credentials"


def test_a_key_of_one_project_is_none_of_another(make):
    text = registry("wallets: open\nmatch: {path: /a}") + registry(
        "wallets: open\nmatch: {path: /b}"
    ).partition("projects:")[2].replace("solana", "other").replace("sol-1", "sol-2")
    site = make(text)
    key = site.key_for(project="solana")
    assert site.admits(key, "/a")
    assert site.denies(key, "/b") == "invalid_credentials"


def _contents(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in store.parent.glob(f"{store.name}*"))


@pytest.mark.parametrize("ended", [False, True])
def test_no_file_holds_a_key_or_a_refresh_token(tmp_path, store, ended):
    text = registry(session=", refresh: rotating")
    site = Site(tmp_path, text, f"sqlite:///{store}")
    with closing(site.verifier):
        key, first = site.key_for(), site.sign_in()
        second = site.refresh(first["refreshToken"])
        if ended:
            site.key_for(nonce=2)
            site.serve("/auth/logout", b"", bearer(second["token"]))
        seen = _contents(store)
    for raw in (seen, _contents(store)):
        assert ALICE.pubkey.encode() in raw or ended
        for text in (key, first["refreshToken"], second["refreshToken"], first["token"]):
            assert text.encode() not in raw
            assert text[6:].encode() not in raw
            assert text[-24:].encode() not in raw
        assert bytes.fromhex(key[6:]) not in raw


# For operators


def test_a_key_for_an_operator_may_have_an_end(make):
    one, other = make(OPEN), make(OPEN)
    key = one.verifier.new_api_key("solana", ALICE.pubkey, NOW + 60)
    for site in (one, other):
        assert site.admits(key).expires_at == NOW + 60
        site.now = NOW + 59.9
        assert site.admits(key)
        site.now = NOW + 60
        assert site.denies(key) == "invalid_credentials"


def test_a_wallet_and_its_operator_share_one_key(make):
    site = make(OPEN)
    own = site.key_for()
    operators = site.verifier.new_api_key("solana", ALICE.pubkey)
    assert site.denies(own) == "invalid_credentials"
    assert site.admits(operators)
    own = site.key_for(nonce=2)
    assert site.denies(operators) == "invalid_credentials"
    assert site.admits(own)


@pytest.mark.parametrize("project", ["none", "plain"])
def test_a_key_needs_a_project_that_issues_keys(make, project):
    text = OPEN + "\n  plain: {preset: meganode, match: {path: /p}, secrets: []}\n"
    with pytest.raises(LookupError):
        make(text).verifier.new_api_key(project, ALICE.pubkey)


def test_a_project_that_issues_no_keys_says_so(make):
    text = OPEN + "\n  plain: {preset: meganode, match: {path: /p}, secrets: []}\n"
    error = make(text).refuses(ROUTE, b"", ALICE.v2("POST", ROUTE, b""), project="plain")
    assert (error.status, error.project) == (403, "plain")


def test_a_key_is_issued_without_a_session_too(make):
    text = OPEN.partition("    session:")[0]
    site = make(text)
    key = site.serve(ROUTE, b"", site.asks_for_key(), project="solana")["apiKey"]
    assert site.admits(key).subject == ALICE.pubkey


def test_a_key_that_cannot_be_recorded_is_not_given(tmp_path, store):
    site = Site(tmp_path, OPEN, f"sqlite:///{store}")
    with closing(site.verifier):
        key = site.key_for()
        backend = site.verifier._backend
        real = backend.put

        def failing(record, now):
            raise BackendError("the disk is full")

        backend.put = failing
        error = site.refuses(ROUTE, b"", site.asks_for_key(nonce=2))
        assert (error.status, error.reason) == (503, "backend_unavailable")
        backend.put = real
        assert site.admits(key)  # the one before still stands
        assert site.key_for(nonce=3)


def test_the_answer_is_all_there_is(make):
    site = make(OPEN)
    key = site.key_for()
    assert key not in json.dumps(site.admits(key).claims)
    assert key not in repr(site.admits(key))
    assert site.admits(key, standing=True)
    site.key_for(nonce=2)
    assert site.denies(key, standing=True) == "invalid_credentials"
