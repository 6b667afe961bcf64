"""
`sqlite://`: several connections, whose clocks may differ, on one file.

Nonces are moved and dropped a few at a time, so that every step of the long way meets every other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.kinds import START, owe
from backends.stores import assert_whole, opened
from rpcguard.backends import sqlite_nonces
from rpcguard.backends.memory import MemoryBackend
from rpcguard.owed import Answer, Owed, Revocation, Verdict

OK, FORGOTTEN, REPLAYED = Answer.OK, Answer.FORGOTTEN, Answer.REPLAYED
TOKEN = b"t" * 16
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


class Asked(NamedTuple):
    """A question, and who puts it when."""

    who: int
    at: float
    name: int
    end: float
    limit: int
    revocable: bool = False

    @property
    def owed(self) -> Owed:
        """Return it; names are split among two subjects, and these among two projects."""
        names = (TOKEN,) if self.revocable else ()
        of = {"project": "pq"[self.name % 4 // 3], "subject": "st"[self.name % 2]}
        limits = {"subject_limit": self.limit, "project_limit": self.limit + 2}
        return owe(str(self.name), lasts=self.end, revocable=names, **of, **limits)


ASKED = st.builds(
    Asked,
    who=st.integers(0, 2),
    at=st.sampled_from([0, 2, 4.5, 5, 6, 9, 13]),
    name=st.integers(0, 7),
    end=st.sampled_from([3, 5, 5.5, 8, 14]),
    limit=st.sampled_from([0, 1, 2, 100, 100, 100]),
)
STEPS = st.builds(
    Asked,
    who=st.integers(0, 2),
    at=st.sampled_from([0, 0, 0, 0.5, 1, 7]),
    name=st.integers(0, 15),
    end=st.sampled_from([-1, 0, 0.5, 1.25, 2, 9, 30]),
    limit=st.sampled_from([0, 1, 2, 5, 100]),
    revocable=st.booleans(),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sqlite_nonces, "RECENT", 3)
    sqlite_nonces._add_sql.cache_clear()
    yield
    sqlite_nonces._add_sql.cache_clear()


@pytest.fixture(params=[0, 1])
def lazy(request: pytest.FixtureRequest, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have so few dropped that most of what has ended is still there."""
    monkeypatch.setattr(sqlite_nonces, "STEP", request.param)
    monkeypatch.setattr(sqlite_nonces, "STEP_WHEN_FULL", request.param)


@pytest.mark.usefixtures("lazy")
@settings(max_examples=100, suppress_health_check=QUIET)
@given(asked=st.lists(ASKED, min_size=30, max_size=60))
def test_whatever_the_clocks_say_no_proof_is_accepted_twice(
    tmp_path_factory: pytest.TempPathFactory, asked: list[Asked]
) -> None:
    path = tmp_path_factory.mktemp("clocks") / "store.db"
    with ExitStack() as stack:
        backends = [stack.enter_context(opened(path)) for _ in range(3)]
        ends: dict[int, list[float]] = {}
        latest = 0.0
        for each in asked:
            latest = max(latest, each.at)
            answer = backends[each.who].settle(each.owed, START + each.at)
            if answer is not OK:
                continue
            known = ends.setdefault(each.name, [])
            assert each.end not in known
            assert all(end <= latest for end in known)  # nor its name, while all say it is live
            known.append(each.end)
    assert_whole(path)


@pytest.mark.usefixtures("small")
@settings(max_examples=100, suppress_health_check=QUIET)
@given(asked=st.lists(STEPS, min_size=20, max_size=60), revoked=st.integers(0, 60))
def test_with_one_clock_they_say_what_memory_says(
    tmp_path_factory: pytest.TempPathFactory, asked: list[Asked], revoked: int
) -> None:
    path = tmp_path_factory.mktemp("oracle") / "store.db"
    passed = 0.0
    with ExitStack() as stack:
        memory = stack.enter_context(closing(MemoryBackend(now=START)))
        backends = [stack.enter_context(opened(path)) for _ in range(3)]
        for number, each in enumerate(asked):
            passed += each.at
            if number == revoked:
                for backend in (memory, backends[each.who]):
                    backend.revoke([Revocation(TOKEN, None, START + passed + 5)], START + passed)
            owed = each._replace(end=passed + each.end).owed
            now = START + passed
            backend = backends[each.who]
            answer = (
                asyncio.run(backend.asettle(owed, now)) if number % 3 else backend.settle(owed, now)
            )
            assert answer == memory.settle(owed, now)
            names = [one.owed.nonce.name for one in asked if one.owed.nonce]
            found = [one.spent("p", "s", names, now) for one in (memory, *backends)]
            assert found == [found[0]] * 4
    assert_whole(path)


@pytest.mark.usefixtures("lazy")
def test_one_that_ended_is_not_forgotten_for_a_refusal(path: Path) -> None:
    """A clock that is behind would accept it again."""
    with opened(path) as ahead, opened(path) as behind:
        for number in range(4):
            assert ahead.settle(owe(str(number), lasts=number + 1), START).verdict is Verdict.OK
        assert ahead.settle(owe("n", lasts=9), START) is OK
        full = owe("n", lasts=90, subject_limit=1)
        assert ahead.settle(full, START + 10) is Answer.SUBJECT_FULL
        assert behind.settle(owe("n", lasts=9), START + 8) in (REPLAYED, FORGOTTEN)


def test_the_last_moment_through_which_was_dropped_is_refused_itself(path: Path) -> None:
    with opened(path) as ahead, opened(path) as behind:
        assert ahead.settle(owe("n", lasts=5), START) is OK
        for number in range(2 * sqlite_nonces.RECENT):  # of which some move and drop it
            assert ahead.settle(owe(str(number)), START + 5) is OK
        for name in ("n", "another"):
            assert behind.settle(owe(name, lasts=5), START + 4) is FORGOTTEN
            assert behind.settle(owe(name, lasts=5.25), START + 4) is OK


def test_each_is_kept_to_the_end_of_the_second_in_which_it_ends(path: Path) -> None:
    names = [str(number) for number in range(3 * sqlite_nonces.RECENT)]
    with opened(path) as backend:
        for name in names:  # the first after a move is written by the long way
            assert backend.settle(owe(name, lasts=5.5), START) is OK
        assert {backend.settle(owe(name, lasts=5.5), START + 5.25) for name in names} == {REPLAYED}
    assert_whole(path)
