"""The order of work: target, project, one kind of credential, its scheme, policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

import pytest
from minting import CALL, NOW
from presented import GOOD, OWED, SIGNED, Presented, asked, guarding, jwt, refused, signature

from rpcguard import AuthError, Principal, Request
from rpcguard.authenticator import Authenticator, refuse_encoded
from rpcguard.peer import Proxies
from rpcguard.pending import Pending
from rpcguard.places import KNOWN_PLACES, KNOWN_TEXT
from rpcguard.policy import Names, Policy
from rpcguard.project import Bounds, Project, Refusals
from rpcguard.schemes.base import Incoming, NeedBody, Proof
from rpcguard.sessions import Sessions
from rpcguard.steps import BodyWanted
from rpcguard.target import Match, Router

# --- One kind of credential -----------------------------------------------------------------------


def test_a_proof_waits_for_the_backend():
    pending = asked(guarding(jwt()), GOOD)
    assert isinstance(pending, Pending)
    assert pending.owed == OWED


def test_two_kinds_are_ambiguous_and_neither_is_verified():
    one, two = jwt(), signature()
    guard = guarding(one, two)
    for values in (("good", "good"), ("good", "expired"), ("expired", "good"), ("", "")):
        error = refused(guard, ("X-Jwt", values[0]), ("X-Signature", values[1]))
        assert (error.reason, error.status, error.code) == ("ambiguous_credentials", 400, -32600)
    assert (one.proved, two.proved) == (0, 0)


def test_the_failure_of_the_kind_that_is_there_is_final():
    one, two = jwt(), signature()
    guard = guarding(one, two, anonymous=True)
    assert refused(guard, ("X-Jwt", "expired")).reason == "expired"
    assert two.proved == 0


def test_a_kind_that_the_project_does_not_enable_is_not_looked_at():
    guard = guarding(jwt())
    assert isinstance(asked(guard, GOOD, SIGNED), Pending)
    assert refused(guard, SIGNED).reason == "missing_credentials"


def test_a_narrowed_route_takes_the_named_kinds_alone():
    guard = guarding(jwt(), signature())
    assert isinstance(asked(guard, GOOD, schemes=["jwt"]), Pending)
    assert isinstance(asked(guard, SIGNED, schemes={"signature"}), Pending)
    assert refused(guard, GOOD, schemes=["signature"]).reason == "missing_credentials"
    assert refused(guard, GOOD, schemes=[]).reason == "missing_credentials"


@pytest.mark.parametrize("schemes", [None, ["jwt"], ["jwt", "signature"], []])
def test_two_kinds_that_the_project_enables_are_ambiguous_on_every_route(schemes):
    guard = guarding(jwt(), signature())
    assert refused(guard, GOOD, SIGNED, schemes=schemes).reason == "ambiguous_credentials"


def test_one_name_is_no_collection_of_kinds():
    with pytest.raises(TypeError):
        asked(guarding(jwt()), GOOD, schemes="xjwtx")


def test_without_a_credential_it_is_missing_unless_the_project_is_open():
    assert refused(guarding(jwt())).reason == "missing_credentials"
    pending = asked(guarding(jwt(), anonymous=True))
    assert isinstance(pending, Pending)
    principal = pending.conclude(None)
    assert (principal.subject, principal.scheme, principal.project) == ("anonymous", "none", "one")


def test_a_narrowed_route_of_an_open_project_is_not_open():
    guard = guarding(jwt(), anonymous=True)
    assert refused(guard, schemes=["jwt"]).reason == "missing_credentials"


# --- Then policy ------------------------------------------------------------------------------------


def test_the_credential_is_judged_before_policy():
    policy = Policy(networks=())
    guard = guarding(jwt(), policy=policy)
    assert refused(guard).reason == "missing_credentials"
    assert refused(guard, ("X-Jwt", "expired")).reason == "expired"
    assert refused(guard, GOOD).reason == "forbidden_ip"


def test_the_policies_of_project_and_key_both_hold():
    class Keyed(Presented):
        def prove(
            self, incoming: Incoming, now: float, *, standing: bool = False
        ) -> Proof | NeedBody:
            return Proof(Principal("me", "one", "jwt"), OWED, (Policy(methods=Names(["b"])),))

    guard = guarding(Keyed("jwt", "Bearer"), policy=Policy(methods=Names(["a", "b"])))
    for method, allowed in (("a", False), ("b", True), ("c", False)):
        body = CALL.replace(b"eth_blockNumber", method.encode())
        if allowed:
            asked(guard, GOOD, body=body)
        else:
            assert refused(guard, GOOD, body=body).reason == "forbidden_method"


def test_policy_holds_for_the_anonymous_too():
    guard = guarding(jwt(), anonymous=True, policy=Policy(networks=(ip_network("192.0.2.0/24"),)))
    assert isinstance(asked(guard, client="192.0.2.1"), Pending)
    assert refused(guard, client="198.51.100.1").reason == "forbidden_ip"
    assert refused(guard).reason == "forbidden_ip"


def test_a_client_behind_a_trusted_proxy():
    guard = guarding(jwt(), policy=Policy(networks=(ip_network("192.0.2.0/24"),)))
    forwarded = ("X-Forwarded-For", "192.0.2.1")
    assert isinstance(asked(guard, GOOD, forwarded, client="10.0.0.1"), Pending)
    assert refused(guard, GOOD, forwarded, client="198.51.100.1").reason == "forbidden_ip"


def test_frames_of_a_socket_are_not_judged_by_the_body_of_its_handshake():
    guard = guarding(jwt(), policy=Policy(methods=Names(["*"])))
    error = refused(guard, GOOD, body=b"", websocket=True)
    assert error.reason == "forbidden_method"


def test_https_is_demanded_before_anything_else():
    guard = guarding(jwt(), require_https=True)
    assert isinstance(asked(guard, GOOD, scheme="https"), Pending)
    for headers in ((), (GOOD,), (("X-Jwt", "expired"),)):
        error = refused(guard, *headers, scheme="http")
        assert (error.reason, error.status) == ("https_required", 403)


# --- The body ---------------------------------------------------------------------------------------


def test_the_body_is_wanted_where_the_credential_covers_it():
    guard = guarding(jwt(), signature(), bounds=Bounds(max_body=99))
    wanted = asked(guard, SIGNED, body=None)
    assert isinstance(wanted, BodyWanted)
    assert (wanted.limit, wanted.project.name) == (99, "one")
    assert isinstance(asked(guard, SIGNED, body=b""), Pending)


def test_the_body_is_wanted_where_policy_judges_calls():
    for policy in (Policy(methods=Names(["*"])), Policy(addresses=frozenset())):
        wanted = asked(guarding(jwt(), policy=policy), GOOD, body=None)
        assert isinstance(wanted, BodyWanted)
    for policy in (None, Policy(networks=(ip_network("192.0.2.1"),))):
        guard = guarding(jwt(), policy=policy)
        assert isinstance(asked(guard, GOOD, body=None, client="192.0.2.1"), Pending)


def test_a_bad_credential_is_refused_before_the_body_is_wanted():
    guard = guarding(signature(), policy=Policy(methods=Names(["*"])))
    assert refused(guard, ("X-Signature", "expired"), body=None).reason == "expired"
    assert refused(guard, body=None).reason == "missing_credentials"


@pytest.mark.parametrize("body", [None, CALL], ids=["not read", "read"])
@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ([], True),
        (["identity"], True),
        (["Identity "], True),
        ([""], True),
        (["gzip"], False),
        (["GZIP"], False),
        (["br"], False),
        (["identity", "gzip"], False),
        (["identity, gzip"], False),
        (["x"], False),
    ],
)
def test_a_body_that_is_needed_must_not_be_encoded(values, accepted, body):
    headers = [("Content-Encoding", value) for value in values]
    policy = Policy(methods=Names(["*"]))
    for guard, credential in (
        (guarding(signature()), SIGNED),
        (guarding(jwt(), policy=policy), GOOD),
    ):
        if accepted:
            asked(guard, credential, *headers, body=body)
        else:
            error = refused(guard, credential, *headers, body=body)
            assert (error.reason, error.status) == ("unsupported_encoding", 415)
    asked(guarding(jwt()), GOOD, *headers, body=body)  # not needed, not looked at


def test_a_body_that_is_needed_is_bounded():
    bounds = Bounds(max_body=len(CALL))
    policy = Policy(methods=Names(["*"]))
    for guard, credential in (
        (guarding(signature(), bounds=bounds), SIGNED),
        (guarding(jwt(), bounds=bounds, policy=policy), GOOD),
    ):
        asked(guard, credential)
        error = refused(guard, credential, body=CALL + b" ")
        assert (error.reason, error.status, error.code) == ("body_too_large", 413, -32600)
    asked(guarding(jwt(), bounds=bounds), GOOD, body=CALL * 2)


def test_the_size_of_a_batch_is_bounded():
    batch = b"[" + b",".join([CALL] * 4) + b"]"
    guard = guarding(jwt(), bounds=Bounds(max_batch=3), policy=Policy(methods=Names(["*"])))
    assert refused(guard, GOOD, body=batch).reason == "invalid_body"


@pytest.mark.parametrize(
    ("schemes", "policy", "headers", "wants"),
    [
        ([jwt], None, [GOOD], False),
        ([jwt], None, [], False),
        ([signature], None, [SIGNED], True),
        ([signature], None, [("X-Signature", "expired")], True),
        ([signature], None, [], False),
        ([jwt, signature], None, [GOOD], False),
        ([jwt], Policy(methods=Names(["*"])), [GOOD], True),
        ([jwt], Policy(networks=()), [GOOD], False),
    ],
)
def test_wants_body_asks_no_cryptography(schemes, policy, headers, wants):
    made = [scheme() for scheme in schemes]
    guard = guarding(*made, policy=policy)
    assert guard.wants_body(Request("POST", "/one", headers, None)) is wants
    assert [scheme.proved for scheme in made] == [0] * len(made)


def test_wants_body_is_false_where_nobody_will_look():
    guard = guarding(signature())
    for target in ("/two", "//", "*"):
        assert guard.wants_body(Request("POST", target, [SIGNED], None)) is False
    assert guard.wants_body(Request("POST", "/two", [SIGNED], None), project="one") is True


# --- Which project ----------------------------------------------------------------------------------

TWO = Project("two", "id-2", (signature(),))


def test_the_target_chooses_the_project():
    guard = guarding(jwt(), more=(TWO,))
    assert refused(guard, target="/one").project == "id-1"
    assert refused(guard, target="/two").project == "id-2"


def test_a_route_may_name_its_project_whatever_the_target_says():
    guard = guarding(jwt(), more=(TWO,))
    assert refused(guard, target="/one", project="two").project == "id-2"
    assert refused(guard, target="/anything", project="two").project == "id-2"
    assert refused(guard, target="//", project="two").reason == "invalid_target"
    assert refused(guard, project="three").reason == "no_project"


def test_one_target_leads_where_each_route_and_each_host_says_however_often_it_is_asked():
    at_host = Project("two", "id-2", ())
    entries = [(Match("", "/one"), Project("one", "id-1", ())), (Match("h", "/one"), at_host)]
    projects = {project.name: project for _, project in entries}
    guard = Authenticator(projects, Router(entries, None), Bounds(), Proxies(()))
    for _ in range(2):
        assert refused(guard).project == "id-1"
        assert refused(guard, ("Host", "h")).project == "id-2"
        assert refused(guard, ("Host", "H:80")).project == "id-2"
        assert refused(guard, project="two").project == "id-2"
        assert refused(guard, ("Host", "h"), project="one").project == "id-1"
        assert refused(guard, ("Host", "h"), ("Host", "h")).reason == "invalid_target"
        assert refused(guard, project="three").reason == "no_project"


@pytest.mark.parametrize("target", ["/one?{}", "/one/{}", "/one/" + "x" * 600 + "/{}"])
def test_targets_are_remembered_in_bounded_number(target: str):
    guard = guarding(jwt())
    for number in range(KNOWN_PLACES + 10):
        asked(guard, GOOD, target=target.format(number))
    assert len(guard._places.known) <= KNOWN_PLACES
    assert not any(
        len(target) > KNOWN_TEXT or "?" in target for _, target, *_ in guard._places.known
    )


def test_no_project_and_no_target_are_refused_by_nobody():
    guard = guarding(jwt())
    for target, reason in (("/three", "no_project"), ("//", "invalid_target")):
        error = refused(guard, GOOD, target=target)
        assert error.reason == reason
        assert (error.project, error.bare, error.challenges) == (None, False, ())


def test_two_host_fields_are_refused():
    hosts = (("Host", "a"), ("host", "a"))
    assert refused(guarding(jwt()), GOOD, *hosts).reason == "invalid_target"


# --- What a refusal looks like ------------------------------------------------------------------


def test_every_401_has_one_challenge_per_kind_and_nothing_else_has_one():
    guard = guarding(jwt(), signature(), Presented("api_key", "Bearer"))
    assert refused(guard).challenges == ('Bearer realm="id-1"', 'Signature realm="id-1"')
    bearer, other = refused(guard, ("X-Jwt", "expired")).challenges
    assert bearer == (
        'Bearer realm="id-1", error="invalid_token", error_description="credentials have expired"'
    )
    assert other == 'Signature realm="id-1"'
    for reason in ("not_listed", "invalid_body", "rate_limited", "backend_unavailable"):
        assert refused(guard, ("X-Jwt", reason)).challenges == ()


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\\", "é", "日本"])
def test_a_challenge_is_a_legal_field_value_whatever_the_project_is_called(name):
    import re

    guard = guarding(jwt())
    odd = replace(guard.projects["one"], id=name, refusals=Refusals(messages={"expired": name}))
    guard = Authenticator(
        {"one": odd}, Router([(Match("", "/one"), odd)], None), Bounds(), Proxies()
    )
    quoted = r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
    form = re.compile(rf"Bearer realm={quoted}(?:, [a-z_]+={quoted})*")
    for headers in ([], [("X-Jwt", "expired")]):
        (challenge,) = refused(guard, *headers).challenges
        assert form.fullmatch(challenge), challenge


def test_a_preset_may_set_status_code_and_messages_of_401_and_403():
    refusals = Refusals(bare=True, status=418, code=-1, messages={"expired": "too old"})
    guard = guarding(jwt(), refusals=refusals)
    expired, forbidden = (refused(guard, ("X-Jwt", r)) for r in ("expired", "not_listed"))
    assert (expired.status, expired.code, expired.message) == (418, -1, "too old")
    assert (forbidden.status, forbidden.code, forbidden.message) == (418, -1, "caller not listed")
    assert expired.challenges == ()
    assert expired.bare is forbidden.bare is True


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("invalid_body", 400, -32600),
        ("body_too_large", 413, -32600),
        ("unsupported_encoding", 415, -32600),
        ("rate_limited", 429, -32005),
        ("backend_unavailable", 503, -32002),
    ],
)
def test_other_refusals_keep_their_status(reason, status, code):
    guard = guarding(jwt(), refusals=Refusals(bare=True, status=403, code=-32013))
    error = refused(guard, ("X-Jwt", reason))
    assert (error.status, error.code, error.bare, error.project) == (status, code, True, "id-1")


def test_an_error_is_dressed_once():
    error = AuthError("expired")
    one = Project("one", "id-1", (jwt(),))
    other = Project("two", "id-2", (), refusals=Refusals(bare=True, status=499))
    assert other.dress(one.dress(error)) is error
    assert (error.project, error.status, error.bare) == ("id-1", 401, False)


# --- Any input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Authorization", "Host", "Origin", "X-Jwt", "X-Forwarded-For"])
@pytest.mark.parametrize("value", ["", "\udc80", "é", "\0", "\r\n", "x" * 100_000])
def test_odd_header_values_raise_nothing_foreign(name: str, value: str):
    policy = Policy(networks=(ip_network("0.0.0.0/0"),), origins=(), missing_origin=True)
    guard = guarding(Ignoring("jwt", "Bearer"), policy=policy)
    with pytest.raises(AuthError):
        asked(guard, (name, value), client="10.0.0.1")


class Ignoring(Presented):
    """A scheme that is there whatever the request holds, and is never satisfied."""

    present: Callable[..., bool] = lambda self, incoming: True

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        raise AuthError("invalid_credentials")


# --- Policy in its order ----------------------------------------------------------------------------

FENCED = Policy(networks=(ip_network("192.0.2.0/24"),), methods=Names(["eth_blockNumber"]))


def test_ip_and_origin_are_judged_before_the_calls():
    """A body that says nothing, or is too large, or encoded, is no matter for a forbidden address."""
    guard = guarding(jwt(), bounds=Bounds(max_body=100), policy=FENCED)
    for body, headers in (
        (b"no JSON", ()),
        (b"x" * 101, ()),
        (CALL, (("Content-Encoding", "gzip"),)),
    ):
        error = refused(guard, GOOD, *headers, body=body, client="198.51.100.1")
        assert error.reason == "forbidden_ip"
        assert refused(guard, GOOD, *headers, body=body, client="192.0.2.1").status in (
            400,
            413,
            415,
        )


def test_the_body_of_a_forbidden_address_is_not_read():
    guard = guarding(jwt(), policy=FENCED)
    assert refused(guard, GOOD, body=None, client="198.51.100.1").reason == "forbidden_ip"
    assert isinstance(asked(guard, GOOD, body=None, client="192.0.2.1"), BodyWanted)


# --- What others ask -----------------------------------------------------------------------------------


def test_whose_request_it_claims_to_be_asks_no_cryptography():
    one, two = jwt(), signature()
    guard = guarding(one, two)

    def claimed(*headers: tuple[str, str], target: str = "/one", project: str | None = None) -> Any:
        return guard.claimed(Request("POST", target, headers, None), project)

    assert claimed(GOOD) == ("one", "jwt")
    assert claimed(SIGNED) == ("one", "signature")
    assert claimed() == ("one", "none")
    assert claimed(GOOD, SIGNED) == ("one", "none")
    assert claimed(GOOD, target="/else") == ("", "none")
    assert claimed(GOOD, target="/else", project="one") == ("one", "jwt")
    assert (one.proved, two.proved) == (0, 0)
    assert guard.matching(Request("POST", "/else", [], None)) is None


def test_a_message_of_a_project_that_is_gone_is_refused():
    with pytest.raises(AuthError) as caught:
        guarding(jwt()).message(Principal("me", "gone", "jwt"), "{}", NOW)
    assert caught.value.reason == "no_project"


def test_a_refused_message_has_the_form_of_its_project():
    policy = Policy(methods=Names(["eth_call"]))
    guard = guarding(jwt(), policy=policy, anonymous=True)
    who = Principal("me", "one", "none")
    with pytest.raises(AuthError) as caught:
        guard.message(who, CALL, NOW)
    assert (caught.value.reason, caught.value.project) == ("forbidden_method", "id-1")
    step = guard.message(who, CALL.replace(b"eth_blockNumber", b"eth_call"), NOW)
    assert (step.charges, step.project) == ((), guard.projects["one"])


def test_whose_credentials_are_issued_is_said_or_can_be_only_one():
    two = Project("two", "id-2", (), sessions=cast(Sessions, object()))
    guard = guarding(jwt(), more=(two,))
    assert guard.issuing_project(None) is two
    assert guard.issuing_project("one") is guard.projects["one"]
    with pytest.raises(LookupError, match="no project 'three'"):
        guard.issuing_project("three")
    with pytest.raises(LookupError, match="0 projects have a session"):
        guarding(jwt()).issuing_project(None)
    three = replace(two, name="three")
    with pytest.raises(LookupError, match="2 projects have a session"):
        guarding(jwt(), more=(two, three)).issuing_project(None)


@pytest.mark.parametrize("now", [0.0, -1.0, float("nan")])
def test_a_clock_that_gives_no_time_lets_nobody_in(now):
    with pytest.raises(AuthError) as caught:
        guarding(jwt()).authenticate(Request("POST", "/one", [GOOD], CALL), now)
    assert caught.value.reason == "backend_unavailable"


def test_a_request_without_content_encoding_is_not_encoded():
    refuse_encoded({})
    refuse_encoded({"content-encoding": []})


@pytest.mark.parametrize("policy", [None, Policy(methods=Names(["*"]))])
def test_who_wants_the_body_says_how_much_of_it_for_whom_and_what_is_known_so_far(policy):
    guard = guarding(
        signature() if policy is None else jwt(), policy=policy, bounds=Bounds(max_body=7)
    )
    step = asked(guard, SIGNED if policy is None else GOOD, body=None, kept="so far")
    assert isinstance(step, BodyWanted)
    assert (step.limit, step.project, step.kept) == (7, guard.projects["one"], "so far")
