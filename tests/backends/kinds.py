"""The backends that the conformance suite runs over, and how it drives them."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends import redis_servers
from backends.redis_servers import Server
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.owed import Answer, Nonce, Owed, Record, bucket, digest

Settle = Callable[[Owed, float], Answer]

START = 1_760_000_000.0  # when every backend of the suite is opened
HERE = bucket("p", "s")  # where everything is that no test puts elsewhere


@dataclass(frozen=True)
class Kind:
    """
    One backend under test.

    Attributes:
        name: For the test's id.
        url: The URL, given a directory of the test's own: for each directory another store, and the
            same one however often it is asked. It is called late, and may start a server.
        shared: Whether several processes can share it. `memory://` lives in one.
        spread: Whether it is spread over buckets, which may be on several machines. Then nonces of
            one name that two subjects spend are two, and a project has its share of the budget in
            each bucket.
    """

    name: str
    url: Callable[[Path], str]
    shared: bool
    spread: bool = False

    def patient(self, directory: Path) -> str:
        """Return a URL with which no process gives up while others wait."""
        url = self.url(directory)
        return url if "timeout=" in url else f"{url}?timeout=10s"


def _keys_of(url: Callable[[], str]) -> Callable[[Path], str]:
    """Return a maker of URLs of one store, each with keys that no other directory has."""

    def make(directory: Path) -> str:
        return f"{url()}?key_prefix={digest(str(directory)).hex()}&timeout=10s"

    return make


def _alone(server: Callable[[], Server]) -> Callable[[Path], str]:
    return _keys_of(lambda: f"redis://127.0.0.1:{server().port}")


REDIS = (
    Kind("redis", _alone(redis_servers.single), shared=True, spread=True),
    Kind("sentinel", _keys_of(lambda: redis_servers.trio().url), shared=True, spread=True),
    Kind("cluster", _keys_of(lambda: redis_servers.cluster().url), shared=True, spread=True),
)
if redis_servers.found():  # and else the first of them is this one
    REDIS += (Kind("redis-floor", _alone(redis_servers.floor), shared=True, spread=True),)

KINDS = (
    Kind("memory", lambda _: "memory://", shared=False),
    Kind("sqlite", lambda folder: f"sqlite:///{folder}/store.db?timeout=10s", shared=True),
    *REDIS,
)
SHARED = tuple(kind for kind in KINDS if kind.shared)  # what several processes can have open

# One of each make, for tests of what asks a backend: Sentinel gives the same answers as the server
# that it leads to, and so does the oldest server that is supported; `tests/backends` holds that.
STORES = tuple(kind for kind in KINDS if kind.name not in {"sentinel", "redis-floor"})
SHARED_STORES = tuple(kind for kind in STORES if kind.shared)
# Where a project has one budget, and not a share of it in each bucket.
WHOLE = tuple(kind for kind in STORES if not kind.spread)


def settle_sync(backend: Backend, owed: Owed, now: float) -> Answer:
    return backend.settle(owed, now)


def settle_async(backend: Backend, owed: Owed, now: float) -> Answer:
    async def settled() -> Answer:
        return await backend.asettle(owed, now)

    return asyncio.run(settled())


DRIVERS = {"sync": settle_sync, "async": settle_async}


@contextmanager
def opened(kind: Kind, directory: Path, now: float = START) -> Iterator[Backend]:
    with closing(open_backend(kind.url(directory), now=now, base=directory)) as backend:
        yield backend


def owe(
    nonce: str | bytes,
    *,
    lasts: float = 90.0,
    project: str = "p",
    subject: str = "s",
    issued_at: float = START,
    revocable: tuple[bytes, ...] = (),
    project_limit: int = 1_000_000,
    subject_limit: int = 10_000,
) -> Owed:
    """Return what a proof owes whose nonce ends *lasts* seconds after `START`."""
    name = nonce if isinstance(nonce, bytes) else digest(project, subject, nonce)
    spent = Nonce(name, START + lasts, project_limit, subject_limit)
    return Owed(project, subject, issued_at, revocable, spent)


def neighbours(count: int) -> list[str]:
    """Return subjects of the project "p" whose nonces are all in one bucket."""
    names = (str(number) for number in itertools.count())
    return list(itertools.islice((each for each in names if bucket("p", each) == HERE), count))


def ask(*names: bytes, issued_at: float = START) -> Owed:
    """Return what a proof owes that may be revoked and has no nonce."""
    return Owed("p", "s", issued_at, names)


def issue(
    name: str,
    slot: str = "slot",
    *,
    lasts: float | None = None,
    issued_at: float = START,
    revocable: tuple[bytes, ...] = (),
    project: str = "p",
    subject: str = "s",
    project_limit: int = 1_000_000,
    subject_limit: int = 10_000,
) -> Record:
    """Return the record of a credential that ends *lasts* seconds after `START`."""
    return Record(
        name=digest("record", name),
        slot=digest(slot),
        value=f'{{"of": "{name}"}}',
        issued_at=issued_at,
        expires_at=None if lasts is None else START + lasts,
        revocable=revocable,
        project=project,
        subject=subject,
        bucket=bucket(project, subject),
        project_limit=project_limit,
        subject_limit=subject_limit,
    )


def present(name: str, slot: str | None = None, **others: object) -> Owed:
    """Return what a request owes that shows the credential *name*, which names its *slot* or not."""
    where = None if slot is None else digest(slot)
    return Owed("p", "s", record=digest("record", name), slot=where, **others)


def run_in_threads(work: Callable[[], None], threads: int, *others: Callable[[], None]) -> None:
    """Run *work* in some threads, and *others* in one each, that hold each other up often."""
    # All have started before one is held up: a thread that starts installs coverage's trace
    # function, and Python cannot install two at once.
    ready, go = threading.Barrier(threads + len(others) + 1), threading.Event()

    def run(each: Callable[[], None]) -> None:
        ready.wait(60)
        go.wait(60)
        each()

    works = [work] * threads + list(others)
    started = [threading.Thread(target=run, args=(each,)) for each in works]
    for thread in started:
        thread.start()
    ready.wait(60)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a step of microseconds is seldom broken off otherwise
    try:
        go.set()
        for thread in started:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in started)
