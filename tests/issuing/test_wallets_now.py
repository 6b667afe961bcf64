"""A session, a refresh token and an API key are worth what their wallet is worth now."""

from __future__ import annotations

import pytest
from minting import CALL

from issuing.site import ALICE, BOB, ROTATING, registry
from rpcguard import AuthError, Request

IPS = {"home": "10.0.0.1", "away": "192.0.2.1"}
REFRESH = ", refresh: rotating"


def _listed(*entries: str) -> str:
    return registry(f"wallets: [{', '.join(f'{{{entry}}}' for entry in entries)}]", REFRESH)


A, B = f"pubkey: {ALICE.pubkey}, name: alice", f"pubkey: {BOB.pubkey}, name: bob"
HOME = "allow: {ips: [10.0.0.0/8]}"


def test_off_the_list_means_out_at_the_next_request(make):
    site = make(_listed(A, B))
    session, key = site.sign_in(BOB), site.key_for(BOB)
    for credential in (session["token"], key):
        principal = site.admits(credential)
        assert (principal.subject, principal.name) == (BOB.pubkey, "bob")
    site.reload(_listed(A))
    for credential in (session["token"], key):
        assert site.denies(credential) == "not_listed"
        assert site.denies(credential, standing=True) == "not_listed"
    assert site.refuses_refresh(session["refreshToken"]) == "not_listed"
    error = site.refuses("/account/api-key", b"", site.asks_for_key(BOB, 2))
    assert (error.status, error.reason) == (403, "not_listed")


def test_from_open_to_a_list(make):
    site = make(ROTATING)
    alices, bobs = site.sign_in(), site.sign_in(BOB)
    keys = site.key_for(), site.key_for(BOB)
    site.reload(_listed(A))
    assert site.admits(alices["token"]).name == site.admits(keys[0]).name == "alice"
    assert site.denies(bobs["token"]) == site.denies(keys[1]) == "not_listed"
    site.reload(ROTATING)
    assert site.admits(bobs["token"])
    assert site.admits(keys[1])


def test_its_addresses_apply_at_every_request(make):
    site = make(_listed(A))
    session, key = site.sign_in(client=IPS["away"])["token"], site.key_for(client=IPS["away"])
    site.reload(_listed(f"{A}, {HOME}"))
    for credential in (session, key):
        assert site.admits(credential, client=IPS["home"])
        assert site.denies(credential, client=IPS["away"]) == "forbidden_ip"
        assert site.denies(credential) == "forbidden_ip"


def test_its_addresses_apply_to_the_routes(make):
    site = make(_listed(f"{A}, {HOME}", B))
    assert site.sign_in(BOB, client=IPS["away"])
    text = site.challenge(client=IPS["away"])
    body = {"pubkey": ALICE.pubkey, "signature": ALICE.sign(text)}
    assert site.refuses("/auth/verify", body, client=IPS["away"]).reason == "forbidden_ip"
    session = site.verify(text, client=IPS["home"])  # the refusal has spent nothing
    headers = [("Authorization", f"Bearer {session['token']}")]
    refused = site.refuses("/auth/logout", b"", headers, client=IPS["away"])
    assert refused.reason == "forbidden_ip"
    refused = site.refuses("/account/api-key", b"", site.asks_for_key(), client=IPS["away"])
    assert refused.reason == "forbidden_ip"
    assert site.key_for(client=IPS["home"])


def test_its_addresses_apply_to_refreshing(make):
    site = make(_listed(f"{A}, {HOME}"))
    text = site.sign_in(client=IPS["home"])["refreshToken"]
    assert site.refuses_refresh(text, client=IPS["away"]) == "forbidden_ip"
    assert site.refresh(text, client=IPS["home"])  # the refusal has spent nothing


@pytest.mark.parametrize("method", ["getSlot", "sendTransaction"])
def test_its_methods_apply_to_sessions_and_keys(make, method):
    site = make(_listed(f"{A}, allow: {{methods: [getSlot]}}"))
    body = CALL.replace(b"eth_blockNumber", method.encode())
    for credential in (site.sign_in()["token"], site.key_for()):
        request = Request("POST", "/", [("Authorization", f"Bearer {credential}")], body)
        try:
            site.verifier.verify(request)
            reason = ""
        except AuthError as error:
            reason = error.reason
        assert reason == ("" if method == "getSlot" else "forbidden_method")


def test_a_version_that_one_wallet_must_use_binds_its_api_key_too(make):
    site = make(_listed(f"{A}, min_version: 2", B))
    for wallet, reason in ((ALICE, "unsupported_algorithm"), (BOB, None)):
        signed = wallet.v1(b"", nonce="00000000000000ff")
        if reason:
            assert site.refuses("/account/api-key", b"", signed).reason == reason
        else:
            assert site.serve("/account/api-key", b"", signed)["apiKey"]
    assert site.key_for(ALICE)
