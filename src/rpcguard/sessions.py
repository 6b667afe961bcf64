"""
What issues session tokens, JWTs that rpcguard signs for a caller who has proved who they are, and
the refresh tokens that renew them. `schemes.session` verifies what is issued here.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rpcguard import owed, strict_json
from rpcguard.base64url import encode
from rpcguard.errors import AuthError
from rpcguard.keys import Key
from rpcguard.owed import Record
from rpcguard.schemes.challenge import Challenges
from rpcguard.schemes.wallets import Wallets

REFRESH_PREFIX = "rfr_"
TYP = "rpcguard-session+jwt"
ISSUER = "rpcguard"
# the handle, and 256 random bits: 16 and 32 bytes in base64url
_REFRESH = re.compile(REFRESH_PREFIX + "([0-9a-f]{2}[A-Za-z0-9_-]{22})[A-Za-z0-9_-]{43}")
OWN_CLAIMS = frozenset({"iss", "aud", "sub", "jti", "sid", "iat", "exp", "nbf"})


def header_of(token: str) -> str:
    """Return the first part of a compact token."""
    return token.partition(".")[0]


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """One session secret: its key (see `rpcguard.keys.Key`), its bytes, its challenges."""

    key: Key
    secret: bytes = field(repr=False)
    challenges: Challenges = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A session token and its end in Unix seconds."""

    token: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class Family:
    """
    A refresh family, as the text of each of its refresh tokens names it.

    Attributes:
        handle: Two hex digits of the bucket and 128 random bits. Who shows it with a secret that is
            not the present one ends the family, so it is kept as a digest alone, and the `sid` of
            session tokens does not lead back to it.
    """

    handle: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Return the family of a refresh token's *text*, or None if it has not that form."""
        found = _REFRESH.fullmatch(text)
        return None if found is None else cls(found[1])

    @property
    def bucket(self) -> int:
        """Where its record is kept."""
        return int(self.handle[:2], 16)

    @property
    def sid(self) -> str:
        """What its session tokens name it by."""
        return encode(owed.digest("sid", self.handle))


@dataclass(frozen=True, slots=True)
class Sessions:
    """
    What issues the sessions of one project.

    Attributes:
        project: Name of the project.
        audience: The project's id.
        secrets: The secrets; the first active one signs.
        ttl: Seconds that a token lives.
        refresh_ttl: Seconds that a refresh token lives, or None where there are none.
        wallets: Who may sign in, or None where subjects are not wallets.
        decode: Reads a wallet's key and signature from text.
        skew: Seconds that a spent challenge is remembered beyond its end.
        project_limit: Live nonces that the project may hold.
        subject_limit: Live nonces that one wallet may hold.
        project_records: Live records that the project may hold.
        subject_records: Live records that one subject may hold.
    """

    project: str
    audience: str
    secrets: tuple[SigningSecret, ...]
    ttl: int
    refresh_ttl: int | None
    wallets: Wallets | None
    decode: Callable[[str, int], bytes]
    skew: float
    project_limit: int = owed.PROJECT_NONCES
    subject_limit: int = owed.SUBJECT_NONCES
    project_records: int = owed.PROJECT_RECORDS
    subject_records: int = owed.SUBJECT_RECORDS

    def longest(self, now: float) -> float:
        """Return the Unix seconds until which a session that exists at *now* can matter."""
        return now + max(self.ttl, self.refresh_ttl or 0) + self.skew

    def active(self, now: float) -> list[SigningSecret]:
        """
        Return the secrets that count at *now*; the first of them signs.

        Raises:
            AuthError: `backend_unavailable`, if there is none: nobody can be let in.
        """
        active = [secret for secret in self.secrets if secret.key.active(now)]
        if not active:
            raise AuthError("backend_unavailable", detail="no session secret is active")
        return active

    def signing(self, now: float) -> SigningSecret:
        """
        Return the secret that signs at *now*.

        Raises:
            AuthError: As `active`.
        """
        return self.active(now)[0]

    def mint(self, subject: str, now: float, claims: Mapping[str, Any]) -> Issued:
        """
        Return a new token for *subject*.

        Args:
            subject: Who it is for.
            now: Unix seconds.
            claims: Further claims.

        Raises:
            ValueError: If *subject* is empty, or *claims* names a claim that rpcguard sets.
        """
        if not isinstance(subject, str) or not subject:
            raise ValueError("the subject must be a text that is not empty")
        taken = OWN_CLAIMS.intersection(claims)
        if taken:
            raise ValueError(f"rpcguard sets {', '.join(sorted(taken))}")
        try:
            strict_json.loads(json.dumps(dict(claims)))
        except (TypeError, ValueError, RecursionError):
            raise ValueError("the claims are not JSON as a verifier takes it") from None
        return self._mint({**claims, "sub": subject}, now)

    def _mint(self, claims: Mapping[str, Any], now: float) -> Issued:
        signing = self.signing(now)
        expires_at = int(now) + self.ttl
        own = {
            "iss": ISSUER,
            "aud": self.audience,
            "jti": secrets.token_urlsafe(16),
            "iat": int(now),
            "exp": expires_at,
        }
        return Issued(self.sign({**claims, **own}, signing), expires_at)

    def sign(self, claims: Mapping[str, Any], signing: SigningSecret) -> str:
        """Return the token of *claims* as *signing* signs it."""
        import jwt  # noqa: PLC0415  a server that only verifies has no use for it

        headers = {"typ": TYP, "kid": signing.key.kid}
        return jwt.encode(dict(claims), signing.secret, algorithm="HS256", headers=headers)

    def start(
        self, subject: str, now: float, claims: Mapping[str, Any]
    ) -> tuple[Issued, str, Record]:
        """Return the first token, refresh token and record of a new family."""
        self.mint(subject, now, claims)  # refuses claims that rpcguard sets
        shard = owed.bucket(self.project, subject)
        family = Family(f"{shard:02x}{secrets.token_urlsafe(16)}")
        return self.renew(family, json.dumps({"sub": subject, "claims": dict(claims)}), now)

    def renew(self, family: Family, value: str, now: float) -> tuple[Issued, str, Record]:
        """Return the next token, refresh token and record of *family*, which *value* describes."""
        known = json.loads(value)
        subject = known["sub"]
        issued = self._mint({**known["claims"], "sub": subject, "sid": family.sid}, now)
        text = f"{REFRESH_PREFIX}{family.handle}{secrets.token_urlsafe(32)}"
        ends = int(now) + (self.refresh_ttl or 0)
        known["until"] = max(known.get("until", 0), issued.expires_at)
        known["ends"] = ends
        slot = owed.session_name(self.project, family.sid)
        revocable: tuple[bytes, ...] = (slot, owed.subject_name(self.project, subject))
        if self.wallets is not None:
            revocable += (owed.key_name(self.project, subject),)
        record = Record(
            name=owed.refresh_name(self.project, text),
            slot=slot,
            value=json.dumps(known),
            issued_at=now,
            expires_at=ends,
            revocable=revocable,
            project=self.project,
            subject=subject,
            bucket=family.bucket,
            project_limit=self.project_records,
            subject_limit=self.subject_records,
        )
        return issued, text, record
