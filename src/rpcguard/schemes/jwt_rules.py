"""How one project reads JWTs: what a preset and an operator can vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rpcguard import owed
from rpcguard.schemes.binding import Binding
from rpcguard.schemes.claims import ClaimRules
from rpcguard.schemes.narrowing import Narrowing


@dataclass(frozen=True, slots=True)
class JwtRules:
    """
    How one project reads JWTs; every field is fixed at load.

    Attributes:
        project: Name of the project.
        algorithms: Values of `alg` that the project takes at all.
        key_by: "kid" (required), "secret" (every active one, `kid` selects) or "header".
        key_header: For "header": lower-case field that names the key.
        key_claim: For "header": claim that must equal that field.
        types_first: Check claim types before the signature, as All That Node's messages do.
        typ: Accepted `typ` values, lower case; an absent `typ` is accepted.
        subject_claim: Claim that names the subject.
        subject_is_key: The subject is a wallet's key too: who revokes it revokes the token.
        single_use: Accept each token once.
        revocable: Ask the backend whether token, subject or key is revoked.
        skew: Seconds that a spent token is remembered beyond its end.
        max_credential: Longest token in bytes.
        project_limit: Live nonces that the project may hold.
        subject_limit: Live nonces that one subject may hold.
        claims: What the claims must be.
        binding: Claims that bind a token to a request.
        narrowing: Claims that narrow what a token may do.
    """

    project: str
    algorithms: frozenset[str]
    key_by: str = "kid"
    key_header: str = ""
    key_claim: str = ""
    types_first: bool = False
    typ: frozenset[str] = frozenset({"jwt"})
    subject_claim: str = "sub"
    subject_is_key: bool = False
    single_use: bool = False
    revocable: bool = True
    skew: float = 30.0
    max_credential: int = 8192
    project_limit: int = owed.PROJECT_NONCES
    subject_limit: int = owed.SUBJECT_NONCES
    claims: ClaimRules = field(default_factory=ClaimRules)
    binding: Binding = field(default_factory=Binding)
    narrowing: Narrowing = field(default_factory=Narrowing)

    def fits(self, header: Mapping[str, Any]) -> bool:
        """Return whether a token with *header* is of the accepted kind, by its `typ`."""
        return header.get("typ", "jwt").lower().removeprefix("application/") in self.typ
