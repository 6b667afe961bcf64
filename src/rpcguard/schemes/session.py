"""
Session tokens, as `rpcguard.sessions` issues them, or the subprotocol that carries one.

A session is worth what its wallet is worth now: on every request the wallet must still be allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rpcguard.errors import AuthError
from rpcguard.owed import Revocation
from rpcguard.policy import Policy
from rpcguard.principal import Principal
from rpcguard.schemes.base import BearerKinds, Incoming, NeedBody, Proof
from rpcguard.schemes.jwt import JwtScheme
from rpcguard.schemes.wallets import Wallets

SUBPROTOCOL = "sec-websocket-protocol"
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")


class SessionScheme:
    """The `session` scheme of one project; see `Scheme`."""

    name = "session"
    challenge = "Bearer"

    def __init__(self, tokens: JwtScheme, bearers: BearerKinds, wallets: Wallets | None) -> None:
        """
        Args:
            tokens: Verifies the tokens.
            bearers: Which bearer tokens are a session's.
            wallets: Which wallets are allowed now; None where subjects are not wallets.
        """
        self._tokens = tokens
        self._bearers = bearers
        self._wallets = wallets
        self.fields = frozenset({"authorization", SUBPROTOCOL})
        self.security: tuple[Mapping[str, dict[str, Any]], ...] = (
            {"rpcSession": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        )

    def present(self, incoming: Incoming) -> bool:
        """A bearer token that is not an API key, or the subprotocol `auth.TOKEN`."""
        bearer = incoming.bearer
        if bearer is not None and self._bearers.owner(bearer) == self.name:
            return True
        return incoming.request.websocket and bool(offered_tokens(incoming))

    def revocation(self, token: str, now: float) -> Revocation | None:
        """See `JwtScheme.revocation`."""
        return self._tokens.revocation(token, now)

    def watch_lookups(self, tell: Callable[[bool], None]) -> None:
        """See `JwtScheme.watch_lookups`."""
        self._tokens.watch_lookups(tell)

    def wants_body(self, incoming: Incoming) -> bool:  # noqa: ARG002 - `Scheme` asks with it
        """A session token covers nothing of the request."""
        return False

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        """Verify the session token; see `Scheme.prove`."""
        token, trace = incoming.bearer, incoming.trace
        if incoming.request.websocket:
            if trace is not None:
                trace.note("subprotocol", "one token at most, the bearer's if there is one")
            offered = offered_tokens(incoming)
            if len(offered) > 1 or (offered and not _TOKEN.fullmatch(offered[0])):
                raise AuthError("malformed_credentials", detail="the auth. subprotocol's form")
            if offered and token is not None and token != offered[0]:
                raise AuthError("ambiguous_credentials", detail="header and subprotocol differ")
            token = offered[0] if offered else token
        proof = self._tokens.prove_token(token or "", incoming, now, standing=standing)
        if self._wallets is None or isinstance(proof, NeedBody):
            return proof
        if trace is not None:
            trace.note("wallet", "still allowed")
        principal = proof.principal
        wallet = self._wallets.find(principal.subject)
        policies = (*self._wallets.policies(principal.subject), *proof.policies)
        if wallet.name is None:
            return Proof(principal, proof.owed, policies)
        return Proof(principal.called(wallet.name), proof.owed, policies)

    def policies(self, principal: Principal, now: float) -> tuple[Policy, ...]:
        """What applies to the holder of this session; see `Scheme.policies`."""
        wallets = self._wallets.policies(principal.subject) if self._wallets is not None else ()
        return (*wallets, *self._tokens.policies(principal, now))


def offered_tokens(incoming: Incoming) -> list[str]:
    """Return the tokens that the client offers as subprotocols `auth.TOKEN` (Nodius)."""
    offered = [
        part.strip(" \t")
        for value in incoming.fields.get(SUBPROTOCOL, ())
        for part in value.split(",")
    ]
    return [part[5:] for part in offered if part.startswith("auth.")]
