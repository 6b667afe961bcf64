"""What is left for the backend's answer, and what is asked again of what stands."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from minting import CALL, NOW
from presented import GOOD, OWED, SIGNED, Presented, asked, guarding, jwt, refused, signature

from rpcguard import AuthError, Principal, Request
from rpcguard.authenticator import Authenticator
from rpcguard.owed import Answer, Nonce, Owed, Verdict
from rpcguard.pending import Pending
from rpcguard.policy import Names, Policy, charges_of
from rpcguard.rates import Charge, Limits, Rate
from rpcguard.schemes.base import Claim, Incoming, Proof
from rpcguard.trace import Step, Trace

# --- What is left for the backend's answer -----------------------------------------------------------


class Recorded(Presented):
    """A scheme whose credential says nothing: the record's value tells whose it is."""

    policies: tuple[Policy, ...] = ()
    needs_body = False

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Any:
        def conclude(value: str) -> Proof:
            if value == "refused":
                raise AuthError("not_listed")
            return Proof(Principal(value, "one", "api_key", key_id="k"), Owed(), self.policies)

        return Claim(Owed("one", record=b"name"), conclude, self.needs_body)


def recorded(*policies: Policy, **facts: Any) -> tuple[Recorded, Authenticator]:
    scheme = Recorded("record", "ApiKey", **facts)
    scheme.policies = policies
    return scheme, guarding(scheme)


KEYED = ("X-Record", "good")
DAY = (Rate(86400, 5),)


def said(value: str | None) -> Answer:
    return Answer(Verdict.OK, value)


def test_whose_record_it_is_is_known_at_the_end_and_counted_then():
    _, guard = recorded(Policy(limits=Limits(per_subject=DAY)))
    pending = asked(guard, KEYED)
    assert isinstance(pending, Pending)
    assert pending.charges == ()
    assert pending.conclude(said("alice")).subject == "alice"
    assert pending.take_charges() == (Charge("per_subject", DAY, ("one", "alice")),)


def test_the_limits_of_the_project_count_whoever_a_record_names():
    limited = Policy(limits=Limits(per_project=DAY))
    scheme = Recorded("record", "ApiKey")
    pending = asked(guarding(scheme, policy=limited), KEYED)
    pending.conclude(said("alice"))
    assert pending.charges == (Charge("per_project", DAY, ("one",)),)


def test_a_backend_that_gives_no_record_lets_nobody_in():
    _, guard = recorded()
    with pytest.raises(AuthError) as caught:
        asked(guard, KEYED).conclude(said(None))
    assert (caught.value.reason, caught.value.project) == ("backend_unavailable", "id-1")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Policy(networks=()), "forbidden_ip"),
        (Policy(origins=(("https", "a.example", "443"),)), None),
        (Policy(origins=(("https", "b.example", "443"),)), "forbidden_origin"),
        (Policy(methods=Names(["eth_blockNumber"])), None),
        (Policy(methods=Names(["eth_call"])), "forbidden_method"),
    ],
)
def test_the_policy_of_a_record_judges_the_request_that_showed_it(policy, reason):
    scheme, guard = recorded(policy)
    scheme.needs_body = policy.needs_body
    pending = asked(guard, KEYED, ("Origin", "https://a.example"))
    if reason is None:
        assert pending.conclude(said("alice")).subject == "alice"
        return
    with pytest.raises(AuthError) as caught:
        pending.conclude(said("alice"))
    assert (caught.value.reason, caught.value.project) == (reason, "id-1")
    assert caught.value.caller == Principal("alice", "one", "api_key", key_id="k").who


def test_a_record_that_refuses_names_nobody():
    _, guard = recorded()
    with pytest.raises(AuthError) as caught:
        asked(guard, KEYED).conclude(said("refused"))
    assert (caught.value.reason, caught.value.project) == ("not_listed", "id-1")
    assert caught.value.caller is None


def test_a_record_is_noted_before_it_is_judged():
    _, guard = recorded()
    trace = Trace()
    pending = asked(guard, KEYED, trace=trace)
    pending.conclude(said("alice"))
    assert trace.steps[-1] == Step("wallet", "still allowed, and what it may do")


@pytest.mark.parametrize("policy", [None, Policy(networks=(ip_network("10.0.0.1"),))])
def test_a_refusal_by_the_backend_has_the_projects_form_and_names_who_was_proved(policy):
    pending = asked(guarding(jwt(), policy=policy), GOOD, client="10.0.0.1")
    with pytest.raises(AuthError) as caught:
        pending.conclude(Answer.REVOKED)
    assert (caught.value.reason, caught.value.project) == ("revoked", "id-1")
    assert caught.value.caller == Principal("me", "one", "jwt").who


def test_a_refusal_by_policy_names_who_was_proved():
    error = refused(guarding(jwt(), policy=Policy(networks=())), GOOD)
    assert error.caller == Principal("me", "one", "jwt").who


@pytest.mark.parametrize("limits", [None, Limits(per_key=DAY)])
def test_who_is_proved_is_counted_by_the_policies_that_apply(limits):
    policy = Policy(networks=(ip_network("10.0.0.1"),), limits=limits)
    pending = asked(guarding(jwt(), policy=policy), GOOD, client="10.0.0.1")
    charged = () if limits is None else charges_of([policy], Principal("me", "one", "jwt"))
    assert pending.charges == charged


@pytest.mark.parametrize(("websocket", "network"), [(False, ""), (True, "10.0.0.1")])
def test_only_a_connection_remembers_where_it_comes_from(websocket, network):
    policy = Policy(networks=(ip_network("10.0.0.1"),))
    pending = asked(guarding(jwt(), policy=policy), GOOD, client="10.0.0.1", websocket=websocket)
    assert pending.conclude(Answer.OK).network == network


def test_the_origin_is_judged_for_a_proof_too():
    guard = guarding(jwt(), policy=Policy(origins=(("https", "a.example", "443"),)))
    assert isinstance(asked(guard, GOOD, ("Origin", "https://a.example")), Pending)
    assert refused(guard, GOOD, ("Origin", "https://b.example")).reason == "forbidden_origin"


# --- Asked again whether it still stands --------------------------------------------------------------


class Once(Presented):
    """A scheme whose proof works once, and remembers how it was asked."""

    standing: bool | None = None

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof:
        self.standing = standing
        nonce = Nonce(b"nonce", now + 60)
        return Proof(Principal("me", "one", "jwt"), OWED._replace(nonce=nonce))


@pytest.mark.parametrize("standing", [False, True])
def test_what_stands_is_not_spent_again_nor_counted(standing):
    scheme = Once("jwt", "Bearer")
    guard = guarding(scheme, policy=Policy(limits=Limits(per_subject=DAY)))
    pending = asked(guard, GOOD, standing=standing)
    assert isinstance(pending, Pending)
    assert scheme.standing is standing
    assert pending.owed == OWED._replace(nonce=None if standing else Nonce(b"nonce", NOW + 60))
    assert bool(pending.charges) is not standing


def test_whoever_holds_a_record_is_not_counted_again():
    _, guard = recorded(Policy(limits=Limits(per_subject=DAY)))
    pending = asked(guard, KEYED, standing=True)
    pending.conclude(said("alice"))
    assert pending.charges == ()


def test_https_is_what_a_trusted_proxy_says_it_is():
    guard = guarding(jwt(), require_https=True)
    told = ("X-Forwarded-Proto", "https")
    assert isinstance(asked(guard, GOOD, told, client="10.0.0.1", scheme="http"), Pending)
    assert refused(guard, GOOD, told, client="192.0.2.1", scheme="http").reason == "https_required"


def test_any_time_after_the_epoch_is_one():
    guard = guarding(jwt(), anonymous=True)
    assert isinstance(guard.authenticate(Request("POST", "/one", [], CALL), 0.5), Pending)


def test_a_body_that_is_not_read_yet_is_noted_as_such():
    trace = Trace()
    asked(guarding(signature()), SIGNED, body=None, trace=trace)
    assert trace.steps[-1] == Step("body", "unread; limit 5242880; not encoded")
