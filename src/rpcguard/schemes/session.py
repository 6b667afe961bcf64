"""
Session tokens: JWTs that rpcguard signs for a caller who has proved who they are.

A session is worth what its wallet is worth now: on every request the wallet must still be allowed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from rpcguard.errors import AuthError
from rpcguard.principal import Principal
from rpcguard.schemes.base import Incoming, NeedBody, Proof
from rpcguard.schemes.challenge import Challenges
from rpcguard.schemes.jwt import JwtScheme
from rpcguard.schemes.wallets import Wallets

TYP = "rpcguard-session+jwt"
ISSUER = "rpcguard"
SUBPROTOCOL = "sec-websocket-protocol"
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")
OWN_CLAIMS = frozenset({"iss", "aud", "sub", "jti", "sid", "iat", "exp", "nbf"})


def header_of(token: str) -> str:
    """Return the first part of a compact token."""
    return token.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Issued:
    """A session token, its end in Unix seconds, and the names it can be revoked by."""

    token: str = field(repr=False)
    expires_at: int
    jti: str
    sid: str | None


@dataclass(frozen=True, slots=True)
class Sessions:
    """
    What issues the sessions of one project.

    Attributes:
        project: Name of the project.
        audience: The project's id.
        secret_id: Id of the secret that signs.
        secret: The secret.
        ttl: Seconds that a token lives.
        refresh_ttl: Seconds that a refresh token lives, or None where there are none.
        challenges: The project's challenges.
        wallets: Who may sign in.
    """

    project: str
    audience: str
    secret_id: str
    secret: bytes = field(repr=False)
    ttl: int
    refresh_ttl: int | None
    challenges: Challenges = field(repr=False)
    wallets: Wallets | None

    def mint(
        self, subject: str, now: float, *, sid: str | None, claims: Mapping[str, Any]
    ) -> Issued:
        """
        Return a new token for *subject*.

        Raises:
            ValueError: If *claims* names a claim that rpcguard sets.
        """
        taken = OWN_CLAIMS.intersection(claims)
        if taken:
            raise ValueError(f"rpcguard sets {', '.join(sorted(taken))}")
        issued_at = int(now)
        jti = secrets.token_urlsafe(16)
        payload = {
            **claims,
            "iss": ISSUER,
            "aud": self.audience,
            "sub": subject,
            "jti": jti,
            "iat": issued_at,
            "exp": issued_at + self.ttl,
        }
        if sid is not None:
            payload["sid"] = sid
        headers = {"typ": TYP, "kid": self.secret_id}
        token = jwt.encode(payload, self.secret, algorithm="HS256", headers=headers)
        return Issued(token, issued_at + self.ttl, jti, sid)


class SessionScheme:
    """The `session` scheme of one project; see `Scheme`."""

    name = "session"
    challenge = "Bearer"

    def __init__(
        self,
        tokens: JwtScheme,
        headers: frozenset[str] | None,
        key_prefix: str,
        wallets: Wallets | None,
    ) -> None:
        """
        Args:
            tokens: Verifies the tokens.
            headers: First parts of the tokens that the project's secrets sign, by which they are
                told from its other JWTs; None where every bearer token is a session's.
            key_prefix: What a bearer token starts with to be an API key, or "".
            wallets: Which wallets are allowed now; None where subjects are not wallets.
        """
        self._tokens = tokens
        self._headers = headers
        self._key_prefix = key_prefix
        self._wallets = wallets
        self.fields = frozenset({"authorization", SUBPROTOCOL})
        self.security: tuple[Mapping[str, dict[str, Any]], ...] = (
            {"rpcSession": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        )

    def _is_ours(self, token: str) -> bool:
        if self._key_prefix and token.startswith(self._key_prefix):
            return False
        return self._headers is None or header_of(token) in self._headers

    def present(self, incoming: Incoming) -> bool:
        """A bearer token that is not an API key, or the subprotocol `auth.TOKEN`."""
        bearer = incoming.bearer
        if bearer is not None and self._is_ours(bearer):
            return True
        return incoming.request.websocket and bool(offered_tokens(incoming))

    def wants_body(self, incoming: Incoming) -> bool:
        """A wallet's policy may judge methods."""
        return False

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        """Verify the session token; see `Scheme.prove`."""
        token = incoming.bearer
        if incoming.request.websocket:
            offered = offered_tokens(incoming)
            if len(offered) > 1 or (offered and not _TOKEN.fullmatch(offered[0])):
                raise AuthError("malformed_credentials", detail="the auth. subprotocol's form")
            if offered and token is not None and token != offered[0]:
                raise AuthError("ambiguous_credentials", detail="header and subprotocol differ")
            token = offered[0] if offered else token
        proof = self._tokens.prove_token(token or "", incoming, now, standing=standing)
        if self._wallets is None or isinstance(proof, NeedBody):
            return proof
        wallet = self._wallets.find(proof.principal.subject)
        principal = proof.principal
        policies = (wallet.allow,) if wallet.allow is not None else ()
        if wallet.name is None:
            return Proof(principal, proof.owed, policies)
        named = Principal(
            principal.subject,
            principal.project,
            principal.scheme,
            name=wallet.name,
            key_id=principal.key_id,
            expires_at=principal.expires_at,
            claims=principal.claims,
        )
        return Proof(named, proof.owed, policies)


def offered_tokens(incoming: Incoming) -> list[str]:
    """Return the tokens that the client offers as subprotocols `auth.TOKEN` (Nodius)."""
    offered = [
        part.strip(" \t")
        for value in incoming.fields.get(SUBPROTOCOL, ())
        for part in value.split(",")
    ]
    return [part[5:] for part in offered if part.startswith("auth.")]
