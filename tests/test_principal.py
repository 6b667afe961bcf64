"""Who is calling, as a value."""

from __future__ import annotations

import copy
import pickle

from rpcguard import Principal

PRINCIPAL = Principal("alice", "bsc", "jwt", key_id="k", expires_at=1.5, claims={"a": [1]})


def test_a_principal_can_be_copied_and_pickled():
    for again in (
        copy.copy(PRINCIPAL),
        copy.deepcopy(PRINCIPAL),
        pickle.loads(pickle.dumps(PRINCIPAL)),
    ):
        assert again == PRINCIPAL
        assert again.claims == {"a": [1]}


def test_the_registrys_name_is_all_that_differs_and_costs_no_copy_of_the_claims():
    named = PRINCIPAL.called("ops")
    assert (named.name, named != PRINCIPAL, named.who) == ("ops", True, PRINCIPAL.who)
    assert (named.expires_at, named.claims) == (1.5, {"a": [1]})
    assert named._facts[6] is PRINCIPAL._facts[6]
