"""What an authenticated caller may do."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rpcguard import AuthError
from rpcguard.jsonrpc import Call
from rpcguard.policy import Facts, Names, Policy, may_be_several, parse_origin

ONE = "0x" + "11" * 20
TWO = "0x" + "22" * 20


def facts(**changes: object) -> tuple[Facts, tuple[Call, ...] | None]:
    given = {"address": None, "origins": (), "user_agents": (), **changes}
    calls = given.pop("calls", ())
    return Facts(**given), calls


def refused(policy: Policy, judged: tuple[Facts, tuple[Call, ...] | None]) -> str | None:
    caller, calls = judged
    try:
        policy.check_caller(caller)
        policy.check_calls(calls)
    except AuthError as error:
        assert (error.status, error.code) == (403, -32003)
        return error.reason
    return None


# --- Methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "method", "allowed"),
    [
        (["eth_call"], "eth_call", True),
        (["eth_call"], "eth_call2", False),
        (["eth_call"], "eth_Call", False),
        (["eth_call"], "eth_call\0", False),
        (["eth_call"], "eth_call\n", False),
        (["eth_call"], "", False),
        (["eth_get*"], "eth_getBalance", True),
        (["eth_get*"], "eth_get", True),
        (["eth_get*"], "xeth_getBalance", False),
        (["eth_get*"], "eth_get\nx", True),
        (["*_call"], "eth_call", True),
        (["*_call"], "eth_callMany", False),
        (["e*_c*l"], "eth_call", True),
        (["a*b*b"], "ab", False),
        (["a*b*b"], "abb", True),
        (["*a*b*"], "aba", True),
        (["aba*aba"], "aba", False),
        (["aba*aba"], "ababa", False),
        (["*ab*ab*"], "ab", False),
        (["*ab*ab*"], "abab", True),
        (["*"], "anything at all", True),
        (["*"], "", True),
        (["eth.call"], "eth_call", False),  # no regular expression
        (["eth_(call|x)"], "eth_x", False),
        (["eth_[a-z]*"], "eth_call", False),
        (["eth_call", "net_*"], "net_version", True),
        ([], "eth_call", False),
    ],
)
def test_methods_by_name_and_star(names, method, allowed):
    assert (method in Names(names)) is allowed
    policy = Policy(methods=Names(names))
    reason = None if allowed else "forbidden_method"
    assert refused(policy, facts(calls=(Call(method, None),))) == reason


@given(st.text("ab*", max_size=5), st.text("ab", max_size=8))
def test_a_star_stands_for_any_characters(pattern, name):
    from fnmatch import fnmatchcase

    assert (name in Names([pattern])) is fnmatchcase(name, pattern)


def test_every_call_of_a_batch_is_judged():
    policy = Policy(methods=Names(["eth_call"]))
    good, bad = Call("eth_call", None), Call("admin_peers", None)
    assert refused(policy, facts(calls=(good, good))) is None
    for batch in ((good, bad), (bad, good), (bad,)):
        assert refused(policy, facts(calls=batch)) == "forbidden_method"


@pytest.mark.parametrize(
    ("method", "named"),
    [
        ("admin_peers", "admin_peers"),
        ("a/b.c:d-e", "a/b.c:d-e"),
        ("m" * 64, "m" * 64),
        ("m" * 65, None),
        ("", None),
        ("admin peers", None),
        ("admin\r\nSet-Cookie: x", None),
        ("\x1b[31m", None),
        ("<script>", None),
        ("méthode", None),
        ('"', None),
    ],
)
def test_the_first_forbidden_method_is_named_if_its_name_does_no_harm(method, named):
    policy = Policy(methods=Names(["eth_call"]))
    with pytest.raises(AuthError) as caught:
        policy.check_calls([Call("eth_call", None), Call(method, None), Call("other", None)])
    assert caught.value.method == named


def test_calls_that_cannot_be_seen_are_not_allowed():
    assert refused(Policy(methods=Names(["*"])), facts(calls=None)) == "forbidden_method"
    assert refused(Policy(), facts(calls=None)) is None


# --- Addresses ------------------------------------------------------------------------------------

TOUCHING = [
    ("eth_call", [{"to": ONE}, "latest"], True),
    ("eth_call", [{"to": ONE.upper().replace("0X", "0x")}], True),
    ("eth_call", [{"to": ONE.replace("0x", "0X")}], True),
    ("eth_call", [{"to": TWO}], False),
    ("eth_call", [{"to": None}], False),
    ("eth_call", [{}], False),
    ("eth_call", [{"data": "0x"}], False),  # creates a contract
    ("eth_call", [], False),
    ("eth_call", None, False),
    ("eth_call", {"to": ONE}, False),  # params by name: the node may read another member
    ("eth_call", [[ONE]], False),
    ("eth_call", [{"to": [ONE]}], True),
    ("eth_call", [{"to": ONE + "00"}], False),
    ("eth_call", [{"to": ONE[2:]}], False),
    ("eth_call", [{"to": ONE + "\n"}], False),
    ("eth_call", [{"to": ONE}, "latest", None], True),
    ("eth_call", [{"to": ONE}, "latest", {ONE: {"code": "0x60"}}], False),  # runs any code there
    ("eth_call", [{"to": ONE}, "latest", None, {"number": "0x1"}], False),
    ("eth_estimateGas", [{"to": ONE}, "latest", {}], False),
    ("eth_estimateGas", [{"to": ONE}], True),
    ("eth_estimateGas", [{"to": TWO}], False),
    ("eth_getBalance", [ONE, "latest"], True),
    ("eth_getBalance", [TWO, "latest"], False),
    ("eth_getBalance", [{"address": ONE}], False),
    ("eth_getCode", [ONE], True),
    ("eth_getCode", [TWO], False),
    ("eth_getStorageAt", [TWO, "0x0"], False),
    ("eth_getTransactionCount", [TWO], False),
    ("eth_getTransactionCount", [], False),
    ("eth_getLogs", [{"address": ONE}], True),
    ("eth_getLogs", [{"address": [ONE, ONE]}], True),
    ("eth_getLogs", [{"address": [ONE, TWO]}], False),
    ("eth_getLogs", [{"address": []}], False),  # all of them
    ("eth_getLogs", [{}], False),
    ("eth_getLogs", [{"address": None}], False),
    ("eth_blockNumber", [], True),
    ("net_version", None, True),
]


@pytest.mark.parametrize(("method", "params", "allowed"), TOUCHING)
def test_addresses_that_calls_touch(method, params, allowed):
    policy = Policy(addresses=frozenset({ONE}))
    reason = None if allowed else "forbidden_address"
    assert refused(policy, facts(calls=(Call(method, params),))) == reason


# --- Clients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("10.1.2.3", True), ("192.0.2.1", True), ("192.0.2.2", False), ("2001:db8::1", False)],
)
def test_addresses_of_clients(address, allowed):
    policy = Policy(networks=(ip_network("10.0.0.0/8"), ip_network("192.0.2.1")))
    reason = None if allowed else "forbidden_ip"
    assert refused(policy, facts(address=ip_address(address))) == reason


def test_a_client_that_cannot_be_told_is_not_allowed():
    assert refused(Policy(networks=(ip_network("0.0.0.0/0"),)), facts()) == "forbidden_ip"


# --- Origins --------------------------------------------------------------------------------------

ORIGINS = [
    ("https://app.example.com", "https://app.example.com", True),
    ("https://app.example.com", "HTTPS://App.Example.Com", True),
    ("https://app.example.com", "https://app.example.com:443", True),
    ("https://app.example.com:443", "https://app.example.com", True),
    ("http://app.example.com:80", "http://app.example.com", True),
    ("https://app.example.com", "http://app.example.com", False),
    ("https://app.example.com", "https://app.example.com:8443", False),
    ("https://app.example.com", "https://app.example.com/", False),
    ("https://app.example.com", "https://app.example.com.evil.org", False),
    ("https://app.example.com", "https://evil.org#https://app.example.com", False),
    ("https://app.example.com", "https://app.example.com@evil.org", False),
    ("https://app.example.com", "https://xapp.example.com", False),
    ("https://app.example.com", "null", False),
    ("https://app.example.com", "", False),
    ("https://app.example.com", "https://app.example.com, https://app.example.com", False),
    ("https://app.example.com", "https://app.example.com ", False),
    ("https://app.example.com", "https://åpp.example.com", False),
    ("https://app.example.com", "\udc80", False),
    ("https://*.example.com", "https://app.example.com", True),
    ("https://*.example.com", "https://a.b.example.com", True),
    ("https://*.example.com", "https://example.com", False),
    ("https://*.example.com", "https://evilexample.com", False),
    ("https://*.example.com", "https://.example.com", False),
    ("https://*.example.com", "https://app.example.com:444", False),
    ("https://*.example.com:444", "https://app.example.com:444", True),
    ("https://*.example.com", "https://good.example.com.evil.org", False),
    ("http://[::1]:8080", "http://[::1]:8080", True),
    ("http://127.0.0.1:3000", "http://127.0.0.1:3001", False),
]


@pytest.mark.parametrize(("allowed", "origin", "passes"), ORIGINS)
def test_origins(allowed, origin, passes):
    policy = Policy(origins=(parse_origin(allowed),))
    reason = None if passes else "forbidden_origin"
    assert refused(policy, facts(origins=(origin,))) == reason


def test_a_request_without_origin_passes_only_where_it_is_said():
    only = (parse_origin("https://a.example"),)
    assert refused(Policy(origins=only), facts()) == "forbidden_origin"
    assert refused(Policy(origins=only, missing_origin=True), facts()) is None
    both = ("https://a.example",) * 2
    assert refused(Policy(origins=only, missing_origin=True), facts(origins=both)) == (
        "forbidden_origin"
    )


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://*",
        "a.example",
        "ftp://a.example",
        "https://a.example/",
        "https://a*.example",
        "https://\u212aiwi.example",
    ],  # the Kelvin sign, whose lower case is an ASCII letter
)
def test_an_origin_in_the_registry_is_a_whole_one(text):
    with pytest.raises(ValueError, match="origin"):
        parse_origin(text)


# --- User agents ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agents", "allowed"),
    [
        (("curl/8.5",), True),
        (("my-bot curl",), True),
        (("Curl/8.5",), False),
        (("wget",), False),
        ((), False),
        (("curl/8.5", "curl/8.5"), False),
    ],
)
def test_a_user_agent_holds_one_of_the_texts(agents, allowed):
    policy = Policy(user_agents=("curl", "Mozilla"))
    reason = None if allowed else "forbidden_user_agent"
    assert refused(policy, facts(user_agents=agents)) == reason


# --- Together -------------------------------------------------------------------------------------

EVERY = Policy(
    methods=Names(["eth_call"]),
    networks=(ip_network("10.0.0.0/8"),),
    origins=(parse_origin("https://a.example"),),
    user_agents=("curl",),
    addresses=frozenset({ONE}),
)
GOOD = {
    "address": ip_address("10.0.0.1"),
    "origins": ("https://a.example",),
    "user_agents": ("curl",),
    "calls": (Call("eth_call", [{"to": ONE}]),),
}


ONE_AGENT = [
    "(a, b)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "python-requests/2.32 (a (nested, one) comment, too)",
    r"x/1 (a \), quoted)",
    "",
]
SEVERAL = [
    "evil/1,curl/8",
    "evil/1, curl/8",
    "evil/1,",
    ",curl/8",
    "evil (a,b) curl",
    "evil (x,curl) y",
    "x/1 (KHTML, like Gecko),curl/8",
    "x/1 (a)), curl/8",
    r"x/1 (a \\), curl/8",
    r"x\, curl/8",
    r"x (a\,curl/8)",
    ",",
]


@pytest.mark.parametrize("agent", ONE_AGENT)
def test_a_comma_in_a_comment_is_of_one_user_agent(agent):
    assert not may_be_several(agent)


@pytest.mark.parametrize("agent", SEVERAL)
def test_another_comma_may_join_two_user_agents(agent):
    assert may_be_several(agent)


@given(st.text("ab(),\\ "), st.text("ab(),\\ "))
def test_what_a_bare_comma_joins_is_never_one(first, second):
    assume(not second.startswith(" "))  # servers strip the blanks of a field
    assert may_be_several(f"{first},{second}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"address": ip_address("192.0.2.1")}, "forbidden_ip"),
        ({"origins": ()}, "forbidden_origin"),
        ({"user_agents": ()}, "forbidden_user_agent"),
        ({"calls": (Call("eth_x", []),)}, "forbidden_method"),
        ({"calls": (Call("eth_call", [{"to": TWO}]),)}, "forbidden_address"),
    ],
)
def test_kinds_are_joined_by_and(change, reason):
    assert refused(EVERY, facts(**{**GOOD, **change})) == reason


def test_ip_then_origin_then_method():
    assert refused(EVERY, facts()) == "forbidden_ip"
    assert refused(EVERY, facts(address=GOOD["address"])) == "forbidden_origin"


def test_a_kind_that_is_absent_does_not_restrict_and_an_empty_one_allows_nothing():
    assert refused(Policy(), facts(calls=(Call("x", None),))) is None
    for policy, reason in [
        (Policy(methods=Names([])), "forbidden_method"),
        (Policy(networks=()), "forbidden_ip"),
        (Policy(origins=()), "forbidden_origin"),
        (Policy(user_agents=()), "forbidden_user_agent"),
        (Policy(addresses=frozenset()), "forbidden_address"),
    ]:
        assert refused(policy, facts(**GOOD)) == reason


def test_only_methods_and_addresses_need_the_body():
    assert Policy(methods=Names([])).needs_body
    assert Policy(addresses=frozenset()).needs_body
    assert not Policy(networks=(), origins=(), user_agents=()).needs_body


@pytest.mark.timeout(30)
@pytest.mark.parametrize("pattern", ["*get*Logs", "eth_*_*_*_x"])
def test_a_long_method_costs_no_more_than_its_length(pattern):
    """A caller chooses the name, up to max_body; the cost must not be its square."""
    for unit in ("_get", "abc", "_"):
        assert "eth" + unit * 250_000 not in Names([pattern])


@pytest.mark.parametrize("name", ["TO", "To"])
def test_an_address_that_a_node_may_read_elsewhere_is_refused(name):
    call = Call("eth_call", [{"to": ONE, name: TWO}])
    policy = Policy(addresses=frozenset({ONE}))
    assert refused(policy, facts(calls=(call,))) == "forbidden_address"
