"""What is remembered of verified tokens: bounded, and what is asked for again stays."""

from __future__ import annotations

import pytest

from rpcguard.schemes.remembered import Remembered, Watched


def filled(most: int, names: str) -> Remembered[str]:
    """Return a cache of *most* entries into which *names* were put."""
    cache: Remembered[str] = Remembered(most)
    for name in names:
        cache.put(name.encode(), name)
    return cache


def known(cache: Remembered[str], names: str) -> str:
    """Return those of *names* that are remembered."""
    return "".join(cache.get(name.encode()) or "" for name in names)


@pytest.mark.parametrize(
    ("most", "put", "left"),
    [
        (4, "", ""),
        (4, "a", "a"),
        (4, "abcd", "abcd"),
        (4, "abcde", "cde"),
        (4, "abcdef", "cdef"),
        (4, "abcdefg", "efg"),
        (5, "abcdef", "cdef"),
        (2, "abc", "bc"),
        (4, "aabb", "ab"),
    ],
)
def test_the_later_half_stays_when_there_is_no_room(most: int, put: str, left: str) -> None:
    assert len(filled(most, put)) == len(left)
    assert "".join(known(filled(most, put), name) for name in "abcdefg") == left


def test_what_is_asked_for_again_stays() -> None:
    cache = filled(4, "abc")
    assert known(cache, "a") == "a"  # now beside c
    cache.put(b"d", "d")

    assert len(cache) == 3
    assert known(cache, "dca") == "dca"
    assert known(cache, "b") == ""


def test_the_latest_of_a_name_counts_and_counts_once() -> None:
    cache = filled(4, "abc")
    cache.put(b"a", "new")

    assert cache.get(b"a") == "new"
    assert len(cache) == 3


def test_who_watches_is_told_whether_a_name_was_known() -> None:
    told: list[bool] = []
    cache: Watched[str] = Watched(4, told.append)
    cache.put(b"a", "a")

    assert [cache.get(name) for name in (b"a", b"b")] == ["a", None]
    assert told == [True, False]
    for name in (b"b", b"c", b"d", b"e"):
        cache.put(name, "")
    assert len(cache) == 3  # as bounded as one that nobody watches
