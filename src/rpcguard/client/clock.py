"""The client's clock, which may learn how far the server's is off."""

from __future__ import annotations

from collections.abc import Callable

from rpcguard.client.answer import Answer

MAX_SKEW = 3600.0  # seconds: a clock in the wrong time zone; beyond, somebody plays with ours
STEP = 2.0  # seconds; `Date` has whole ones, and the answer took a while

# `invalid_claims` is what a token gets that ends too far ahead, which a fast clock makes
_OF_TIME = frozenset({"expired", "not_yet_valid", "invalid_claims"})


class Clock:
    """
    A clock and the skew that was learnt.

    Only an answer that refuses a request for its time teaches, and at most *max_skew*: who could
    move the clock at will would get signatures for next year.

    Attributes:
        skew: Seconds that the server is ahead.
    """

    def __init__(self, read: Callable[[], float], max_skew: float = MAX_SKEW) -> None:
        if not 0 <= max_skew < float("inf"):
            raise ValueError("max_skew is a number of seconds, not negative")
        self.read = read
        self.skew = 0.0
        self._max_skew = max_skew

    def now(self) -> float:
        """Return the server's Unix seconds, as far as is known."""
        return self.read() + self.skew

    def learn(self, answer: Answer, used: float) -> bool:
        """
        Return whether *answer* says that time was the reason, and the skew is another now.

        Args:
            answer: The answer to a request.
            used: The skew by which that request was signed: others may have learnt meanwhile.
        """
        server = answer.server_time
        if server is None or answer.reason not in _OF_TIME:
            return False
        # `Date` is rounded down, so that what is signed next is never ahead of the server
        skew = server - self.read()
        if abs(skew - used) < STEP or abs(skew) > self._max_skew:
            return False
        self.skew = skew
        return True
