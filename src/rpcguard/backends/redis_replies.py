"""
Replies of a server as bytes (RESP2), in pieces of any size, and what they are.

redis-py gives an event loop its replies one by one, each through several coroutines; here all that
have come are read in one step. An error reply is a value, as in a pipeline of redis-py.

Who is in the place of the server may send anything: a reply that is larger than any of ours is
none, so that what is kept of one, and read again when more of it comes, stays small.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from rpcguard.backends.redis_flow import LostError

_ZERO = b":0\r\n"
_NONE = -1  # the size of what is not there
_END = b"\r\n"
_OTHER = "the server speaks another protocol"
_DEEPEST = 2  # arrays in arrays; ours have one in them at most
_LONGEST = 16  # elements of an array; ours have two at most
_LARGEST = 1 << 20  # bytes of a text; ours are what an issuer wants to know of a credential
_REST = _LARGEST + 4096  # bytes of a reply that has not all come


class Replies:
    """What has come over one connection and is no whole reply yet."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
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
            while (read := _reply(data, start, 0)) is not None:
                value, start = read
                found.append(value)
        except ValueError:
            raise LostError(_OTHER, sent=True) from None
        self._rest = data[start:]
        if len(self._rest) > _REST:
            raise LostError(_OTHER, sent=True)
        return found


def _reply(data: bytes, start: int, depth: int) -> tuple[Any, int] | None:
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
        return _bulk(data, end, _number(text))
    if kind == b"*" and depth < _DEEPEST:
        return _array(data, end, _number(text), depth + 1)
    if kind == b"+":
        return text, end
    if kind == b"-":
        return ResponseError(text.decode("utf-8", "replace")), end
    raise ValueError


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit():  # `int` is more lenient
        raise ValueError
    return int(text)


def _bulk(data: bytes, start: int, size: int) -> tuple[bytes | None, int] | None:
    if size == _NONE:
        return None, start
    if not 0 <= size <= _LARGEST:
        raise ValueError
    end = start + size
    if len(data) < end + len(_END):
        return None
    if not data.startswith(_END, end):
        raise ValueError
    return data[start:end], end + len(_END)


def _array(data: bytes, start: int, size: int, depth: int) -> tuple[list[Any] | None, int] | None:
    if size == _NONE:
        return None, start
    if not 0 <= size <= _LONGEST:
        raise ValueError
    found = []
    for _ in range(size):
        read = _reply(data, start, depth)
        if read is None:
            return None
        value, start = read
        found.append(value)
    return found, start
