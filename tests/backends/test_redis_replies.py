"""Replies as bytes, in whatever pieces they come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from rpcguard.backends.redis_flow import LostError, Reply, Send
from rpcguard.backends.redis_links import outcomes
from rpcguard.backends.redis_questions import Asking
from rpcguard.backends.redis_replies import Replies
from rpcguard.backends.redis_settings import Address


class Failure:
    """An error reply, comparable."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResponseError) and str(other) == self.text

    __hash__ = None  # type: ignore[assignment]


ONE = (
    st.integers(-(2**63), 2**63 - 1)
    | st.just(0)
    | st.binary(max_size=40)
    | st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20).map(Failure)
)
VALUES = st.lists(ONE | st.lists(ONE | st.lists(ONE, max_size=3), max_size=3), max_size=20)
LARGEST = 1 << 20


def encoded(value: Any) -> bytes:
    """Return *value* as a server sends it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, Failure):
        return b"-%b\r\n" % value.text.encode()
    return b"*%d\r\n%b" % (len(value), b"".join(map(encoded, value)))


@given(VALUES, st.data())
def test_replies_are_the_same_in_whatever_pieces_they_come(
    values: list[Any], data: st.DataObject
) -> None:
    whole = b"".join(map(encoded, values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reader = Replies()
    found: list[Any] = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += reader.read(whole[start:end])
    assert values == found


@pytest.mark.parametrize("count", [1, 2, 16, 1000])
def test_what_most_settles_are_answered_with_is_read_at_once_and_behind_a_part(count: int) -> None:
    zeros = b":0\r\n" * count
    assert Replies().read(zeros) == [0] * count
    reader = Replies()
    assert reader.read(zeros + b":") == [0] * count
    assert reader.read(b"3\r\n" + zeros) == [3] + [0] * count
    assert Replies().read(zeros + b":2\r\n") == [0] * count + [2]


@pytest.mark.parametrize(
    "data",
    [
        *(b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b":x\r\n", b"$y\r\n", b"*z\r\n", b"*1\r\n" * 3),
        *(b": 1\r\n", b":1_0\r\n", b":+1\r\n", b":\r\n", b":%b\r\n" % (b"9" * 5000)),
        *(b"$1\r\nab\r\n", b"$-2\r\n", b"*-2\r\n", b">1\r\n:0\r\n", b"_\r\n", b"%0\r\n"),
    ],
)
def test_what_is_no_reply_ends_the_connection(data: bytes) -> None:
    with pytest.raises(LostError, match="another protocol") as caught:
        Replies().read(b":0\r\n" + data)
    assert caught.value.sent


@pytest.mark.parametrize("data", [b"$%d\r\n" % (LARGEST + 1), b"*17\r\n", b"*1\r\n*9999999999\r\n"])
def test_a_reply_larger_than_any_of_ours_ends_the_connection_before_it_comes(data: bytes) -> None:
    with pytest.raises(LostError, match="another protocol"):
        Replies().read(data)


@pytest.mark.parametrize(
    "data", [b"+" + b"x" * LARGEST * 2, b"*3\r\n" + encoded(b"x" * (LARGEST - 9)) * 2]
)
def test_what_never_becomes_a_whole_reply_is_not_collected_without_end(data: bytes) -> None:
    reader = Replies()
    half = len(data) // 2
    assert reader.read(b":0\r\n" + data[:half]) == [0]
    with pytest.raises(LostError, match="another protocol"):
        reader.read(data[half:])


def test_the_largest_reply_is_read_in_pieces() -> None:
    value = b"x" * LARGEST
    data = encoded([4, value])[:-2]  # what ends it comes last
    reader = Replies()
    found = [
        each for n in range(0, len(data), 1 << 16) for each in reader.read(data[n : n + (1 << 16)])
    ]
    assert found == []
    assert reader.read(b"\r\n:0\r\n") == [[4, value], 0]


def test_simple_strings_and_empty_lists_are_values() -> None:
    assert Replies().read(b"+OK\r\n*0\r\n*-1\r\n$0\r\n\r\n") == [b"OK", [], None, b""]


def test_a_server_that_loads_its_data_has_not_answered() -> None:
    step = Send(Address("one", 1), Asking("x", 0.25).epoch(7))
    replies = [ResponseError("LOADING Redis is loading the dataset in memory"), 0]
    lost, answered = outcomes([step, step], replies)
    assert isinstance(lost, LostError)
    assert (str(lost), lost.sent, lost.late) == ("the server is loading its data", False, False)
    assert answered == Reply(0)
