"""Claims that narrow what a token may do, and can do nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minting import NOW, SECRET, bearer, hour, token

from rpcguard import AuthError, Request, Verifier
from rpcguard.schemes.narrowing import MAX_ENTRIES, MAX_ENTRY, Narrowing

ONE, TWO = "0x" + "11" * 20, "0x" + "22" * 20
REGISTRY = f"""
version: 1
backend: memory://
projects:
  bots:
    preset: bearer
    keys: [{{kid: a, alg: HS256, secret: "{SECRET}"}}]
    narrowing: [methods, addresses, origins]
    session: {{secret: "{SECRET}"}}
"""
PARTLY = REGISTRY.replace("[methods, addresses, origins]", "[methods]")
WITHOUT = REGISTRY.replace("    narrowing: [methods, addresses, origins]\n", "")
ALLOWED = REGISTRY + "    allow: {methods: [eth_call, eth_chainId]}\n"


def verdict(verifier: Verifier, claims: dict[str, Any], *calls: Any, origin: str = "") -> str:
    """Return the reason of a refusal, "" where the calls are let in."""
    headers = bearer(token({**hour(), **claims}, kid="a"))
    headers += [("Origin", origin)] if origin else []
    found = [
        {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} for method, params in calls
    ]
    try:
        verifier.verify(Request("POST", "/", headers, json.dumps(found or found[0]).encode()))
    except AuthError as error:
        return error.reason
    return ""


CALL = ("eth_call", [{"to": ONE}])


@pytest.mark.parametrize(
    ("claims", "calls", "origin", "reason"),
    [
        ({"methods": ["eth_call"]}, [CALL], "", ""),
        ({"methods": ["eth_*"]}, [CALL], "", ""),
        ({"methods": ["eth_call"]}, [("eth_chainId", [])], "", "forbidden_method"),
        ({"methods": ["eth_call"]}, [CALL, ("eth_chainId", [])], "", "forbidden_method"),
        ({"methods": []}, [CALL], "", "forbidden_method"),
        ({"methods": ["eth_call", *["x"] * (MAX_ENTRIES - 1)]}, [CALL], "", ""),
        ({"methods": ["eth_call", "x" * MAX_ENTRY]}, [CALL], "", ""),
        ({"addresses": [ONE.upper().replace("0X", "0x")]}, [CALL], "", ""),
        ({"addresses": [TWO]}, [CALL], "", "forbidden_address"),
        ({"addresses": []}, [CALL], "", "forbidden_address"),
        ({"origins": ["https://a.example"]}, [CALL], "https://a.example", ""),
        ({"origins": ["https://a.example"]}, [CALL], "https://b.example", "forbidden_origin"),
        ({"origins": ["https://a.example"]}, [CALL], "", "forbidden_origin"),
        ({"origins": []}, [CALL], "https://a.example", "forbidden_origin"),
        ({"methods": ["eth_call"], "addresses": [TWO]}, [CALL], "", "forbidden_address"),
    ],
)
def test_claims_narrow_by_the_rules_of_allow(guard, claims, calls, origin, reason):
    assert verdict(guard(REGISTRY), claims, *calls, origin=origin) == reason


def test_claims_never_widen_what_the_project_allows(guard):
    verifier = guard(ALLOWED)
    for methods in (["*"], ["admin_peers"], ["eth_call", "admin_peers"]):
        claims = {"methods": methods}
        assert verdict(verifier, claims, ("admin_peers", [])) == "forbidden_method"
    assert verdict(verifier, {"methods": ["*"]}, ("eth_chainId", [])) == ""
    assert verdict(verifier, {"methods": ["eth_call"]}, ("eth_chainId", [])) == "forbidden_method"


@given(
    st.lists(st.text("ab*", min_size=1, max_size=3), max_size=4),
    st.lists(st.text("ab*", min_size=1, max_size=3), max_size=4),
    st.text("ab", max_size=3),
)
def test_a_method_passes_only_if_both_lists_have_it(allowed, claimed, method):
    from rpcguard.jsonrpc import Call
    from rpcguard.policy import Names, Policy

    policies = (Policy(methods=Names(allowed)), *NARROWING.read({"methods": claimed}))
    try:
        for policy in policies:
            policy.check_calls([Call(method, None)])
    except AuthError:
        assert not (method in Names(allowed) and method in Names(claimed))
    else:
        assert method in Names(allowed) and method in Names(claimed)


NARROWING = Narrowing(frozenset({"methods", "addresses", "origins"}))
MALFORMED = [
    *({name: value} for name in ("methods", "addresses", "origins") for value in (
        None, True, 1, "eth_call", {}, {"eth_call": 1}, [1], [None], [[]], [""], [["eth_call"]],
        ["x" * (MAX_ENTRY + 1)], ["x"] * (MAX_ENTRIES + 1),
    )),
    {"addresses": ["0x12"]},
    {"addresses": [ONE, ONE[2:]]},
    {"addresses": [ONE + "\n"]},
    {"origins": ["*"]},
    {"origins": ["https://a.example/"]},
    {"origins": ["null"]},
    {"methods": ["eth_call"], "origins": 3},
]  # fmt: skip


@pytest.mark.parametrize("claims", MALFORMED, ids=repr)
def test_a_malformed_claim_refuses(guard, claims):
    with pytest.raises(AuthError) as caught:
        NARROWING.read(claims)
    assert caught.value.reason == "invalid_claims"
    assert verdict(guard(REGISTRY), claims, CALL) == "invalid_claims"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["methods", "addresses", "origins", "x"]), JSON))
def test_any_claims_give_policies_or_are_refused(claims):
    try:
        found = NARROWING.read(claims)
    except AuthError as error:
        assert error.reason == "invalid_claims"
    else:
        assert bool(found) is bool({"methods", "addresses", "origins"} & claims.keys())


def test_a_claim_that_the_project_does_not_name_is_the_applications_own(guard):
    claims = {"origins": 3, "addresses": [TWO]}
    assert verdict(guard(PARTLY), claims, CALL) == ""
    assert verdict(guard(PARTLY), {"methods": []}, CALL) == "forbidden_method"
    assert verdict(guard(WITHOUT), {"methods": []}, CALL) == ""


def test_a_narrower_origin_list_keeps_what_the_project_says_of_requests_without_origin(guard):
    open_to_all = REGISTRY + "    allow: {origins: ['https://*.example'], missing_origin: allow}\n"
    claims = {"origins": ["https://a.example"]}
    verifier = guard(open_to_all)
    assert verdict(verifier, claims, CALL) == ""
    assert verdict(verifier, claims, CALL, origin="https://b.example") == "forbidden_origin"


def test_a_session_token_is_narrowed_by_what_it_was_issued_with(guard):
    verifier = guard(REGISTRY)
    issued = verifier.issue("bots", "alice", claims={"methods": ["eth_call"]})["token"]
    for method, reason in (("eth_call", None), ("eth_chainId", "forbidden_method")):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode()
        request = Request("POST", "/", bearer(issued), body)
        if reason is None:
            assert verifier.verify(request).claims["methods"] == ["eth_call"]
        else:
            with pytest.raises(AuthError) as caught:
                verifier.verify(request)
            assert caught.value.reason == reason


def test_a_token_that_narrows_no_calls_needs_no_body(guard):
    headers = [*bearer(token(hour(origins=["https://a.example"]), kid="a"))]
    headers.append(("Origin", "https://a.example"))
    assert guard(REGISTRY).verify(Request("POST", "/", headers, None)).subject == "a"


def test_a_cached_token_is_narrowed_like_a_new_one(guard):
    verifier = guard(REGISTRY)
    for _ in range(2):
        assert verdict(verifier, {"methods": []}, CALL) == "forbidden_method"
        assert verdict(verifier, {"iat": NOW - 1}, CALL) == ""


def test_narrowing_needs_tokens(guard):
    from rpcguard import ConfigError

    text = REGISTRY.replace("preset: bearer", "preset: nodius").replace(
        f'keys: [{{kid: a, alg: HS256, secret: "{SECRET}"}}]', "wallets: open"
    )
    assert guard(text) is not None  # it has sessions
    with pytest.raises(ConfigError, match="only tokens have claims"):
        guard("\n".join(line for line in text.splitlines() if "session:" not in line))
    with pytest.raises(ConfigError, match="expected methods, addresses or origins"):
        guard(REGISTRY.replace("[methods, addresses, origins]", "[ips]"))
