"""
Counts requests against limits, through the strategies of the `limits` package (`rpcguard[limits]`).

Counters live in the Redis of the backend, else in this process. Limits of up to `EXACT` requests
are exact (the moving window, which remembers each request); larger ones use the sliding-window
counter, which remembers two numbers and may be off by one request at the edge of a window.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from rpcguard.errors import AuthError, BackendError
from rpcguard.owed import digest
from rpcguard.rates import Charge, Rate

if TYPE_CHECKING:  # the package is loaded when the first request is counted
    from limits.storage import Storage
    from limits.strategies import RateLimiter

EXACT: Final = 1000
TIMEOUT: Final = 0.25  # seconds that Redis may take to connect, and to answer

Dress = Callable[[AuthError], AuthError]


class Limiter:
    """The counters of one verifier. Thread-safe."""

    def __init__(self, backend: str | None) -> None:
        """
        Args:
            backend: URL of the backend; where it names no Redis, or None, this process counts.
        """
        remote = backend is not None and backend.startswith(("redis", "rediss"))
        self._url = backend if remote else None
        self._opened: tuple[int, tuple[RateLimiter, RateLimiter]] | None = None

    def spend(self, charges: Iterable[Charge], dress: Dress) -> None:
        """
        Count one request by each of *charges*; the first that is exceeded refuses it.

        Args:
            charges: What to count.
            dress: Gives a refusal the project's form.

        Raises:
            AuthError: `rate_limited`, or `backend_unavailable` if it cannot be told.
        """
        try:
            for charge in charges:
                self._spend(charge)
        except AuthError as error:
            raise dress(error) from None
        except BackendError as error:
            raise dress(AuthError("backend_unavailable", detail=str(error))) from error

    async def aspend(self, charges: tuple[Charge, ...], dress: Dress) -> None:
        """`spend` for a running event loop; where Redis is asked, in a thread."""
        if charges and self._url is not None:
            await asyncio.to_thread(self.spend, charges, dress)
        else:
            self.spend(charges, dress)

    def _spend(self, charge: Charge) -> None:
        name = digest(charge.kind, *charge.names).hex()
        for rate in charge.rates:
            try:
                left = self._hit(rate, name)
            except Exception as error:  # whatever the storage's client raises, nobody passes
                kind = type(error.__cause__ or error).__name__
                raise BackendError(f"the limiter did not answer: {kind}") from error
            if left is not None:
                raise _refusal(charge, rate, left)

    def _hit(self, rate: Rate, name: str) -> float | None:
        """Count one request; return the seconds until there is room, where there is none now."""
        from limits import RateLimitItemPerSecond  # noqa: PLC0415  an extra, and seldom needed

        item = RateLimitItemPerSecond(rate.amount, rate.period, namespace="rpcguard")
        strategy = self._strategies()[rate.amount > EXACT]
        if strategy.hit(item, name):
            return None
        return strategy.get_window_stats(item, name).reset_time - time.time()

    def _strategies(self) -> tuple[RateLimiter, RateLimiter]:
        from limits.strategies import (  # noqa: PLC0415  see above
            MovingWindowRateLimiter,
            SlidingWindowCounterRateLimiter,
        )

        if self._opened is None or self._opened[0] != os.getpid():  # a fork may keep locks held
            storage = self._storage()
            pair = MovingWindowRateLimiter(storage), SlidingWindowCounterRateLimiter(storage)
            self._opened = os.getpid(), pair
        return self._opened[1]

    def _storage(self) -> Storage:
        from limits.storage import storage_from_string  # noqa: PLC0415  see above

        if self._url is None:
            return storage_from_string("memory://")  # type: ignore[return-value]
        from redis.backoff import NoBackoff  # noqa: PLC0415  see above
        from redis.retry import Retry  # noqa: PLC0415  see above

        options: dict[str, Any] = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            "key_prefix": "rpcguard:limits",
        }
        parts = urlsplit(self._url)
        url = urlunsplit(parts._replace(query="", fragment=""))
        return storage_from_string(url, wrap_exceptions=True, **options)  # type: ignore[return-value]


def _refusal(charge: Charge, rate: Rate, left: float) -> AuthError:
    """Return the refusal, with what draft-ietf-httpapi-ratelimit-headers-11 lets a client know."""
    wait = max(1, math.ceil(min(left, rate.period)))
    error = AuthError("rate_limited", detail=f"{charge.kind}: {rate.amount} in {rate.period} s")
    error.retry_after = wait
    policies = ", ".join(
        f'"{charge.kind}-{each.period}s";q={each.amount};w={each.period}' for each in charge.rates
    )
    error.headers = (
        ("RateLimit-Policy", policies),
        ("RateLimit", f'"{charge.kind}-{rate.period}s";r=0;t={wait}'),
    )
    return error
