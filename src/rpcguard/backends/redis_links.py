"""
One connection to a server, for threads and for event loops, and what is said over it.

redis-py connects, authenticates and encrypts; when to give up is decided here. Each new
connection asks the server who it is, and whether it may evict: a server that forgets nonces to make
room would accept them twice.

Longer than other modules because both kinds of connection say the same things in the same order,
and are read side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol

from redis import asyncio as redis_asyncio
from redis import connection as redis_sync
from redis import exceptions

from rpcguard.backends.redis_flow import LostError, Outcome, Reply, Send
from rpcguard.backends.redis_names import looked_up
from rpcguard.backends.redis_replies import ANY, Replies
from rpcguard.backends.redis_scripts import bulk
from rpcguard.backends.redis_settings import Address, Settings

_LEAST = 0.02  # seconds; with less left, connecting is not begun
_LEAST_SHARE = 0.1  # of the timeout, where that is less
_SHARE = 0.5  # of the time that is left, for connecting, and for each reply while doing so
_LEAVE = 0.1  # seconds that closing may take
_AT_ONCE = 1 << 16  # bytes that are read at once
_REPLY_EARLIER = 0.9  # of the time that is left: when WAIT must have ended
_ACCEPTED = inspect.signature(redis_sync.AbstractConnection.__init__).parameters
# redis-py would tell the server its own name and version: two commands more for each connection.
_NAMING = ("driver_info",) if "driver_info" in _ACCEPTED else ("lib_name", "lib_version")
_PLAIN = {
    **dict.fromkeys(_NAMING),
    "protocol": 2,
    "health_check_interval": 0,
    "socket_timeout": None,
    "socket_connect_timeout": None,
}
_ERRORS = (exceptions.RedisError, OSError)
_REFUSALS = {
    "LOADING ": "the server is loading its data",
    "NOAUTH ": "the server does not accept the user and password",
    "max number of clients": "the server has as many clients as it may",
}
OK_REPLY = Reply(0)


def packed(*arguments: str) -> bytes:
    """Return a command as it is sent."""
    return b"*%d\r\n" % len(arguments) + bulk(*(each.encode() for each in arguments))


_ASKING = packed("ASKING")
_GREETING = packed("INFO", "server") + packed("INFO", "memory")


def greeted(replies: Sequence[Any], *, guard: bool) -> bytes:
    """
    Return the argument that names the server, from its replies to the greeting.

    Args:
        replies: To `INFO server` and `INFO memory`.
        guard: Whether a restart is to be noticed.

    Raises:
        LostError: If the server may evict, or does not say; or if a restart would not be seen.
    """
    for reply in replies:
        if not isinstance(reply, bytes):
            raise refused(replies) or LostError(
                "the server does not permit INFO; let the user run it (ACL: +info)"
            )
    fields = dict(
        line.split(b":", 1) for reply in replies for line in reply.splitlines() if b":" in line
    )
    limit, policy = fields.get(b"maxmemory", b""), fields.get(b"maxmemory_policy", b"")
    if limit != b"0" and policy != b"noeviction":
        raise LostError(
            "the server evicts keys when its memory is full, and would accept again what it has"
            " evicted; set maxmemory-policy noeviction"
        )
    if not guard:
        return bulk(b"")
    if b"run_id" not in fields:
        raise LostError("the server does not say who it is (run_id); set restart_guard=off")
    return bulk(fields[b"run_id"])


def written(steps: Sequence[Send], server: bytes, replicas: int, patience: float) -> list[bytes]:
    """
    Return the commands that put some questions at once.

    Args:
        steps: The questions.
        server: Names the server.
        replicas: How many must have what is written; 0 does not ask.
        patience: Seconds that are left.
    """
    commands = []
    for step in steps:
        if step.asking:
            commands.append(_ASKING)
        commands.append(step.question.command(server, step.again, step.in_full))
    if replicas and any(step.question.writes for step in steps):
        milliseconds = max(1, int(patience * 1000 * _REPLY_EARLIER))
        commands.append(packed("WAIT", str(replicas), str(milliseconds)))
    return commands


def outcomes(steps: Sequence[Send], replies: list[Any]) -> Sequence[Outcome]:
    """Return what came back for each of *steps*, from the replies to all commands."""
    # the usual: nothing else was sent, and all are answered with OK
    if replies == [0] * len(steps):
        return [OK_REPLY] * len(steps)
    iterator = iter(replies)
    found = []
    for step in steps:
        if step.asking:
            next(iterator)
        found.append(next(iterator))
    confirmed = next(iterator, 0)
    number = confirmed if isinstance(confirmed, int) else 0
    return [_outcome(each, number) for each in found]


def _outcome(reply: Any, confirmed: int) -> Outcome:
    if isinstance(reply, exceptions.ResponseError):
        # redis-py raises this one where it reads replies itself: the next sending may be answered
        loading = str(reply).startswith("LOADING ")
        return LostError("the server is loading its data") if loading else reply
    return Reply(reply, confirmed)


class Link:
    """A connection that one thread at a time uses."""

    __slots__ = ("_connection", "_replies", "server")

    def __init__(self, settings: Settings, address: Address, deadline: float) -> None:
        """
        Connect.

        Args:
            settings: The backend's.
            address: The server.
            deadline: When to give up, by the monotonic clock.

        Raises:
            LostError: If that fails.
        """
        self.server = b""
        _await_name(address, deadline)
        least = min(_LEAST, settings.timeout * _LEAST_SHARE)
        patience = _left(deadline, least) * _SHARE
        self._connection = _connection(settings, address, patience)
        self._replies = Replies(ANY)
        try:
            self._connection.connect()
        except _ERRORS as error:
            raise _lost(error, sent=False) from error

    def greet(self, *, guard: bool, deadline: float) -> None:
        """
        Ask the server who it is; needed before questions are put.

        Raises:
            LostError: If it does not answer, or must not be used; the link is closed then.
        """
        try:
            self.server = greeted(self.exchange([_GREETING], 2, deadline), guard=guard)
        except BaseException:
            self.close()
            raise

    def ask(self, steps: Sequence[Send], replicas: int, deadline: float) -> Sequence[Outcome]:
        """
        Put some questions at once.

        Raises:
            LostError: If the replies do not all come in time; the link is of no use then.
        """
        commands = written(steps, self.server, replicas, deadline - monotonic())
        return outcomes(steps, self.exchange(commands, len(commands), deadline))

    def exchange(self, commands: list[bytes], replies: int, deadline: float) -> list[Any]:
        """
        Send *commands* and return the replies, error replies among them.

        Raises:
            LostError: As `ask`.
        """
        sock = self._connection._sock  # noqa: SLF001 - redis-py has no name for it that is public
        found: list[Any] = []
        try:
            _wait_until(deadline, sock)
            self._connection.send_packed_command([b"".join(commands)], check_health=False)
            while len(found) < replies:
                _wait_until(deadline, sock)
                data = sock.recv(_AT_ONCE)
                if not data:
                    raise ConnectionError
                found += self._replies.read(data)
        except _ERRORS as error:
            raise refused(found) or _lost(error, sent=True) from error
        if len(found) > replies:
            raise LostError("the server answered what nobody asked", sent=True)
        return found

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(*_ERRORS):
            self._connection.disconnect()


class Owner(Protocol):
    """Who uses an `AsyncLink`."""

    def heard(self, link: AsyncLink, replies: list[Any]) -> None:
        """Take the next replies to what was sent, in their order."""
        ...

    def lost(self, link: AsyncLink, error: LostError) -> None:
        """Note that *link* is of no use any more."""
        ...


class AsyncLink(asyncio.Protocol):
    """
    A connection of one event loop. Nothing here has a bound of its own: callers set one.

    redis-py connects; then the connection's bytes come here, not to redis-py's coroutines, which
    would cost each reply more than the rest of its question.
    """

    __slots__ = (
        "_address",
        "_connection",
        "_owner",
        "_replies",
        "_streams",
        "_transport",
        "server",
    )

    def __init__(self, settings: Settings, address: Address, owner: Owner) -> None:
        self._address = address
        self._connection = _async_connection(settings, address)
        self._owner = owner
        self._replies = Replies()
        self.server = b""

    async def open(self, *, guard: bool) -> None:
        """
        Connect.

        Raises:
            LostError: If that fails, or the server must not be used.
        """
        name = looked_up(self._address.host)
        if name is not None:
            await asyncio.wrap_future(name)
        try:
            await self._connection.connect()
        except _ERRORS as error:
            raise _lost(error, sent=False) from error
        self.server = greeted(await self._greet(), guard=guard)
        # redis-py has no name for these two that is public, and has had these names since asyncio.
        reader, writer = self._connection._reader, self._connection._writer  # noqa: SLF001
        self._transport: asyncio.Transport = writer.transport
        if reader.at_eof() or self._transport.is_closing():
            raise _lost(ConnectionError(), sent=False)
        self._streams = self._transport.get_protocol()  # closing waits for what this is told
        self._transport.set_protocol(self)

    async def _greet(self) -> list[Any]:
        found: list[Any] = []
        try:
            await self._connection.send_packed_command([_GREETING], check_health=False)
            for _ in range(2):
                try:
                    found.append(await self._connection.read_response())
                except exceptions.ResponseError as error:
                    found.append(error)
        except _ERRORS as error:
            raise _lost(error, sent=True) from error
        return found

    def send(self, commands: bytes) -> None:
        """Send *commands*; what is not sent at once waits in memory."""
        self._transport.write(commands)

    def data_received(self, data: bytes) -> None:
        """Tell what has come."""
        try:
            replies = self._replies.read(data)
        except LostError as error:
            self._owner.lost(self, error)
        else:
            self._owner.heard(self, replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that nothing more will come."""
        self._streams.connection_lost(exc)
        self._owner.lost(self, _lost(exc or ConnectionError(), sent=True))

    def abort(self) -> None:
        """Close the connection at once, without taking leave; `close` is still needed."""
        self._transport.abort()

    async def close(self) -> None:
        """Close the connection, and wait a little until that is so: TLS takes its leave."""
        with contextlib.suppress(*_ERRORS):
            async with asyncio.timeout(_LEAVE):
                await self._connection.disconnect()


def _await_name(address: Address, deadline: float) -> None:
    name = looked_up(address.host)
    if name is not None:
        try:
            name.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            raise LostError("nobody has said in time where that is", late=True) from None


def _left(deadline: float, least: float) -> float:
    left = deadline - monotonic()
    if left < least:
        raise LostError("no time is left to connect", late=True)
    return left


def _wait_until(deadline: float, sock: socket.socket) -> None:
    """Let nothing that *sock* does next take longer; a sum of waits would have no end."""
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)


def refused(replies: Sequence[Any]) -> LostError | None:
    """Return why a server answers nobody, where the first of *replies* says that."""
    text = str(replies[0]) if replies and isinstance(replies[0], exceptions.ResponseError) else ""
    for part, meaning in _REFUSALS.items():
        if part in text:
            return LostError(meaning)
    return None


def _lost(error: Exception, *, sent: bool) -> LostError:
    if isinstance(error, exceptions.BusyLoadingError):
        return LostError(_REFUSALS["LOADING "])
    if isinstance(error, exceptions.AuthenticationError):
        return LostError(_REFUSALS["NOAUTH "])
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return LostError("no answer in time", sent=sent, late=True)
    if "max number of clients" in str(error):
        return LostError(_REFUSALS["max number of clients"])
    return LostError(f"the connection failed ({type(error).__name__})", sent=sent)


def _arguments(settings: Settings, address: Address) -> dict[str, Any]:
    where: dict[str, Any] = (
        {"host": address.host, "port": address.port} if address.port else {"path": address.host}
    )
    return _PLAIN | dict(settings.connection) | where


# redis-py's connections have no types that hold for all its versions.
def _connection(settings: Settings, address: Address, patience: float) -> Any:
    arguments = _arguments(settings, address) | {
        "socket_connect_timeout": min(settings.connect_timeout, patience),
        "socket_timeout": patience,
    }
    kind: Any = redis_sync.SSLConnection if settings.tls else redis_sync.Connection
    unix: Any = redis_sync.UnixDomainSocketConnection
    return (kind if address.port else unix)(**arguments)


def _async_connection(settings: Settings, address: Address) -> Any:
    kind: Any = redis_asyncio.SSLConnection if settings.tls else redis_asyncio.Connection
    kind = kind if address.port else redis_asyncio.UnixDomainSocketConnection
    return kind(**_arguments(settings, address))
