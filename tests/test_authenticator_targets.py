"""Where a target leads: what is remembered of it, and what a scheme is told."""

from __future__ import annotations

from typing import Any

import pytest
from minting import CALL, NOW
from presented import GOOD, OWED, Presented, asked, guarding, jwt, refused

from rpcguard import Principal, Request
from rpcguard.authenticator import Authenticator
from rpcguard.peer import Proxies
from rpcguard.pending import Pending
from rpcguard.project import Bounds, Project
from rpcguard.schemes.api_key import ApiKeyRules, ApiKeyScheme
from rpcguard.schemes.base import Incoming, Proof
from rpcguard.steps import Asked
from rpcguard.target import Match, Router
from rpcguard.trace import Trace

# --- What is remembered of where targets lead --------------------------------------------------------


def remembered(guard: Authenticator, *targets: str, **options: Any) -> int:
    """Return how many places *guard* remembers after requests for *targets*."""
    for target in targets:
        guard.matching(Request("POST", target, [], None))
    return len(guard._places.known)


def test_a_place_is_remembered_once_and_asked_for_often():
    guard = guarding(jwt())
    assert remembered(guard, "/one", "/one", "/one/x") == 2
    guard.matching(Request("POST", "/one", [("Host", "a.example")], None))
    assert len(guard._places.known) == 3


@pytest.mark.parametrize("length", [512, 513])
def test_what_is_longer_than_512_characters_is_not_remembered(length):
    guard = guarding(jwt())
    assert remembered(guard, "/one/".ljust(length, "x")) == (1 if length == 512 else 0)
    guard = guarding(jwt())
    target = "/one/".ljust(length - 9, "x")
    guard.matching(Request("POST", target, [("Host", "a.example")], None))
    assert len(guard._places.known) == (1 if length == 512 else 0)


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
