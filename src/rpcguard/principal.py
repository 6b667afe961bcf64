"""Who is calling."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, final

_FIELDS = ("expires_at", "key_id", "name", "project", "scheme", "subject")


@final
class Principal:
    """
    The authenticated caller of one request. Read-only, and safe to log: its repr holds no claims.

    Attributes:
        subject: Who it is: a wallet's base58 key, the `sub` claim, else the id of the key used.
        project: Name of the project in the registry.
        scheme: "jwt", "signature", "api_key", "session" or "none".
        name: Name of the key or wallet in the registry, or None.
        key_id: Id of the key that proved it, or None.
        expires_at: Unix seconds at which the credential ends, or None.
        claims: The verified claims, a fresh copy at each access; empty where there are none.
    """

    __slots__ = ("_claims", "_network", *_FIELDS)

    subject: str
    project: str
    scheme: str
    name: str | None
    key_id: str | None
    expires_at: float | None

    def __init__(
        self,
        subject: str,
        project: str,
        scheme: str,
        *,
        name: str | None = None,
        key_id: str | None = None,
        expires_at: float | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> None:
        fix = object.__setattr__
        fix(self, "subject", subject)
        fix(self, "project", project)
        fix(self, "scheme", scheme)
        fix(self, "name", name)
        fix(self, "key_id", key_id)
        fix(self, "expires_at", expires_at)
        fix(self, "_claims", claims or {})
        fix(self, "_network", "")

    @property
    def claims(self) -> dict[str, Any]:
        """The verified claims, a fresh copy at each access."""
        # one verified token serves many requests: nobody may edit the claims of the others
        return copy.deepcopy(dict(self._claims))  # type: ignore[attr-defined]

    @property
    def network(self) -> str:
        """Where the connection comes from, as limits per address count it; "" where unknown."""
        return self._network  # type: ignore[attr-defined,no-any-return]

    def connected_from(self, network: str) -> Principal:
        """Return this principal, for a connection from *network* whose messages will be counted."""
        principal: Principal = _rebuilt(
            self.subject,
            self.project,
            self.scheme,
            self.name,
            self.key_id,
            self.expires_at,
            self._claims,  # type: ignore[attr-defined]
        )
        object.__setattr__(principal, "_network", network)
        return principal

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Principal is read-only: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Principal is read-only: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Principal):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in ("_claims", *_FIELDS))

    def __hash__(self) -> int:
        return hash((self.subject, self.project, self.scheme, self.key_id))

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.subject, self.project, self.scheme)
        return _rebuilt, (*fields, self.name, self.key_id, self.expires_at, self.claims)

    def __repr__(self) -> str:
        return (
            f"Principal(subject={self.subject!r}, project={self.project!r}, "
            f"scheme={self.scheme!r}, name={self.name!r}, key_id={self.key_id!r}, "
            f"expires_at={self.expires_at!r})"
        )


def _rebuilt(
    subject: str,
    project: str,
    scheme: str,
    name: str | None,
    key_id: str | None,
    expires_at: float | None,
    claims: dict[str, Any],
) -> Principal:
    return Principal(
        subject, project, scheme, name=name, key_id=key_id, expires_at=expires_at, claims=claims
    )
