"""
Replies of a server as bytes (RESP2), in pieces of any size, and what they are.

redis-py gives an event loop its replies one by one, each through several coroutines, and a thread
waits there as long as something comes; here all that have come are read in one step. An error reply
is a value, as in a pipeline of redis-py.

Who is in the place of the server may send anything: a reply that is larger than any of ours is
none, so that what is kept of one, and read again when more of it comes, stays small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from rpcguard.backends.redis_flow import LostError

_ZERO = b":0\r\n"
_NONE = -1  # the size of what is not there
_END = b"\r\n"
_OTHER = "the server speaks another protocol"


class Bounds(NamedTuple):
    """
    What a reply may have; a larger one is none.

    Attributes:
        deepest: Arrays in arrays.
        longest: Elements of an array.
        largest: Bytes of a text.
    """

    deepest: int
    longest: int
    largest: int


# Settles are answered with two values at most, one of which is what an issuer wants to know of a
# credential; the nodes of a Cluster with as many as there are ranges of slots.
OURS = Bounds(2, 16, 1 << 20)
ANY = Bounds(5, 1 << 16, 1 << 22)
_HEADS = 4096  # bytes of a reply that are none of its texts


class Replies:
    """What has come over one connection and is no whole reply yet."""

    __slots__ = ("_bounds", "_rest")

    def __init__(self, bounds: Bounds = OURS) -> None:
        self._bounds = bounds
        self._rest = b""

    def read(self, data: bytes) -> list[Any]:
        """
        Return the replies that are whole now that *data* has come: integers, bytes, None, lists of
        these, and errors.

        Raises:
            LostError: If that is no reply.
        """
        if not self._rest:
            zeros, odd = divmod(len(data), len(_ZERO))
            if not odd and data == _ZERO * zeros:  # what the usual settles are answered with
                return [0] * zeros
        data = self._rest + data
        found: list[Any] = []
        start = 0
        try:
            while (read := _reply(data, start, self._bounds)) is not None:
                value, start = read
                found.append(value)
        except ValueError:
            raise LostError(_OTHER, sent=True) from None
        self._rest = data[start:]
        if len(self._rest) > self._bounds.largest + _HEADS:
            raise LostError(_OTHER, sent=True)
        return found


def _reply(data: bytes, start: int, bounds: Bounds) -> tuple[Any, int] | None:
    """
    Return the reply that begins at *start*, and where it ends; None where it has not all come.

    Raises:
        ValueError: If there is none.
    """
    line_end = data.find(_END, start)
    if line_end < 0:
        return None
    kind, text, end = data[start : start + 1], data[start + 1 : line_end], line_end + len(_END)
    if kind == b":":
        return _number(text), end
    if kind == b"$":
        return _bulk(data, end, _number(text), bounds)
    if kind == b"*" and bounds.deepest:
        return _array(data, end, _number(text), bounds._replace(deepest=bounds.deepest - 1))
    if kind == b"+":
        return text, end
    if kind == b"-":
        return ResponseError(text.decode("utf-8", "replace")), end
    raise ValueError


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit():  # `int` is more lenient
        raise ValueError
    return int(text)


def _bulk(data: bytes, start: int, size: int, bounds: Bounds) -> tuple[bytes | None, int] | None:
    if size == _NONE:
        return None, start
    if not 0 <= size <= bounds.largest:
        raise ValueError
    end = start + size
    if len(data) < end + len(_END):
        return None
    if not data.startswith(_END, end):
        raise ValueError
    return data[start:end], end + len(_END)


def _array(
    data: bytes, start: int, size: int, bounds: Bounds
) -> tuple[list[Any] | None, int] | None:
    if size == _NONE:
        return None, start
    if not 0 <= size <= bounds.longest:
        raise ValueError
    found = []
    for _ in range(size):
        read = _reply(data, start, bounds)
        if read is None:
            return None
        value, start = read
        found.append(value)
    return found, start
