"""
How a request and those who send it talk: a generator of steps, with no I/O of its own.

An *exchange* yields what is to be done next and is sent what came of it:

- `Proof`: send the request with these headers; comes back as its `Answer`.
- `Ask`: post this of our own, following no redirect; comes back as its `Answer`.
- `Wait`: wait for somebody else's sign-in; None comes back.

When it ends, the last answer to the request stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rpcguard.client.answer import Answer

PATIENCE = 60.0  # seconds that one request waits for another's sign-in

_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"ws": "http", "wss": "https"}  # a WebSocket is of the origin of its handshake

Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Sending:
    """
    A request about to be sent.

    Attributes:
        method: As it goes over the wire.
        url: Absolute; only its origin counts.
        target: Path and `?query` as they go over the wire.
        body: Its bytes; None for a stream that was not read, and can be sent only once.
    """

    method: str
    url: str = field(repr=False)
    target: str = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """Headers that prove one sending of the request."""

    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of our own: `POST` of JSON to *url*."""

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else signs in; *done* has a result when that ended, well or not."""

    done: Future[Any]

    def block(self) -> None:
        """
        Wait in a thread.

        Raises:
            TimeoutError: After a minute.
        """
        self.done.result(PATIENCE)

    async def until_done(self) -> None:
        """
        Wait in a task of asyncio.

        Raises:
            TimeoutError: After a minute.
        """
        await asyncio.wait_for(asyncio.wrap_future(self.done), PATIENCE)


Step = Proof | Ask | Wait
Exchange = Generator[Step, Answer | None, None]


def origin_of(url: str) -> Origin:
    """
    Return scheme, host and port of *url*.

    Raises:
        ValueError: If it is not http(s) or ws(s), or has no host, or a user's name in it.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("the endpoint is an absolute http, https, ws or wss URL without a user")
    try:
        host = parts.hostname.encode("idna").decode("ascii")
    except UnicodeError:
        host = parts.hostname
    return scheme, host.lower(), parts.port or _PORTS[scheme]


def advance(
    exchange: Exchange, answer: Answer | None, ask: Callable[[Ask], Answer]
) -> Proof | None:
    """
    Run *exchange* until the request is to be sent, and return with what; None if it is not.

    Args:
        exchange: A started one, or a new one.
        answer: The answer to the request; None for a new exchange.
        ask: Sends requests of ours.
    """
    step = next_step(exchange, answer)
    while step is not None and not isinstance(step, Proof):
        try:
            if isinstance(step, Wait):
                step.block()
            answer = None if isinstance(step, Wait) else ask(step)
        except BaseException:
            exchange.close()
            raise
        step = next_step(exchange, answer)
    return step


async def aadvance(
    exchange: Exchange, answer: Answer | None, ask: Callable[[Ask], Awaitable[Answer]]
) -> Proof | None:
    """Do what `advance` does, in a task."""
    step = next_step(exchange, answer)
    while step is not None and not isinstance(step, Proof):
        try:
            if isinstance(step, Wait):
                await step.until_done()
            answer = None if isinstance(step, Wait) else await ask(step)
        except BaseException:
            exchange.close()
            raise
        step = next_step(exchange, answer)
    return step


def next_step(exchange: Exchange, answer: Answer | None) -> Step | None:
    """Return the next step of *exchange*; None when it has ended."""
    try:
        return exchange.send(answer)
    except StopIteration:
        return None
