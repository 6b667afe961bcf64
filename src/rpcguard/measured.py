"""How long the backend and the limits take to answer, and whether they do, for observers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rpcguard.backends.base import Backend
from rpcguard.errors import AuthError
from rpcguard.observer import Consulted, Observer
from rpcguard.owed import Answer, Owed, Record, Revocation


class Measured:
    """
    A context in which a question is asked: tells the observer, if there is one, how it ended.

    What was given up on the way (the client is gone, the loop ends) is not told: nothing is known.
    """

    __slots__ = ("_observer", "_operation", "_started")

    def __init__(self, observer: Observer | None, operation: str) -> None:
        """
        Args:
            observer: Told of a `Consulted`.
            operation: One of `rpcguard.observer.OPERATIONS`.
        """
        self._observer = observer
        self._operation = operation
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._observer is None or not (error is None or isinstance(error, Exception)):
            return
        failed = error is not None
        if isinstance(error, AuthError):  # of the limits: "too many" is an answer
            failed = error.reason == "backend_unavailable"
        seconds = time.perf_counter() - self._started
        self._observer(Consulted(self._operation, seconds, failed))


class MeasuredBackend:
    """A backend whose answers an observer is told of; see `Backend` for what it does."""

    def __init__(self, backend: Backend, observer: Observer) -> None:
        """
        Args:
            backend: Asked.
            observer: Told.
        """
        self._backend = backend
        self._observer = observer

    def settle(self, owed: Owed, now: float) -> Answer:
        """See `Backend.settle`."""
        with Measured(self._observer, "settle"):
            return self._backend.settle(owed, now)

    async def asettle(self, owed: Owed, now: float) -> Answer:
        """See `Backend.asettle`."""
        with Measured(self._observer, "settle"):
            return await self._backend.asettle(owed, now)

    def epoch(self, bucket: int) -> bytes:
        """See `Backend.epoch`."""
        with Measured(self._observer, "epoch"):
            return self._backend.epoch(bucket)

    def spent(
        self, project: str, subject: str, names: Sequence[bytes], now: float
    ) -> frozenset[bytes]:
        """See `Backend.spent`."""
        with Measured(self._observer, "spent"):
            return self._backend.spent(project, subject, names, now)

    def put(self, record: Record, now: float) -> Answer:
        """See `Backend.put`."""
        with Measured(self._observer, "put"):
            return self._backend.put(record, now)

    def rotate(self, name: bytes, record: Record, now: float) -> Answer:
        """See `Backend.rotate`."""
        with Measured(self._observer, "rotate"):
            return self._backend.rotate(name, record, now)

    def drop(self, bucket: int, slot: bytes, now: float) -> bool:
        """See `Backend.drop`."""
        with Measured(self._observer, "drop"):
            return self._backend.drop(bucket, slot, now)

    def revoke(self, revocations: Sequence[Revocation], now: float) -> None:
        """See `Backend.revoke`."""
        with Measured(self._observer, "revoke"):
            self._backend.revoke(revocations, now)

    def close(self) -> None:
        """See `Backend.close`."""
        self._backend.close()
