"""
Whatever is asked of a verifier that may take the short way and of one that may not, in whatever
order, both say the same to the letter; see `twins`.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minting import flip_bit
from twins import AFTER, CHANGES, CLAIMS, PROJECTS, TIMES, WAYS, Ask, Twins, usual

from rpcguard import Principal
from rpcguard.authenticator import Authenticator

COUNTED = {"per ip", "per key", "key's limits"}  # each request counts: a pair for each


def taught(project: str, twins: Twins) -> None:
    """Ask the usual request of *project* and its neighbours, so that their places are known."""
    for more in (
        {},
        {"head": {"kid": "a"}},
        {"signer": "ES", "head": {"kid": "b"}},
        {"target": "/"},
    ):
        twins.ask(usual(project).but(more))


def play(project: str, changes: list[dict[str, Any]], after: str | None = None) -> int:
    """
    Ask each of *changes* alone, and the usual request between; return how many were let in.

    Args:
        project: Of `PROJECTS`.
        changes: Of `CHANGES`.
        after: Of `AFTER`, where the registry is read again first.
    """
    accepted = 0
    if project in COUNTED:
        for change in changes[::7]:
            with Twins.of(project) as twins:
                for more in ({}, change, change):
                    accepted += isinstance(
                        twins.ask(usual(project).but(more), "known")[0], Principal
                    )
        return accepted
    with Twins.of(project) as twins:
        taught(project, twins)
        if after is not None:
            twins.reload(after)
            taught(project, twins)
        for number, change in enumerate(changes):
            asked = usual(project).but(change)
            for ask in (asked, asked, usual(project)):
                accepted += isinstance(twins.ask(ask, WAYS[number % 2])[0], Principal)
    return accepted


@pytest.mark.parametrize("project", PROJECTS)
def test_no_change_of_a_usual_request_makes_a_difference(project: str) -> None:
    assert play(project, CHANGES) > 0


@pytest.mark.parametrize("after", AFTER)
def test_no_change_after_the_registry_was_read_again_makes_a_difference(after: str) -> None:
    for project in ("plain", "one secret", "secure"):
        assert play(project, CHANGES, after) >= (0 if after == "another secret" else 1)


@pytest.mark.parametrize("project", ["plain", "strict", "lax", "suffix", "engine", "key ends"])
def test_no_time_of_a_token_makes_a_difference(project: str) -> None:
    timed = [each for each in CLAIMS if {"exp", "iat", "nbf"} & each.keys()]
    changes = [{"claims": claims, "now": now} for claims in [{}, *timed] for now in TIMES]
    assert play(project, changes) > 0


def test_what_stands_need_not_be_fresh_on_any_way() -> None:
    with Twins.of("strict") as twins:
        taught("strict", twins)
        for number, way in enumerate(WAYS):
            late = usual("strict").but({"claims": {"jti": str(number)}, "now": 3300})
            assert isinstance(twins.ask(late.but({"asked": {"standing": True}}), way)[0], Principal)
            assert twins.ask(late, way)[0] == "expired"


# --- Histories: caches are warm, kept and lost ----------------------------------------------------

Step = tuple[str, Any]  # what happens, and what to

_steps = st.one_of(
    *[st.tuples(st.sampled_from(WAYS), st.integers(0, 3))] * 12,
    st.tuples(st.just("revoke"), st.sampled_from([{"subject": "a"}, {"key": "a"}, {"key": "b"}])),
    st.tuples(st.just("revoke"), st.sampled_from([{"subject": "alice"}, {"session": "s"}])),
    st.tuples(st.just("reload"), st.sampled_from(sorted(AFTER))),
    st.tuples(st.just("forget"), st.sampled_from(["places", "requests", "recent requests"])),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, str, list[Ask], list[Step]]:
    """Draw two projects, four requests with some changes each, and in what order they come."""
    first, second = draw(st.tuples(*[st.sampled_from(sorted(PROJECTS))] * 2))
    asks = [usual(first)]
    for _ in range(3):
        ask = usual(first)
        for change in draw(st.lists(st.sampled_from(CHANGES), max_size=2)):
            ask = ask.but(change)
        asks.append(ask)
    return first, second, asks, draw(st.lists(_steps, min_size=3, max_size=14))


def forget(guard: Authenticator, which: str) -> None:
    """Forget *which* things, as strangers can have it, who ask for many places."""
    if which == "places":
        guard._places.known.clear()
    else:
        guard.seen._older = guard.seen.younger if which == "recent requests" else {}
        guard.seen.younger = {}


def run(history: tuple[str, str, list[Ask], list[Step]]) -> int:
    """Play *history*; return how many requests were let in."""
    first, second, asks, steps = history
    accepted = 0
    with Twins.of(first, second) as twins:
        for what, which in [("verify", 0), *steps]:
            if what in WAYS:
                accepted += isinstance(twins.ask(asks[which], what)[0], Principal)
            elif what == "reload":
                twins.reload(which)
            elif what == "forget":
                forget(twins.short.registry, which)
            elif twins.now > 0:
                for guard in twins.both:
                    guard.revoke("one", **which)
    return accepted


@settings(max_examples=200)
@given(history=histories())
def test_no_history_makes_a_difference(
    history: tuple[str, str, list[Ask], list[Step]],
) -> None:
    run(history)


@settings(max_examples=200)
@given(project=st.sampled_from(sorted(PROJECTS)), positions=st.lists(st.integers(0, 10_000)))
def test_no_bit_of_a_usual_token_makes_a_difference(project: str, positions: list[int]) -> None:
    ask = usual(project)
    text = ask.credential
    with Twins.of(project) as twins:
        taught(project, twins)
        for number, position in enumerate(positions):
            twins.ask(ask.but({"text": flip_bit(text, position)}), WAYS[number % 2])
