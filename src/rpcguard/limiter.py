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
from urllib.parse import parse_qsl, urlsplit

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
        remote = backend is not None and backend.startswith(("redis", "valkey"))
        self._url = backend if remote else None
        self._opened: dict[int, tuple[RateLimiter, RateLimiter]] = {}

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

        process = os.getpid()  # a child of a fork opens its own: the parent's locks may be held
        if process not in self._opened:
            storage = self._storage()
            pair = MovingWindowRateLimiter(storage), SlidingWindowCounterRateLimiter(storage)
            self._opened.setdefault(process, pair)  # of two threads, both use the first one's
        return self._opened[process]

    def _storage(self) -> Storage:
        from limits.storage import storage_from_string  # noqa: PLC0415  see above

        if self._url is None:
            return storage_from_string("memory://")  # type: ignore[return-value]
        url, options = _translated(self._url)
        return storage_from_string(url, wrap_exceptions=True, **options)  # type: ignore[return-value]


def _translated(url: str) -> tuple[str, dict[str, Any]]:
    """Return the URL of a Redis backend as `limits` has it, and the options of its client."""
    from redis.backoff import NoBackoff  # noqa: PLC0415  an extra
    from redis.retry import Retry  # noqa: PLC0415  see above

    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    base, _, kind = parts.scheme.replace("valkey", "redis").partition("+")
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "key_prefix": query.get("key_prefix", "rpcguard") + ":limits",
    }
    tls: dict[str, Any] = {name: text for name, text in query.items() if name.startswith("ssl_")}
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"] == "true"
    if base == "rediss" and kind:
        tls["ssl"] = True
    if "db" in query:
        options["db"] = int(query["db"])
    path = parts.path
    if kind == "sentinel":
        names = {"sentinel_username": "username", "sentinel_password": "password"}
        auth = {names[name]: query[name] for name in names.keys() & query.keys()}
        bounds = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        options |= {"use_replicas": False, "sentinel_kwargs": auth | tls | bounds}
        _, service, *database = parts.path.split("/")
        path = f"/{service}"
        if database and database[0]:
            options["db"] = int(database[0])
    scheme = f"redis+{kind}" if kind else base
    return f"{scheme}://{parts.netloc}{path}", options | tls


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
