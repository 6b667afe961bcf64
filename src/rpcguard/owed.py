"""What is *owed* for a request: questions that only the backend can answer, and its answers."""

from __future__ import annotations

import enum
import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

PROJECT_NONCES = 1_000_000  # live nonces that a project may hold unless it says otherwise
SUBJECT_NONCES = 10_000  # and one subject
PROJECT_RECORDS = 1_000_000  # live records that a project may hold unless it says otherwise
SUBJECT_RECORDS = 1_000  # and one subject
BUCKETS = 256
NAME_BYTES = 16  # 128 bits: nobody finds a second preimage, and a million live nonces stay small
_BUCKET = re.compile("[0-9a-f]{2}")


def digest(*parts: str | bytes) -> bytes:
    """Return one fixed-size name for *parts*."""
    return hashlib.blake2b(framed(*parts), digest_size=NAME_BYTES).digest()


@functools.lru_cache(maxsize=4096)
def namer(*beginning: str | bytes) -> Callable[[str | bytes], bytes]:
    """Return what gives `digest(*beginning, last)` for any last part, at half the cost."""
    begun = hashlib.blake2b(framed(*beginning), digest_size=NAME_BYTES)

    def name(last: str | bytes) -> bytes:
        raw = last if isinstance(last, bytes) else last.encode("utf-8", "surrogatepass")
        whole = begun.copy()  # to set one up takes longer than all it does
        whole.update(len(raw).to_bytes(4, "big") + raw)
        return whole.digest()

    return name


def framed(*parts: str | bytes) -> bytes:
    """Return *parts* as one text; each is length-prefixed, so no two lists give the same."""
    whole = b""
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        whole += len(raw).to_bytes(4, "big") + raw
    return whole


@functools.lru_cache(maxsize=4096)
def key_name(project: str, kid: str) -> bytes:
    """Return the name by which everything that key *kid* proves can be revoked."""
    return digest("key", project, kid)


@functools.lru_cache(maxsize=4096)
def subject_name(project: str, subject: str) -> bytes:
    """Return the name by which everything issued to *subject* can be revoked."""
    return digest("subject", project, subject)


def api_key_name(project: str, text: str) -> bytes:
    """Return the name of the record of an issued API key."""
    return digest("api_key", project, text)


def api_key_slot(project: str, subject: str) -> bytes:
    """Return the slot that *subject*'s one API key has."""
    return digest("api_key_of", project, subject)


def refresh_name(project: str, text: str) -> bytes:
    """Return the name of the record of a refresh token."""
    return digest("refresh", project, text)


def session_name(project: str, sid: str) -> bytes:
    """Return the name by which a session or refresh family can be revoked."""
    return digest("session", project, sid)


def bucket(project: str, subject: str) -> int:
    """Return which of 256 buckets holds all that a request of *subject* can owe."""
    return digest("bucket", project, subject)[0]


def named_bucket(text: str, prefix: str) -> int | None:
    """Return the bucket that a credential names in the two hex digits behind its *prefix*."""
    named = text[len(prefix) : len(prefix) + 2]
    return int(named, 16) if _BUCKET.fullmatch(named) else None


class Nonce(NamedTuple):
    """
    A proof that works once.

    Attributes:
        name: `digest` of project, scheme, key and nonce.
        expires_at: Unix seconds after which no clock within the margin accepts the proof.
        project_limit: Live nonces that the project may hold.
        subject_limit: Live nonces that the subject may hold.
    """

    name: bytes
    expires_at: float
    project_limit: int = PROJECT_NONCES
    subject_limit: int = SUBJECT_NONCES


class Owed(NamedTuple):
    """
    What only the backend can answer for one request.

    Attributes:
        project: Name of the project; with `subject` it names the budget and the storage bucket.
        subject: Who calls; "" while only a record can tell.
        issued_at: Unix seconds, the proof's own time (`iat`, the signed timestamp); 0 without one.
        revocable: Names that refuse the request if one of them is revoked as of `issued_at`.
        nonce: To be spent, or None.
        record: Name of the record that must be there (an issued API key), or None.
        slot: Where the record must be; None looks for the name wherever it is. A live record of
            another name in the slot is answered with `REPLAYED`.
        bucket: Which bucket is asked, where the credential's own text names it; None stands for
            `bucket(project, subject)`.
    """

    project: str = ""
    subject: str = ""
    issued_at: float = 0.0
    revocable: tuple[bytes, ...] = ()
    nonce: Nonce | None = None
    record: bytes | None = None
    slot: bytes | None = None
    bucket: int | None = None

    def __bool__(self) -> bool:
        return self.nonce is not None or bool(self.revocable) or self.record is not None


# All members by position, in less than half the time: a named tuple's own constructor is in Python.
make_nonce: Callable[[tuple[bytes, float, int, int]], Nonce]
make_nonce = functools.partial(tuple.__new__, Nonce)
make_owed: Callable[
    [
        tuple[
            str, str, float, tuple[bytes, ...], Nonce | None, bytes | None, bytes | None, int | None
        ]
    ],
    Owed,
]
make_owed = functools.partial(tuple.__new__, Owed)


@dataclass(frozen=True, slots=True)
class Record:
    """
    A credential that rpcguard issued and must remember: an API key, or the refresh token that a
    family has now.

    Attributes:
        name: `digest` of the secret text; the text itself is never kept.
        slot: What it takes the place of: a slot holds one live record.
        value: What the issuer wants to know when it is presented, JSON text without secrets.
        issued_at: Unix seconds.
        expires_at: Unix seconds at which it ends, or None.
        revocable: Names that end it if one of them is revoked as of `issued_at`.
        project: Name of the project; with `subject` it names the budget.
        subject: Whose credential it is.
        bucket: Where it is kept: `bucket(project, subject)`.
        project_limit: Live records that the project may hold.
        subject_limit: Live records that the subject may hold.
    """

    name: bytes
    slot: bytes
    value: str
    issued_at: float
    expires_at: float | None
    revocable: tuple[bytes, ...]
    project: str
    subject: str
    bucket: int
    project_limit: int = PROJECT_RECORDS
    subject_limit: int = SUBJECT_RECORDS


@dataclass(frozen=True, slots=True)
class Revocation:
    """
    One revocation to record.

    Attributes:
        name: One of the names that `Owed.revocable` may hold.
        before: Refuse what was issued at or before this Unix second; None refuses all.
        expires_at: Unix seconds until which it can matter; None keeps it for good.
        bucket: Where it is looked for; None stands for every bucket.
    """

    name: bytes
    before: float | None = None
    expires_at: float | None = None
    bucket: int | None = None


class Verdict(enum.Enum):
    """The kinds of answer that a backend gives."""

    OK = "ok"
    REVOKED = "revoked"
    REPLAYED = "replayed"
    FORGOTTEN = "forgotten"  # the backend may once have known this nonce and can no longer tell
    UNKNOWN = "unknown"  # there is no such record, or it has ended
    SUBJECT_FULL = "subject_full"
    PROJECT_FULL = "project_full"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the backend says to an `Owed`.

    Attributes:
        verdict: The kind of answer.
        record: The `value` of the record that was asked for; where another one is in its slot
            (`REPLAYED`), the value of that one.
    """

    verdict: Verdict
    record: str | None = None

    OK: ClassVar[Answer]
    REVOKED: ClassVar[Answer]
    REPLAYED: ClassVar[Answer]
    FORGOTTEN: ClassVar[Answer]
    UNKNOWN: ClassVar[Answer]
    SUBJECT_FULL: ClassVar[Answer]
    PROJECT_FULL: ClassVar[Answer]


for _verdict in Verdict:  # the answers without a record, made once
    setattr(Answer, _verdict.name, Answer(_verdict))
