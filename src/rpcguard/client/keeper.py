"""
Keeps one session: signs in when there is none, renews it when it ended, one renewal at a time.

Whoever finds no session becomes the one who gets it, and the others wait for that: two hundred
requests that were refused together make one sign-in. Its steps are those of `steps`.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass

from rpcguard.client.answer import Answer
from rpcguard.client.clock import Clock
from rpcguard.client.session import Session, SignIn, challenge_body, verify_body
from rpcguard.client.signers import reuse_of
from rpcguard.client.steps import Ask, Exchange, Origin, Step, Wait
from rpcguard.errors import RpcGuardError

OTHERS = 3  # sign-ins of others that a request waits for in vain before it gives up
TRIES = 2  # challenges to answer: two clients of one wallet may be handed the same one

_REFUSED = frozenset({400, 401, 403})  # of a refresh token: spent, revoked, or refresh is off


class SignInError(RpcGuardError):
    """
    The server gave no session.

    Attributes:
        status: HTTP status of its answer.
        reason: Its reason, a slug of `rpcguard.errors.REASONS`; "" where it gave none.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"cannot sign in: HTTP {status} {reason}".rstrip())


@dataclass(frozen=True, slots=True)
class _Kept:
    """A session and the instant, by our own clock, until which it is used."""

    session: Session
    until: float


_Sought = Generator[Step, Answer | None, Session]
_Flight = Future[Session | SignInError | None]  # None: whoever signed in was cut off


class Keeper:
    """The session of one wallet at one server; threads and tasks may share it."""

    def __init__(self, sign_in: SignIn, origin: Origin, clock: Clock) -> None:
        self._sign_in = sign_in
        scheme, host, port = origin
        self._base = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{sign_in.prefix}"
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._flight: _Flight | None = None

    def session(self, refused: Session | None = None) -> _Sought:
        """
        Return the steps to a session.

        Args:
            refused: One that the server has refused; it is not given again.

        Raises:
            SignInError: From a step, if the server gives none.
        """
        for _ in range(OTHERS):
            with self._lock:
                kept, flight = self._kept, self._flight
                if kept is not None and kept.session is not refused and self._lasts(kept):
                    return kept.session
                if flight is None:
                    mine: _Flight = Future()
                    mine.set_running_or_notify_cancel()  # a waiter that is cancelled cancels itself
                    self._flight = mine
            if flight is None:
                return (yield from self._lead(mine, kept))
            yield Wait(flight)
            found = flight.result(0)
            if isinstance(found, SignInError):
                raise SignInError(found.status, found.reason)
            if found is not None:  # for us too, however soon it ends
                return found
        raise TimeoutError("others tried to sign in, and were cut off")

    def drop(self, session: Session) -> None:
        """Forget *session*, which the server has refused, but for its refresh token."""
        with self._lock:
            if self._kept is not None and self._kept.session is session:
                self._kept = _Kept(session, float("-inf"))

    def close(self) -> Exchange:
        """
        Return the steps that end the session on the server and here.

        Raises:
            SignInError: From a step, if the server does not end it.
        """
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            answer = yield self._ask("/auth/logout", b"", kept.session)
            if answer is None or answer.status not in (200, 401):  # 401: it had ended before
                raise _refusal(answer)

    def _lasts(self, kept: _Kept) -> bool:
        return self._clock.read() < kept.until

    def _lead(self, flight: _Flight, kept: _Kept | None) -> _Sought:
        found: Session | SignInError | None = None
        try:
            renewed = yield from self._renewed(kept)
            with self._lock:
                self._kept = renewed
            found = renewed.session
            return found
        except SignInError as error:
            found = error
            raise
        finally:  # also when the request was cancelled: then one of the others tries
            with self._lock:
                self._flight = None
            flight.set_result(found)

    def _renewed(self, kept: _Kept | None) -> Generator[Step, Answer | None, _Kept]:
        # A refresh token whose answer was lost is sent again, after a failure or by the next
        # request: either it still works, or the server ends its family, and the wallet signs in.
        if kept is not None and kept.session.refresh_token is not None:
            answer = yield self._ask("/auth/refresh", kept.session.refresh_body())
            if answer is None or answer.status not in _REFUSED:
                return self._opened(answer)
        for _ in range(TRIES):
            answer = yield self._ask("/auth/challenge", challenge_body(self._sign_in.wallet))
            answer = yield self._ask("/auth/verify", self._proof(answer))
            if answer is None or answer.reason != "replayed":
                break
        return self._opened(answer)

    def _proof(self, answer: Answer | None) -> bytes:
        if answer is None or answer.status != 200:
            raise _refusal(answer)
        challenge = answer.document.get("challenge")
        if not isinstance(challenge, str):
            raise _refusal(answer)
        try:
            return verify_body(self._sign_in.wallet, challenge)
        except ValueError:
            raise _refusal(answer) from None

    def _opened(self, answer: Answer | None) -> _Kept:
        if answer is None or answer.status != 200:
            raise _refusal(answer)
        try:
            session = Session.of(answer.document)
        except ValueError:
            raise _refusal(answer) from None
        # By the server's clock, so that ours may be wrong
        received = self._clock.read()
        issued = answer.server_time
        lifetime = session.expires_at - (received if issued is None else issued)
        return _Kept(session, received + reuse_of(max(0.0, lifetime)))

    def _ask(self, route: str, body: bytes, session: Session | None = None) -> Ask:
        headers = {"Content-Type": "application/json"}
        return Ask(self._base + route, body, headers | (session.headers if session else {}))


def _refusal(answer: Answer | None) -> SignInError:
    return SignInError(0, "") if answer is None else SignInError(answer.status, answer.reason)
