"""What the tests of Redis open, and how they wait for an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backends import redis_servers
from backends.kinds import START
from backends.redis_proxy import Proxy, proxied
from backends.redis_servers import until
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.errors import BackendError
from rpcguard.owed import Answer


@contextmanager
def opened(where: int | str, now: float = START, **options: object) -> Iterator[Backend]:
    """Open a backend that is more patient than the default, on a port or a URL."""
    url = f"redis://127.0.0.1:{where}" if isinstance(where, int) else where
    query = "&".join(f"{name}={value}" for name, value in ({"timeout": "5s"} | options).items())
    with closing(open_backend(f"{url}?{query}", now=now, base=Path())) as backend:
        yield backend


@contextmanager
def forgetful(prefix: str, **options: object) -> Iterator[tuple[Proxy, Backend]]:
    """Open a backend whose answers can be lost on their way."""
    with (
        proxied(redis_servers.single().port) as proxy,
        opened(proxy.port, key_prefix=prefix, **options) as backend,
    ):
        yield proxy, backend


def answered(question: Callable[[], Answer]) -> Answer:
    """Return the answer of a backend that recovers."""

    def answer() -> Answer | None:
        try:
            return question()
        except BackendError:
            return None

    found: Answer = until(answer, "an answer")
    return found
