"""
What a verifier tells about itself, as values, and to whom: `from_yaml(..., observers=[…])`.

An observer is any callable that takes an event. `rpcguard.observers` has those for Prometheus and
OpenTelemetry. It is called at once, in the thread or task of the request, so it must not block;
what it raises is logged and changes no verdict.

No event holds a credential, nor anything else that a caller is free to make up, but `subject` and
`key_id`, which were proved.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_log = logging.getLogger("rpcguard")


@dataclass(frozen=True, slots=True)
class Judged:
    """
    A verdict: what the audit trail records too, and as often.

    Attributes:
        kind: "request", "handshake" of a WebSocket, "message" on it, "recheck" of it (told only
            where it refuses), or the route that issues credentials, such as "/auth/verify".
        project: Name of the project in the registry; "" where none matched.
        scheme: The kind of credential that was looked at, as `Principal.scheme`; "none" where there
            was not exactly one.
        seconds: How long it took, with the backend, the limits and the reading of the body.
        reason: Why it was refused (`AuthError.reason`); None if it was accepted.
        code: JSON-RPC error code of a refusal, as it was sent; None if it was accepted.
        status: HTTP status of a refusal, likewise.
        subject: Who was proved, also if the policy, a limit or the backend refused; else None.
        key_id: Id of the key that proved it, or None.
    """

    kind: str
    project: str
    scheme: str
    seconds: float
    reason: str | None = None
    code: int | None = None
    status: int | None = None
    subject: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Consulted:
    """
    A question to the backend, or to the counters of the limits, has ended.

    Attributes:
        operation: A method of `Backend`, as "settle" for `settle` and `asettle` both; "count" for
            the limits.
        seconds: How long it took.
        failed: Whether there was no answer: callers get 503.
    """

    operation: str
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True)
class LookedUp:
    """
    A token was looked up among those whose signature is known to be good.

    Attributes:
        project: Name of the project.
        found: Whether it was there. If not, the signature is checked.
    """

    project: str
    found: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    The registry was read: at the start, and at each reload.

    Attributes:
        generation: How many times this process has loaded it well, the start included.
        successful: Whether it was taken. If not, the last good generation stays in use.
    """

    generation: int
    successful: bool


Event = Judged | Consulted | LookedUp | Loaded
Observer = Callable[[Event], None]

OPERATIONS = ("settle", "epoch", "spent", "put", "rotate", "drop", "revoke", "count")


def together(observers: Iterable[Observer]) -> Observer | None:
    """
    Return one observer for all of *observers*, which never raises an `Exception`; None for none.

    Raises:
        TypeError: If one of them cannot be called.
    """
    everyone = tuple(_Guarded(observer) for observer in observers)
    if not everyone:
        return None
    if len(everyone) == 1:
        return everyone[0]

    def tell(event: Event) -> None:
        for observer in everyone:
            observer(event)

    return tell


class _Guarded:
    """One observer; its failures are logged, each place in its code once."""

    __slots__ = ("_complaints", "_observer")

    def __init__(self, observer: Observer) -> None:
        if not callable(observer):
            raise TypeError(f"an observer is called with events: {type(observer).__name__} cannot")
        self._observer = observer
        self._complaints: set[str] = set()

    def __call__(self, event: Event) -> None:
        try:
            self._observer(event)
        except Exception as error:  # noqa: BLE001 - a request must not depend on who looks on
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        # The text of an error that is not ours may quote whom it was told of: kind and place alone
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} at {frame.filename}:{frame.lineno}"
        if text not in self._complaints:
            self._complaints.add(text)
            _log.error("an observer failed, which changes no verdict: %s", text)
