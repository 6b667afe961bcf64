"""Which wallets may call."""

from __future__ import annotations

import pytest

from rpcguard import AuthError
from rpcguard.policy import Names, Policy
from rpcguard.schemes.wallets import ANY, Wallet, Wallets

BODY = Policy(methods=Names(["getSlot"]))
NO_BODY = Policy(networks=())


def test_open_means_any():
    wallets = Wallets(None)
    for key in ("x", "", "é"):
        assert wallets.find(key) is ANY
    assert (ANY.name, ANY.min_version, ANY.allow) == (None, 0, None)
    assert not wallets.needs_body


def test_a_list_means_those():
    alice = Wallet("alice", 2, NO_BODY)
    wallets = Wallets({"a": alice, "b": Wallet()})
    assert wallets.find("a") is alice
    assert wallets.find("b").name is None


@pytest.mark.parametrize("listed", [{}, {"a": Wallet()}])
@pytest.mark.parametrize("key", ["", "A", " a", "ab", "open"])
def test_all_others_are_refused(listed, key):
    with pytest.raises(AuthError) as caught:
        Wallets(listed).find(key)
    assert (caught.value.status, caught.value.reason) == (403, "not_listed")


@pytest.mark.parametrize(
    ("policies", "needs"),
    [
        ([], False),
        ([None], False),
        ([NO_BODY], False),
        ([BODY], True),
        ([None, NO_BODY, BODY], True),
    ],
)
def test_the_body_is_needed_where_one_wallets_policy_needs_it(policies, needs):
    listed = {str(number): Wallet(allow=policy) for number, policy in enumerate(policies)}
    assert Wallets(listed).needs_body == needs


def test_a_wallet_brings_its_policy_where_it_has_one():
    wallets = Wallets({"a": Wallet(allow=BODY), "b": Wallet()})
    assert [wallets.policies(key) for key in ("a", "b")] == [(BODY,), ()]
    assert Wallets(None).policies("anyone") == ()
    with pytest.raises(AuthError):
        wallets.policies("c")
