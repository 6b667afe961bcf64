"""One method for every way to authenticate."""

from __future__ import annotations

from functools import partial

import pytest

from rpcguard.client import tokens
from rpcguard.client.signers import ApiKeySigner, BearerSigner, OrderSigner, WalletSigner, reuse_of
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet, nodius_v1

NOW = 1_760_000_000.0
KEY = SigningKey.from_secret("a-shared-secret-of-more-than-32-bytes")
ORDER = b'{"currency": "BTC", "amount": "0.001", "orderId": "1"}'
FIELDS = {"/payouts/withdraw": ["currency", "amount", "orderId"]}


def test_a_bearer_token_is_minted_for_each_request():
    signer = BearerSigner(partial(tokens.meganode, KEY))
    first = signer.headers("POST", "/v1/", b"", NOW)
    assert first == {"Authorization": f"Bearer {tokens.meganode(KEY, NOW)}"}
    assert signer.headers("POST", "/v1/", b"", NOW + 1) != first


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (1, set()),
        (2, {"X-Auth-Version", "X-Http-Method", "X-Http-Path"}),
        (2026, set()),
    ],
)
def test_a_wallet_signs_in_the_version_that_was_chosen(version, names):
    wallet = Wallet.generate()
    headers = WalletSigner(wallet, version).headers("POST", "/solana", b"{}", NOW)
    assert set(headers) - set(nodius_v1(wallet, b"", NOW)) == names
    assert headers["X-Pubkey"] == wallet.pubkey


def test_a_wallet_signs_in_version_2_unless_told_otherwise():
    assert WalletSigner(Wallet.generate()).version == 2


def test_an_unknown_version_is_refused():
    with pytest.raises(ValueError, match="1, 2 or 2026"):
        WalletSigner(Wallet.generate(), 3)


def test_an_order_is_signed_by_the_fields_of_its_path():
    headers = OrderSigner("merchant-1", KEY, FIELDS).headers(
        "POST", "/payouts/withdraw?a=b", ORDER, NOW
    )
    assert set(headers) == {"Authorization", "X-Auth-Key"}
    assert headers["X-Auth-Key"] == "merchant-1"


@pytest.mark.parametrize(
    ("target", "body"), [("/payouts/refund", ORDER), ("/payouts/withdraw", b"{}")]
)
def test_an_order_that_cannot_be_bound_is_not_signed(target, body):
    with pytest.raises(ValueError):
        OrderSigner("merchant-1", KEY, FIELDS).headers("POST", target, body, NOW)


def test_signers_show_no_secret():
    token = "a-secret-token"
    shown = repr(BearerSigner(lambda _: token)) + repr(OrderSigner("m", KEY, FIELDS))
    assert token not in shown
    assert "a-shared-secret" not in shown


@pytest.mark.parametrize(
    ("signer", "name", "value"),
    [
        (ApiKeySigner("nod_00abc"), "Authorization", "Bearer nod_00abc"),
        (ApiKeySigner("nod_00abc", "authorization"), "authorization", "Bearer nod_00abc"),
        (ApiKeySigner("nod_00abc", "X-Api-Key"), "X-Api-Key", "nod_00abc"),
    ],
)
def test_an_api_key_goes_where_the_server_reads_it(signer, name, value):
    assert signer.headers("POST", "/", b"", NOW) == {name: value}
    assert "nod_00abc" not in repr(signer)


@pytest.mark.parametrize("key", ["", " a", "a\n", "a\r\nX-Evil: 1", "é", "a\x00"])
def test_what_cannot_stand_in_a_header_is_no_api_key(key):
    with pytest.raises(ValueError):
        ApiKeySigner(key)


@pytest.mark.parametrize(("lifetime", "reuse"), [(3600, 3540), (120, 60), (60, 30), (10, 5)])
def test_a_token_is_used_until_shortly_before_it_ends(lifetime, reuse):
    assert reuse_of(lifetime) == reuse


@pytest.mark.parametrize(
    ("signer", "needs_body", "reuse"),
    [
        (BearerSigner(lambda _: "t", 5), False, 5),
        (BearerSigner(lambda _: "t"), False, 0),
        (ApiKeySigner("k"), False, 0),
        (WalletSigner(Wallet.generate()), True, 0),
        (OrderSigner("merchant-1", KEY, FIELDS), True, 0),
    ],
)
def test_a_signer_says_what_it_is_bound_to(signer, needs_body, reuse):
    assert (signer.needs_body, signer.reuse) == (needs_body, reuse)
