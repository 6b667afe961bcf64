"""
Counts requests against limits, through the strategies of the `limits` package (`rpcguard[limits]`).

Counters live in the Redis of the backend, else in this process. Limits of up to `EXACT` requests
are exact (the moving window, which remembers each request); larger ones use the sliding-window
counter, which remembers two numbers and may be off by one request at the edge of a window.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from rpcguard.backends import redis_url
from rpcguard.backends.redis_settings import Address, Settings
from rpcguard.errors import AuthError, BackendError
from rpcguard.measured import Measured
from rpcguard.observer import Observer
from rpcguard.owed import digest
from rpcguard.own_threads import OwnThreads
from rpcguard.rates import Charge, Rate

if TYPE_CHECKING:  # the package is loaded when the first request is counted
    from limits.storage import MemoryStorage, Storage
    from limits.strategies import RateLimiter

EXACT: Final = 1000
TIDY: Final = 10_000  # names that this process remembers before it looks which are over

Dress = Callable[[AuthError], AuthError]


class Limiter:
    """The counters of one verifier. Thread-safe."""

    def __init__(
        self,
        backend: str | None,
        base: Path | None = None,
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            backend: URL of the backend; where it names no Redis, or None, this process counts.
            base: Directory that the files of a URL are relative to.
            observer: Told how each count ended; or None.

        Raises:
            ConfigError: If it is a wrong URL of Redis.
        """
        parts = urlsplit(backend or "")
        remote = redis_url.is_redis(parts.scheme)
        self._settings = redis_url.parse(parts, base or Path()) if remote else None
        self._observer = observer
        self._opened: dict[int, tuple[RateLimiter, RateLimiter]] = {}
        self._tidy_at = TIDY
        self._threads = OwnThreads("limiter")  # in which event loops ask Redis

    def spend(self, charges: tuple[Charge, ...], dress: Dress) -> None:
        """
        Count one request by each of *charges*; the first that is exceeded refuses it.

        Args:
            charges: What to count.
            dress: Gives a refusal the project's form.

        Raises:
            AuthError: `rate_limited`, or `backend_unavailable` if it cannot be told.
        """
        if charges:
            with Measured(self._observer, "count"):
                self._spend_all(charges, dress)

    def _spend_all(self, charges: tuple[Charge, ...], dress: Dress) -> None:
        try:
            for charge in charges:
                self._spend(charge)
        except AuthError as error:
            raise dress(error) from None
        except BackendError as error:
            raise dress(AuthError("backend_unavailable", detail=str(error))) from error

    async def aspend(self, charges: tuple[Charge, ...], dress: Dress) -> None:
        """
        `spend` for a running event loop; where Redis is asked, in a thread. Who has waited for one
        as long as Redis itself may take is refused, and not counted.
        """
        settings = self._settings
        if settings is None or not charges:
            self.spend(charges, dress)
            return

        import limits.strategies  # noqa: F401, PLC0415  an extra; loading it takes none of the time

        rates = sum(len(charge.rates) for charge in charges)
        patience = settings.connect_timeout + rates * settings.timeout
        with Measured(self._observer, "count"):
            try:
                await self._threads.run(patience, self._spend_all, charges, dress)
            except BackendError as late:
                raise dress(AuthError("backend_unavailable", detail=str(late))) from None

    def close(self) -> None:
        """Close the connections. Closing twice is harmless."""
        self._threads.close()
        while self._opened:
            _, (strategy, _) = self._opened.popitem()
            if self._settings is not None:
                _close(strategy.storage)

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
        if self._settings is None:
            self._tidy(strategy.storage)  # type: ignore[arg-type]
        if strategy.hit(item, name):
            return None
        return strategy.get_window_stats(item, name).reset_time - time.time()

    def _tidy(self, storage: MemoryStorage) -> None:
        """Forget names of whom no request counts any more: `limits` (5.8) never would."""
        if len(storage.events) < self._tidy_at:
            return
        over = [name for name, counted in storage.events.copy().items() if not counted]
        for name in over:
            with storage.locks[name]:
                if not storage.events.get(name):
                    storage.events.pop(name, None)
                    storage.locks.pop(name, None)
        self._tidy_at = max(TIDY, 2 * len(storage.events))  # a look costs nothing per request

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

        if self._settings is None:
            return storage_from_string("memory://")  # type: ignore[return-value]
        url, options = _opened_with(self._settings)
        return storage_from_string(url, wrap_exceptions=True, **options)  # type: ignore[return-value]


def _close(storage: Any) -> None:
    """Close what *storage* has opened in Redis: `limits` (5.8) has no way to be told."""
    storage.storage.close()
    sentinel = getattr(storage, "sentinel", None)
    for client in [] if sentinel is None else sentinel.sentinels:
        client.close()


def _opened_with(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the URL that `limits` has for the servers, and their client's options."""
    from redis.backoff import NoBackoff  # noqa: PLC0415  an extra
    from redis.retry import Retry  # noqa: PLC0415  see above

    bounds = {
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.connect_timeout,
    }
    options: dict[str, Any] = {**settings.connection, **bounds, "retry": Retry(NoBackoff(), 0)}
    options["key_prefix"] = f"{settings.key_prefix}:limits"
    hosts = ",".join(map(_host, settings.addresses))
    if settings.topology == "single":
        if not settings.addresses[0].port:
            return f"redis+unix://{quote(settings.addresses[0].host)}", options
        return f"redis{'s' if settings.tls else ''}://{hosts}", options
    if settings.tls:
        options["ssl"] = True
    if settings.topology == "cluster":
        return f"redis+cluster://{hosts}", options
    sentinel = {**settings.sentinel, **bounds}
    if settings.sentinel_tls:
        sentinel["ssl"] = True
    options |= {"use_replicas": False, "sentinel_kwargs": sentinel}
    return f"redis+sentinel://{hosts}/{settings.service}", options


def _host(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


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
