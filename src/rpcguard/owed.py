"""
The seam between the pure half and the backend.

`authenticate` proves all that can be proved without I/O and gives a `Pending`: a principal that
cannot be reached yet, and what is *owed*: the questions that only the backend can answer. The
driver asks them in one atomic step, and `conclude` gives the principal or refuses.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from rpcguard.errors import AuthError
from rpcguard.principal import Principal

PROJECT_NONCES = 1_000_000  # live nonces that a project may hold unless it says otherwise
SUBJECT_NONCES = 10_000  # and one subject
NAME_BYTES = 16  # 128 bits: nobody finds a second preimage, and a million live nonces stay small


def digest(*parts: str | bytes) -> bytes:
    """Return one fixed-size name for *parts*; each is length-prefixed, so no two lists collide."""
    hasher = hashlib.blake2b(digest_size=NAME_BYTES)
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update(len(raw).to_bytes(4, "big"))
        hasher.update(raw)
    return hasher.digest()


def key_name(project: str, kid: str) -> bytes:
    """Return the name by which everything that key *kid* proves can be revoked."""
    return digest("key", project, kid)


def subject_name(project: str, subject: str) -> bytes:
    """Return the name by which everything issued to *subject* can be revoked."""
    return digest("subject", project, subject)


def session_name(project: str, sid: str) -> bytes:
    """Return the name by which a session or refresh family can be revoked."""
    return digest("session", project, sid)


@dataclass(frozen=True, slots=True)
class Nonce:
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


@dataclass(frozen=True, slots=True)
class Owed:
    """
    What only the backend can answer for one request.

    Attributes:
        project: Name of the project; with `subject` it names the budget and the storage bucket.
        subject: Who calls.
        issued_at: Unix seconds, the proof's own time (`iat`, the signed timestamp); 0 without one.
        revocable: Names that refuse the request if one of them is revoked as of `issued_at`.
        nonce: To be spent, or None.
    """

    project: str = ""
    subject: str = ""
    issued_at: float = 0.0
    revocable: tuple[bytes, ...] = ()
    nonce: Nonce | None = None

    def __bool__(self) -> bool:
        return self.nonce is not None or bool(self.revocable)


@dataclass(frozen=True, slots=True)
class Revocation:
    """
    One revocation to record.

    Attributes:
        name: One of the names that `Owed.revocable` may hold.
        before: Refuse what was issued at or before this Unix second; None refuses all.
        expires_at: Unix seconds until which it can matter; None keeps it for good.
    """

    name: bytes
    before: float | None = None
    expires_at: float | None = None


class Answer(enum.Enum):
    """What the backend says to an `Owed`."""

    OK = "ok"
    REVOKED = "revoked"
    REPLAYED = "replayed"
    FORGOTTEN = "forgotten"  # the backend may once have known this nonce and can no longer tell
    SUBJECT_FULL = "subject_full"
    PROJECT_FULL = "project_full"


_REFUSALS = {
    Answer.REVOKED: ("revoked", "the credential, its session, subject or key is revoked"),
    Answer.REPLAYED: ("replayed", "the nonce was spent before"),
    Answer.FORGOTTEN: ("expired", "older than what the backend remembers"),
    Answer.SUBJECT_FULL: ("rate_limited", "the subject holds as many live nonces as it may"),
    Answer.PROJECT_FULL: ("backend_unavailable", "the project holds as many live nonces as it may"),
}


class Pending:
    """A proved request whose principal stays hidden until the backend has answered."""

    __slots__ = ("_dress", "_principal", "owed")

    def __init__(
        self, principal: Principal, owed: Owed, dress: Callable[[AuthError], AuthError]
    ) -> None:
        self._principal = principal
        self.owed = owed
        self._dress = dress

    def conclude(self, answer: Answer | None) -> Principal:
        """
        Return the principal.

        Args:
            answer: What the backend said; None only where nothing is owed.

        Raises:
            AuthError: If the backend refused.
        """
        if answer is Answer.OK:
            return self._principal
        if answer is None:
            if self.owed:
                raise self._dress(AuthError("backend_unavailable", detail="owed and not asked"))
            return self._principal
        reason, detail = _REFUSALS[answer]
        raise self._dress(AuthError(reason, detail=detail))

    def unavailable(self, detail: str) -> AuthError:
        """Return the refusal for a backend that did not answer."""
        return self._dress(AuthError("backend_unavailable", detail=detail))
