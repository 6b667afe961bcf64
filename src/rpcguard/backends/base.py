"""What every backend does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rpcguard.owed import Answer, Owed, Record, Revocation

# Unix seconds (year 33658). A nonce that would live longer is refused: somebody took milliseconds
# for seconds, and no backend can count on keeping it.
LATEST = 1e12


class Backend(Protocol):
    """
    One store of nonces and revocations. Thread-safe; time always comes from the caller.

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

    async def asettle(self, owed: Owed, now: float) -> Answer:
        """`settle` without ever blocking the running event loop for long."""
        ...

    @property
    def epoch(self) -> bytes:
        """What changes when the backend may have forgotten what was spent; challenges hold it."""
        ...

    def spent(self, names: Sequence[bytes], now: float) -> frozenset[bytes]:
        """
        Return those of *names* that are spent nonces.

        Raises:
            BackendError: If the backend could not answer.
        """
        ...

    def put(self, record: Record, now: float) -> None:
        """
        Keep *record*, durably, before returning; what its slot held ends in the same step.

        Raises:
            BackendError: If it could not be recorded; then the previous one still stands.
        """
        ...

    def rotate(self, name: bytes, record: Record, now: float) -> Answer:
        """
        Spend the record *name* and put *record* in its place, in one durable step.

        Of two callers one gets `OK` and the other `REPLAYED` with the value of the spent record;
        `UNKNOWN` where there is no such record, or it has ended.

        Raises:
            BackendError: If it could not be recorded.
        """
        ...

    def drop(self, slot: bytes, now: float) -> bool:
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
