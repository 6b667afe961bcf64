"""The order of work: target, project, one kind of credential, its scheme, policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

import pytest
from minting import CALL, NOW

from rpcguard import AuthError, Principal, Request
from rpcguard.authenticator import KNOWN_PLACES, KNOWN_TEXT, Authenticator, refuse_encoded
from rpcguard.owed import Answer, Nonce, Owed, Verdict
from rpcguard.peer import Proxies
from rpcguard.pending import Pending
from rpcguard.policy import Names, Policy, charges_of
from rpcguard.project import Bounds, Project, Refusals
from rpcguard.rates import Charge, Limits, Rate
from rpcguard.schemes.api_key import ApiKeyRules, ApiKeyScheme
from rpcguard.schemes.base import NEED_BODY, Claim, Incoming, NeedBody, Proof
from rpcguard.sessions import Sessions
from rpcguard.steps import Asked, BodyWanted
from rpcguard.target import Match, Router
from rpcguard.trace import Step, Trace

OWED = Owed("one", "me", revocable=(b"name",))


class Presented:
    """A scheme whose credential is a header; its text says what comes of it."""

    def __init__(self, name: str, challenge: str, *, body: bool = False) -> None:
        self.name = name
        self.challenge = challenge
        self.fields = frozenset({f"x-{name}"})
        self.security: tuple[Any, ...] = ()
        self.proved = 0
        self._body = body

    def present(self, incoming: Incoming) -> bool:
        return f"x-{self.name}" in incoming.fields

    def wants_body(self, incoming: Incoming) -> bool:
        return self._body and isinstance(incoming, Incoming)

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        self.proved += 1
        assert now == NOW
        word = incoming.single(f"x-{self.name}")
        if word != "good":
            raise AuthError(word)
        if self._body and incoming.request.body is None:
            return NEED_BODY
        return Proof(Principal("me", "one", self.name), OWED)


def jwt() -> Presented:
    return Presented("jwt", "Bearer")


def signature() -> Presented:
    return Presented("signature", "Signature", body=True)


def guarding(
    *schemes: Presented, more: tuple[Project, ...] = (), bounds: Bounds | None = None, **facts: Any
) -> Authenticator:
    """Return an authenticator of project `one` at /one with *schemes*, and *more* projects."""
    one = Project("one", "id-1", schemes, **facts)
    entries = [(Match("", f"/{project.name}"), project) for project in (one, *more)]
    projects = {project.name: project for project in (one, *more)}
    proxies = Proxies((ip_network("10.0.0.0/8"),))
    return Authenticator(projects, Router(entries, None), bounds or Bounds(), proxies)


def asked(
    guard: Authenticator, *headers: tuple[str, str], body: bytes | None = CALL, **options: Any
) -> Pending | BodyWanted:
    facts = {k: options.pop(k) for k in ("websocket", "client", "scheme") if k in options}
    target = options.pop("target", "/one")
    request = Request("POST", target, headers, body, **facts)
    return guard.authenticate(request, NOW, Asked(**options))


def refused(guard: Authenticator, *headers: tuple[str, str], **options: Any) -> AuthError:
    with pytest.raises(AuthError) as caught:
        asked(guard, *headers, **options)
    return caught.value


GOOD = ("X-Jwt", "good")
SIGNED = ("X-Signature", "good")


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
    assert len(guard._places) <= KNOWN_PLACES
    assert not any(len(target) > KNOWN_TEXT or "?" in target for _, target, *_ in guard._places)


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


# --- What is remembered of where targets lead --------------------------------------------------------


def remembered(guard: Authenticator, *targets: str, **options: Any) -> int:
    """Return how many places *guard* remembers after requests for *targets*."""
    for target in targets:
        guard.matching(Request("POST", target, [], None))
    return len(guard._places)


def test_a_place_is_remembered_once_and_asked_for_often():
    guard = guarding(jwt())
    assert remembered(guard, "/one", "/one", "/one/x") == 2
    guard.matching(Request("POST", "/one", [("Host", "a.example")], None))
    assert len(guard._places) == 3


@pytest.mark.parametrize("length", [512, 513])
def test_what_is_longer_than_512_characters_is_not_remembered(length):
    guard = guarding(jwt())
    assert remembered(guard, "/one/".ljust(length, "x")) == (1 if length == 512 else 0)
    guard = guarding(jwt())
    target = "/one/".ljust(length - 9, "x")
    guard.matching(Request("POST", target, [("Host", "a.example")], None))
    assert len(guard._places) == (1 if length == 512 else 0)


def test_what_may_hold_a_key_is_not_remembered():
    assert remembered(guarding(jwt()), "/one?key=secret", "/one?") == 0
    keyed: Any = ApiKeyScheme(ApiKeyRules("one", {}, in_path=True))
    assert remembered(guarding(keyed), "/one/secret") == 0
    assert remembered(guarding(keyed), "/one", "/one/") == 2


def test_no_more_than_1024_places_are_remembered():
    guard = guarding(jwt())
    assert remembered(guard, *(f"/one/{number}" for number in range(1024))) == 1024
    assert remembered(guard, "/one/more") == 1
    assert guard.matching(Request("POST", "/one/5", [], None)) == "one"


def test_a_place_leads_to_its_project_the_second_time_too():
    guard = guarding(jwt(), more=(Project("two", "id-2", ()),))
    for _ in range(2):
        assert guard.matching(Request("POST", "/two", [], None)) == "two"
        assert refused(guard, GOOD, target="/two").project == "id-2"
        assert isinstance(asked(guard, GOOD, target="/two", project="one"), Pending)


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


# --- What a scheme is told of the target --------------------------------------------------------------


class Told(Presented):
    """A scheme that takes every request and remembers what it was given."""

    def present(self, incoming: Incoming) -> bool:
        self.incoming = incoming
        return True

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof:
        return Proof(Principal("me", "one", "jwt"), OWED)


@pytest.mark.parametrize(
    ("target", "project", "rest"),
    [
        ("/one", None, ""),
        ("/one/", None, ""),
        ("/one/a", None, "a"),
        ("/one/a/b?c/d", None, "a/b"),
        ("/one/a/b", "one", "a/b"),
        ("/else/a", "one", ""),
    ],
)
def test_what_follows_the_matched_prefix_is_the_rest(target, project, rest):
    scheme = Told("jwt", "Bearer")
    guard = guarding(scheme, prefixes=frozenset({"/one"}))
    for trace in (None, Trace()):
        asked(guard, target=target, project=project, trace=trace)
        assert (scheme.incoming.rest, scheme.incoming.trace) == (rest, trace)
    asked(guard, target=target, project=guard.projects["one"])
    assert scheme.incoming.rest == ""  # a project that a route gives has no prefix here


def test_the_host_leads_to_its_project_whoever_asks_why():
    one = Project("one", "id-1", (jwt(),))
    router = Router([(Match("a.example", ""), one)], None)
    guard = Authenticator({"one": one}, router, Bounds(), Proxies(()))
    for trace in (None, Trace()):
        request = Request("POST", "/", [GOOD, ("Host", "a.example")], CALL)
        assert isinstance(guard.authenticate(request, NOW, Asked(trace=trace)), Pending)


def test_a_field_of_the_proxy_in_another_spelling_is_not_the_proxys():
    guard = guarding(jwt(), require_https=True)
    forged = ("X_Forwarded_Proto", "https")
    assert refused(guard, GOOD, forged, client="10.0.0.1", scheme="http").reason == "https_required"


def test_a_key_in_a_path_is_not_shown():
    keyed: Any = ApiKeyScheme(ApiKeyRules("one", {}, in_path=True))
    guard = guarding(keyed, prefixes=frozenset({"/one"}))
    assert guard.paths.shown("/one/secret", guard.projects["one"]) == "/one/<key>"
