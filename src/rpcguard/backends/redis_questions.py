"""
What is asked of Redis: the keys and arguments of each question, and what its answer means.

Keys are `{<prefix>:<bucket>}:…`: the part in braces decides the slot of a Cluster, and no text of a
caller enters it. All names in keys and arguments are digests or our own.

Longer than other modules because every question stands beside the layout of its keys and arguments,
which the scripts count by position.
"""

from __future__ import annotations

import functools
import math
import os
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rpcguard.backends import redis_scripts as scripts
from rpcguard.backends.base import LATEST
from rpcguard.backends.redis_scripts import BULK, Script, bulk
from rpcguard.errors import BackendError
from rpcguard.owed import Answer, Owed, Record, Revocation, Verdict, bucket, digest

BUCKETS = 256
_ACCOUNT_BYTES = 8
_RANDOM_BYTES = 16
_ATTEMPT_OUTLIVES = 4  # times the timeout: by then nobody asks again
_CLOCKS = 5  # seconds beyond the timeout that a mark of a settle is kept: clocks differ
_REVOCATIONS_AT_ONCE = 500
_LONG_AGO = -math.inf
_ANSWERS: tuple[Answer, ...] = tuple(
    getattr(Answer, each.name) for each in Verdict
)  # as `bucket.lua`
_TAKEN = len(_ANSWERS)
_NOT_OURS = "redis: the server gave an answer that is none of ours"

_STATE, _REVOKED, _NAMES, _RECORDS = b"state", b"revoked", b"names", b"records"
_NONCES, _LIVE, _ATTEMPT = b"nonces:", b"live:", b"attempt:"

# The second argument of every script, and that of a settle; see `bucket.lua` and `owed.lua`.
# Packed, they cost Lua and us half of what texts would. The first byte: whether it is asked again.
_PLAIN = struct.Struct("<B16sd")
_OWED = struct.Struct("<B16sddddBB24s")
_ACCOUNTS = struct.Struct("<dd8s")
_NO_ACCOUNTS = bytes(_ACCOUNTS.size)
_FIRST_TIME, _AGAIN = b"\r\n\x00", b"\r\n\x01"
_REST = b"$%d\r\n%%b\r\n%%b" % _PLAIN.size
_REST_OF_OWED = b"$%d\r\n%%b\r\n" % _OWED.size
_REST_WITH_NONCE = _REST_OF_OWED + b"$%d\r\n%b%b\r\n"


@dataclass(slots=True)  # not frozen: that would cost each question some microseconds
class Question:
    """
    One call of one script.

    Attributes:
        bucket: Which of the 256 buckets it is about.
        script: The script.
        start: The command up to the keys: its script called by hash, their number, and the keys.
        rest: The arguments behind the first one, asked for the first time.
        writes: Whether it may write something that must not be lost.
    """

    bucket: int
    script: Script
    start: bytes
    rest: bytes
    writes: bool

    def command(self, server: bytes, again: bool, in_full: bool) -> bytes:
        """
        Return the bytes to send.

        Args:
            server: The argument that names the server which gets them; see `bucket.lua`.
            again: Whether an earlier sending may have arrived.
            in_full: Whether to send the script's text instead of its hash.
        """
        start, rest = self.start, self.rest
        if again:
            rest = rest.replace(_FIRST_TIME, _AGAIN, 1)
        if in_full:
            start = start.replace(self.script.by_hash, self.script.in_full, 1)
        return start + server + rest


class Asking:
    """Makes questions about the keys with one prefix."""

    __slots__ = ("_asked_again", "_attempt", "_prefix")

    def __init__(self, prefix: str, timeout: float) -> None:
        """
        Args:
            prefix: What every key begins with.
            timeout: Seconds within which a question is answered or given up.
        """
        self._prefix = prefix
        self._attempt = bulk(b"%d" % math.ceil(timeout * 1000 * _ATTEMPT_OUTLIVES))
        self._asked_again = math.ceil(timeout) + _CLOCKS

    def opening(self, now: float) -> list[Question]:
        """Return what notes, in each bucket, that what is spent from *now* on will be known."""
        # A proof made at that very time is good: it cannot have been spent before.
        before = math.nextafter(now, -math.inf)
        keys = (_STATE, _REVOKED)
        return [self._question(n, scripts.OPEN, before, keys, b"", 0) for n in range(BUCKETS)]

    def settle(self, owed: Owed, now: float) -> Question:
        """Return what asks for everything in *owed*."""
        nonce, record, slot = owed.nonce, owed.record, owed.slot
        shown = 0 if record is None else 1 if slot is None else 2
        count = len(owed.revocable) + shown
        if nonce is None:
            number = _place(owed.project, owed.subject)[0] if owed.bucket is None else owed.bucket
            names = (_STATE, _REVOKED, _NAMES, _RECORDS) if shown else (_STATE, _REVOKED)
            start = _start(self._prefix, number, scripts.SETTLE, names, count)
            deadline, accounts = 0, _NO_ACCOUNTS
        else:
            number, start, of_subject, accounts = _spender(
                self._prefix,
                owed.project,
                owed.subject,
                nonce.project_limit,
                nonce.subject_limit,
                owed.bucket,
                shown > 0,
                count + 1,
            )
            deadline = math.ceil(nonce.expires_at) if now < nonce.expires_at < LATEST else 0
        packed = _OWED.pack(
            0,
            os.urandom(_RANDOM_BYTES),
            max(_LONG_AGO, now),  # what is no number counts as long ago
            max(_LONG_AGO, owed.issued_at),
            deadline,
            now // 1 + self._asked_again,
            nonce is not None,
            shown,
            accounts,
        )
        if nonce is None:
            rest = _REST_OF_OWED % packed
        else:
            size = len(of_subject) + len(nonce.name)
            rest = _REST_WITH_NONCE % (packed, size, of_subject, nonce.name)
        for name in owed.revocable:  # each request pays for this: `bulk` would take twice as long
            rest += BULK % (len(name), name)
        if record is not None:
            rest += bulk(record) if slot is None else bulk(record, slot)
        return Question(number, scripts.SETTLE, start, rest, nonce is not None)

    def epoch(self, number: int) -> Question:
        """Return what asks for the epoch of a bucket."""
        return self._question(number, scripts.READ, 0.0, (_STATE, _REVOKED), b"", 0)

    def spent(self, project: str, subject: str, names: Sequence[bytes], now: float) -> Question:
        """Return what asks which of some nonces are spent."""
        number, of_project, of_subject = _place(project, subject)
        members = bulk(*(of_subject + name for name in names))
        keys = (_STATE, _REVOKED, _NONCES + of_project.hex().encode("ascii"))
        return self._question(number, scripts.READ, now, keys, members, len(names))

    def put(self, record: Record, now: float) -> Question:
        """Return what puts *record* in its slot."""
        return self._write(record.bucket, scripts.PUT, now, record.slot, _packed(record))

    def rotate(self, name: bytes, record: Record, now: float) -> Question:
        """Return what puts *record* in the place of the record *name*."""
        arguments = (name, *_packed(record))
        return self._write(record.bucket, scripts.ROTATE, now, record.slot, arguments)

    def drop(self, number: int, slot: bytes, now: float) -> Question:
        """Return what ends the record in *slot*."""
        return self._write(number, scripts.DROP, now, slot, ())

    def revoke(self, revocations: Sequence[Revocation], now: float) -> Iterator[Question]:
        """Yield what records *revocations*, bucket by bucket."""
        by_bucket: dict[int, list[bytes]] = defaultdict(list)
        for one in revocations:
            before = math.inf if one.before is None else one.before
            end = math.inf if one.expires_at is None else one.expires_at
            for number in range(BUCKETS) if one.bucket is None else (one.bucket,):
                # What is over adds nothing; the bucket drops what is over all the same.
                by_bucket[number] += (one.name, _time(before), _time(end)) if now < end else ()
        keys = (_STATE, _REVOKED, b"revoked:ends")
        for number, arguments in by_bucket.items():
            for start in range(0, max(1, len(arguments)), 3 * _REVOCATIONS_AT_ONCE):
                some = arguments[start : start + 3 * _REVOCATIONS_AT_ONCE]
                yield self._question(
                    number, scripts.REVOKE, now, keys, bulk(*some), len(some), writes=True
                )

    def _write(
        self, number: int, script: Script, now: float, slot: bytes, arguments: Sequence[bytes]
    ) -> Question:
        packed = self._attempt + bulk(slot, *arguments)
        count = 2 + len(arguments)
        # a key that no other question has: when it is asked again, it finds its answer
        attempt = _ATTEMPT + os.urandom(_RANDOM_BYTES).hex().encode()
        keys = (_STATE, _REVOKED, attempt, b"ends", b"held", _NAMES, _RECORDS)
        return self._question(number, script, now, keys, packed, count, writes=True)

    def _question(
        self,
        number: int,
        script: Script,
        now: float,
        keys: tuple[bytes, ...],
        arguments: bytes,
        count: int,
        *,
        writes: bool = False,
    ) -> Question:
        start = _started(self._prefix, number, script, keys, count)
        packed = _PLAIN.pack(0, os.urandom(_RANDOM_BYTES), max(_LONG_AGO, now))
        return Question(number, script, start, _REST % (packed, arguments), writes)


def share(project_limit: int, subject_limit: int) -> int:
    """
    Return how many live entries a project may have in one bucket.

    Buckets are on several machines, so nobody counts a project's whole; a subject must be able to
    use what it may.
    """
    return min(project_limit, max(subject_limit, math.ceil(project_limit / BUCKETS)))


def answer_of(reply: Any) -> Answer:
    """
    Return what a script said.

    Raises:
        BackendError: If another slot has a record of this name, or the reply is none of ours.
    """
    verdict, value = reply, None
    if isinstance(reply, list) and reply:
        verdict, value = reply[0], reply[1] if len(reply) > 1 else None
    if verdict == _TAKEN:
        raise BackendError("redis: another slot has a record of this name")
    if not (isinstance(verdict, int) and 0 <= verdict < _TAKEN):
        raise BackendError(_NOT_OURS)
    answer = _ANSWERS[verdict]
    if value is None:
        return answer
    try:
        return Answer(answer.verdict, value.decode("utf-8"))
    except (AttributeError, ValueError):
        raise BackendError(_NOT_OURS) from None


def read_of(reply: Any, count: int) -> tuple[bytes, list[int]]:
    """
    Return what `read.lua` said: the epoch, and for each of *count* nonces whether it is spent.

    Raises:
        BackendError: If the reply is none of ours.
    """
    if not (isinstance(reply, list) and len(reply) == 2):
        raise BackendError(_NOT_OURS)
    epoch, spent = reply
    if not (isinstance(epoch, bytes) and isinstance(spent, list) and len(spent) == count):
        raise BackendError(_NOT_OURS)
    return epoch, spent


@functools.lru_cache(maxsize=4096)
def _place(project: str, subject: str) -> tuple[int, bytes, bytes]:
    """Return the bucket, the project as fields have it, and the subject as members have it."""
    return (
        bucket(project, subject),
        digest("project", project)[:_ACCOUNT_BYTES],
        digest("subject", project, subject)[:_ACCOUNT_BYTES],
    )


@functools.lru_cache(maxsize=4096)
def _spender(
    prefix: str,
    project: str,
    subject: str,
    project_limit: int,
    subject_limit: int,
    named_bucket: int | None,
    shown: bool,
    count: int,
) -> tuple[int, bytes, bytes, bytes]:
    """
    Return what is the same in all questions of a subject that spend a nonce: the bucket, how the
    command starts, the subject as members have it; and packed, two budgets and the project.
    """
    number, of_project, of_subject = _place(project, subject)
    if named_bucket is not None:
        number = named_bucket
    name = of_project.hex().encode("ascii")
    keys = [_STATE, _REVOKED, _NONCES + name, _LIVE + name]
    if shown:
        keys += [_NAMES, _RECORDS]
    accounts = _ACCOUNTS.pack(subject_limit, share(project_limit, subject_limit), of_project)
    start = _start(prefix, number, scripts.SETTLE, tuple(keys), count)
    return number, start, of_subject, accounts


def _packed(record: Record) -> tuple[bytes, ...]:
    _, project, subject = _place(record.project, record.subject)
    return (
        record.name,
        _time(record.issued_at),
        _time(math.inf if record.expires_at is None else record.expires_at),
        record.value.encode("utf-8"),
        subject,
        b"%d" % record.subject_limit,
        project,
        b"%d" % share(record.project_limit, record.subject_limit),
        *record.revocable,
    )


def _time(seconds: float) -> bytes:
    """Return Unix seconds as a text that Lua reads; what is no number counts as long ago."""
    return repr(float(max(_LONG_AGO, seconds))).encode("ascii")


def _started(
    prefix: str, number: int, script: Script, names: tuple[bytes, ...], count: int
) -> bytes:
    """
    Return how a command starts; see `Question`.

    Args:
        prefix: What every key begins with.
        number: The bucket.
        script: The script.
        names: Of the keys, behind what the bucket's keys begin with.
        count: The number of arguments behind those that every script has.
    """
    tag = slot_key(prefix, number)
    keys = bulk(b"%d" % len(names), *(tag + name for name in names))
    # the call and its hash, the number of keys; the server, and what is packed
    return b"*%d\r\n%b%b" % (3 + len(names) + 2 + count, script.by_hash, keys)


_start = functools.lru_cache(maxsize=8192)(_started)


@functools.lru_cache(maxsize=1024)
def slot_key(prefix: str, number: int) -> bytes:
    """Return what the keys of a bucket begin with; it is in their slot itself."""
    return f"{{{prefix}:{number:02x}}}:".encode("ascii")
