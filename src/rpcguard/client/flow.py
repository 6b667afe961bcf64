"""
What every library's shim shares: which headers go on a request, and whether it is sent again.

Credentials go to the origin of the endpoint and nowhere else, whoever asks for it: a redirect, or a
request of the user's to another host. A request is sent twice at most, and only if its body is at
hand: once more after the server's clock was learnt, or in a new session after the old one ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rpcguard.client.answer import Answer
from rpcguard.client.clock import MAX_SKEW, Clock
from rpcguard.client.keeper import Keeper
from rpcguard.client.presets import Credentials
from rpcguard.client.session import SignIn
from rpcguard.client.signers import Signer
from rpcguard.client.steps import Exchange, Proof, Sending, origin_of

Headers = Mapping[str, str]


class Flow:
    """
    The credentials of one endpoint, at work. Threads and tasks may share it.

    Args of the constructor:
        endpoint: URL of the server; credentials go to its scheme, host and port alone.
        credentials: A signer or a `SignIn`, as `rpcguard.client.presets` makes them.
        max_skew: How many seconds the server's clock may be off to be believed; 0 to never learn.
        clock: Gives Unix seconds.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        max_skew: float = MAX_SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server, or *max_skew* is negative.
        """
        self.origin = origin_of(endpoint)
        self._clock = Clock(clock, max_skew)
        self._kept: tuple[float, Headers] = (float("-inf"), {})
        if isinstance(credentials, SignIn):
            self._keeper: Keeper | None = Keeper(credentials, self.origin, self._clock)
            self._signer: Signer | None = None
        else:
            self._keeper, self._signer = None, credentials

    @property
    def needs_body(self) -> bool:
        """Whether `Sending.body` must be there."""
        return self._signer is not None and self._signer.needs_body

    def covers(self, url: str) -> bool:
        """Return whether *url* is of the endpoint's origin."""
        try:
            return origin_of(url) == self.origin
        except ValueError:
            return False

    def exchange(self, sending: Sending) -> Exchange:
        """
        Return the steps that send *sending*; none if it is not for this endpoint.

        Raises:
            ValueError: From a step, if the request cannot be signed.
            SignInError: From a step, if the server gives no session.
        """
        if not self.covers(sending.url):
            return
        if self._keeper is not None:
            yield from self._in_session(self._keeper, sending)
        elif self._signer is not None:
            yield from self._signed(self._signer, sending)

    def log_out(self) -> Exchange:
        """
        Return the steps that end the session on the server and here; none if there is none.

        Raises:
            SignInError: From a step, if the server does not end it.
        """
        if self._keeper is not None:
            yield from self._keeper.close()

    def _signed(self, signer: Signer, sending: Sending) -> Exchange:
        used = self._clock.skew
        answer = yield Proof(self._headers(signer, sending))
        if sending.body is None or answer is None or not self._clock.learn(answer, used):
            return
        self._kept = (float("-inf"), {})  # minted by the wrong time
        yield Proof(self._headers(signer, sending))

    def _headers(self, signer: Signer, sending: Sending) -> Headers:
        if signer.needs_body and sending.body is None:
            raise ValueError("a signature needs the body, and this one can be read only once")
        now = self._clock.now()
        made, headers = self._kept
        if not made <= now < made + signer.reuse:
            headers = signer.headers(sending.method, sending.target, sending.body or b"", now)
            self._kept = (now, headers)
        return headers

    def _in_session(self, keeper: Keeper, sending: Sending) -> Exchange:
        session = yield from keeper.session()
        answer = yield Proof(session.headers)
        if not _ended(answer):
            return
        if sending.body is None:
            keeper.drop(session)  # the next request signs in
            return
        session = yield from keeper.session(refused=session)
        yield Proof(session.headers)


class Shim:
    """
    What the `Auth` of a library begins with, where it takes no more than a `Flow` does.

    Args of the constructor: see `Flow`.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        max_skew: float = MAX_SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server, or *max_skew* is negative.
        """
        self._flow = Flow(endpoint, credentials, max_skew, clock)


def _ended(answer: Answer | None) -> bool:
    return answer is not None and answer.status == 401
