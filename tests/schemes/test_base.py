"""What every scheme is given: one value of a field, the bearer token, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from rpcguard import AuthError, Request
from rpcguard.schemes.base import BearerKinds, Incoming, read_bearer
from rpcguard.trace import Trace


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], None),
        (["Bearer a.b-c_d~e+f/g=="], "a.b-c_d~e+f/g=="),
        (["Bearer a.b-c_d~e+f/g"], "a.b-c_d~e+f/g"),
        (["bEARER x"], "x"),
        (["Bearer   x"], "x"),
        (["Basic x"], None),
        (["Bearerx"], None),
        (["Bearer-x y"], None),
        (["Bearer"], ""),
        (["Bearer "], ""),
        (["Bearer x y"], ""),
        (["Bearer x\n"], ""),
        (["Bearer\tx"], ""),
        (["Bearer,x"], ""),
        (["Bearer é"], ""),
        ([""], None),
        (["Bearer x", "Bearer x"], ""),
        (["Bearer x", "Basic y"], ""),
        (["Basic y", "Bearer x"], ""),
        (["Basic x", "Basic y"], None),
    ],
)
def test_one_well_formed_bearer_token_or_none(values: list[str], found: str | None) -> None:
    assert read_bearer(values) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Bearer x", "x"),
        ("Basic x", None),
        ("Basic x, Basic y", None),
        ("Basic x,Bearer y", ""),
        ("Basic x, \tbEARER y", ""),
        ("Bearer x,Bearer y", ""),
        ("Basic x,Bearers y", None),
        ("Basic x,Bearer", ""),
    ],
)
def test_fields_that_a_server_has_joined_are_not_one(value: str, found: str | None) -> None:
    assert read_bearer([value], joined=True) == found


def test_a_comma_joins_nothing_where_servers_join_nothing() -> None:
    assert read_bearer(["Basic x,Bearer y"]) is None


def test_what_matching_found_out_is_passed_on() -> None:
    request, trace = Request("POST", "/p/a?b", []), Trace()
    found = Incoming(request, "/a", "/p/a", "/p/a?b", "a", {"host": ["x"]}, trace)

    assert (found.request, found.path, found.raw_path) == (request, "/a", "/p/a")
    assert (found.raw_target, found.rest, found.fields) == ("/p/a?b", "a", {"host": ["x"]})
    assert found.trace is trace
    assert found.kept is None


def test_a_request_says_whether_its_fields_may_be_joined(incoming: Any) -> None:
    headers = [("Authorization", "Basic x,Bearer y")]

    assert incoming(headers).bearer is None
    assert incoming(headers, joined=True).bearer == ""
    assert incoming([("Authorization", "Bearer x")]).bearer == "x"
    assert incoming().bearer is None


@pytest.mark.parametrize(
    ("headers", "state"),
    [([], "missing"), ([("X-Key", "a"), ("x-key", "a")], "repeated")],
)
def test_a_field_that_a_scheme_needs_is_there_once(
    incoming: Any, headers: list[tuple[str, str]], state: str
) -> None:
    with pytest.raises(AuthError) as caught:
        incoming(headers).single("x-key")

    assert caught.value.reason == "malformed_credentials"
    assert caught.value.detail == f"x-key is {state}"
    assert incoming([("X-Key", "a")]).single("x-key") == "a"


@pytest.mark.parametrize(
    ("kinds", "token", "owner"),
    [
        (BearerKinds(), "", "api_key"),
        (BearerKinds(), "a.b.c", ""),
        (BearerKinds("nod_"), "nod_00", "api_key"),
        (BearerKinds("nod_"), "Nod_00", ""),
        (BearerKinds("nod_", others="jwt"), "nod_00", "api_key"),
        (BearerKinds("nod_", others="jwt"), "a.b.c", "jwt"),
        (BearerKinds("nod_", others="jwt"), "", "jwt"),
        (BearerKinds(others="jwt"), "nod_00", "jwt"),
        (BearerKinds(session_headers=frozenset({"a"}), others="jwt"), "a.b.c", "session"),
        (BearerKinds(session_headers=frozenset({"a"}), others="jwt"), "a", "session"),
        (BearerKinds(session_headers=frozenset({"a"}), others="jwt"), "b.a.c", "jwt"),
        (BearerKinds(session_headers=frozenset({"a"})), "b.a.c", ""),
    ],
)
def test_whose_a_bearer_token_is_its_look_decides(
    kinds: BearerKinds, token: str, owner: str
) -> None:
    assert kinds.owner(token) == owner
