"""What every backend does."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from rpcguard.owed import Answer, Owed, Record, Revocation

# Unix seconds (year 33658). A nonce that would live longer is refused: somebody took milliseconds
# for seconds, and no backend can count on keeping it.
LATEST = 1e12


class Backend(Protocol):
    """
    One store of nonces, revocations and records. Thread-safe; time always comes from the caller.

    All that one request can owe is in one of 256 buckets, so that a store that is spread over
    machines answers from one of them. A store of one machine ignores the buckets. A proof has one
    project and one subject; whether nonces of one name from two are one or two is left open.

    A backend never lies on the safe side's cost: what it cannot know it refuses. It raises
    `BackendError` within a bounded time (default 250 ms) when it is down, slow, locked or full.
    """

    def settle(self, owed: Owed, now: float) -> Answer:
        """
        Answer everything *owed* in one atomic step: revocations first, then the nonce is spent.

        Args:
            owed: The questions of one request.
            now: Unix seconds.

        Raises:
            BackendError: If the backend could not answer. Never swallow this.
        """
        ...

    def asettle(self, owed: Owed, now: float) -> Awaitable[Answer]:
        """
        `settle` without ever blocking the running event loop for long.

        A coroutine or a future: whoever asks awaits it, and makes no task of it.
        """
        ...

    def epoch(self, bucket: int) -> bytes:
        """
        Return what changes when the backend may have forgotten what was spent in *bucket*;
        challenges hold it.

        Raises:
            BackendError: If the backend could not answer.
        """
        ...

    def spent(
        self, project: str, subject: str, names: Sequence[bytes], now: float
    ) -> frozenset[bytes]:
        """
        Return those of *names* that are nonces which *subject* has spent in *project*.

        Raises:
            BackendError: If the backend could not answer.
        """
        ...

    def put(self, record: Record, now: float) -> Answer:
        """
        Keep *record*, durably, before returning; what its slot held ends in the same step.

        `SUBJECT_FULL` or `PROJECT_FULL`, and nothing changes, where the slot holds no live record
        and the subject or the project has as many as it may. What has ended does not count.

        Raises:
            BackendError: If it could not be recorded, or if another slot has a record of this name;
                then the previous one still stands.
        """
        ...

    def rotate(self, name: bytes, record: Record, now: float) -> Answer:
        """
        Put *record* in the place of the record *name*, in one durable step, if its slot holds that.

        The answer is that to an `Owed` with this name and slot. Of two callers with one name one
        gets `OK`, and the other `REPLAYED` with the value of what is there now.

        Raises:
            BackendError: As `put`.
        """
        ...

    def drop(self, bucket: int, slot: bytes, now: float) -> bool:
        """
        End the record in *slot*, durably; return whether there was one.

        Raises:
            BackendError: If it could not be recorded.
        """
        ...

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """
        Record *revocations*, durably, before returning; each process sees them at its next request.

        Raises:
            BackendError: If it could not be recorded.
        """
        ...

    def close(self) -> None:
        """Release files and connections. Closing twice is harmless."""
        ...
