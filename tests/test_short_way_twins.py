"""
Whatever is asked of a verifier that may take the short way and of one that may not, in whatever
order, both say the same to the letter; see `twins`.
"""

from __future__ import annotations

from typing import Any

import pytest
from twins import CHANGES, CLAIMS, PROJECTS, TIMES, WAYS, Twins, usual

from rpcguard import Principal

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


def play(project: str, changes: list[dict[str, Any]]) -> int:
    """Ask each of *changes* alone, and the usual request between; return how many were let in."""
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
        for number, change in enumerate(changes):
            asked = usual(project).but(change)
            for ask in (asked, asked, usual(project)):
                accepted += isinstance(twins.ask(ask, WAYS[number % 2])[0], Principal)
    return accepted


@pytest.mark.parametrize("project", PROJECTS)
def test_no_change_of_a_usual_request_makes_a_difference(project: str) -> None:
    assert play(project, CHANGES) > 0


@pytest.mark.parametrize("project", ["plain", "strict", "lax", "suffix", "engine", "key ends"])
def test_no_time_of_a_token_makes_a_difference(project: str) -> None:
    timed = [each for each in CLAIMS if {"exp", "iat", "nbf"} & each.keys()]
    changes = [{"claims": claims, "now": now} for claims in [{}, *timed] for now in TIMES]
    assert play(project, changes) > 0
