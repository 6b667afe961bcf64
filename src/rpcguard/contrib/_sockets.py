"""
What the adapters share about WebSockets, knowing no framework: the subprotocol that carries a
token, and when a socket that was accepted must be closed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.verifier import Verifier

RECHECK: Final = 30.0  # seconds between two rechecks
SUBPROTOCOL: Final = "Sec-WebSocket-Protocol"
POLICY_VIOLATION: Final = 1008  # RFC 6455 section 7.4.1
TRY_AGAIN_LATER: Final = 1013  # the IANA registry of close codes

_PATIENCE: Final = 3  # rechecks in a row that the backend may leave without an answer
_DAY: Final = 86_400.0
_SHORTEST: Final = 0.01  # a timer may fire a little early: no busy loop then

_log = logging.getLogger("rpcguard")
_CARRIER = re.compile(r"auth\.[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110 section 5.6.2


def interval(recheck: float) -> float:
    """
    Return *recheck*, seconds between two rechecks.

    Raises:
        ValueError: If it is not more than 0 and at most a day.
    """
    if not 0 < recheck <= _DAY:
        raise ValueError("recheck is a number of seconds, more than 0 and at most 86400")
    return recheck


@dataclass(frozen=True, slots=True)
class Offer:
    """
    The subprotocols that a handshake offers.

    Attributes:
        plain: Those for the application, in order.
        carrier: The `auth.TOKEN` to select if the application selects none, else None: a browser
            drops the socket when it offered some and none is selected.
        carries: Whether any of them carries a token.
    """

    plain: tuple[str, ...]
    carrier: str | None = field(repr=False)
    carries: bool


def offer(values: Iterable[str]) -> Offer:
    """Return what the values of `Sec-WebSocket-Protocol` offer."""
    names = [name for value in values for part in value.split(",") if (name := part.strip(" \t"))]
    carriers = [name for name in names if name.startswith("auth.")]
    plain = tuple(name for name in names if not name.startswith("auth."))
    carrier = carriers[0] if carriers and _CARRIER.fullmatch(carriers[0]) else None
    return Offer(plain, carrier, bool(carriers))


@dataclass(slots=True)
class _Guard:
    verifier: Verifier
    project: str | None
    schemes: frozenset[str] | None
    frames: bool
    ends_at: float | None

    @property
    def left(self) -> float | None:
        """Seconds until the credential ends, by the verifier's clock."""
        if self.ends_at is None:
            return None
        return self.ends_at - self.verifier._clock()  # noqa: SLF001 - its clock, not ours, counts


class Watch:
    """
    Tells when an accepted socket must be closed; the adapter waits, asks and closes.

    The expiry of a credential needs no backend. A recheck asks everything else again: whether the
    key or wallet is still there, its dates, the policy, revocation.
    """

    __slots__ = ("_guards", "_recheck", "_silent", "request")

    def __init__(self, request: Request, recheck: float) -> None:
        """
        Args:
            request: The handshake as it came, credentials included.
            recheck: Seconds between two rechecks.
        """
        self.request = request
        self._recheck = recheck
        self._guards: list[_Guard] = []
        self._silent = 0

    def add(
        self,
        verifier: Verifier,
        project: str | None,
        schemes: frozenset[str] | None,
        principal: Principal,
        *,
        frames: bool = False,
    ) -> None:
        """Remember a guard that has let the handshake in; it will be asked the same again."""
        self._guards.append(_Guard(verifier, project, schemes, frames, principal.expires_at))

    @property
    def frames(self) -> bool:
        """Whether some guard let the handshake in on the word that each message is checked."""
        return any(guard.frames for guard in self._guards)

    def wait(self) -> float:
        """Return the seconds until the next `check`."""
        lefts = [left for guard in self._guards if (left := guard.left) is not None]
        return max(_SHORTEST, min(self._recheck, *lefts, _DAY))

    def check(self) -> int | None:
        """Return the code to close with, or None if the socket may stay."""
        if self._ended():
            return POLICY_VIOLATION
        try:
            for guard in self._guards:
                principal = guard.verifier.verify(
                    self.request,
                    project=guard.project,
                    schemes=guard.schemes,
                    standing=True,
                    frames=guard.frames,
                )
                guard.ends_at = principal.expires_at
        except AuthError as error:
            return self._refused(error)
        except Exception:  # noqa: BLE001 - it is logged there
            return self._failed()
        self._silent = 0
        return None

    async def acheck(self) -> int | None:
        """`check` for a running event loop; see there."""
        if self._ended():
            return POLICY_VIOLATION
        try:
            for guard in self._guards:
                principal = await guard.verifier.averify(
                    self.request,
                    project=guard.project,
                    schemes=guard.schemes,
                    standing=True,
                    frames=guard.frames,
                )
                guard.ends_at = principal.expires_at
        except AuthError as error:
            return self._refused(error)
        except Exception:  # noqa: BLE001 - it is logged there
            return self._failed()
        self._silent = 0
        return None

    def _ended(self) -> bool:
        return any((left := guard.left) is not None and left <= 0 for guard in self._guards)

    def _refused(self, error: AuthError) -> int | None:
        return self._unanswered() if error.reason == "backend_unavailable" else POLICY_VIOLATION

    def _failed(self) -> int | None:
        # A thread or task that dies here would leave the socket open for good
        _log.exception("a recheck of a WebSocket failed")
        return self._unanswered()

    def _unanswered(self) -> int | None:
        self._silent += 1
        return TRY_AGAIN_LATER if self._silent >= _PATIENCE else None
