"""Who is calling."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, final


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

    __slots__ = ("_facts",)

    _facts: tuple[str, str, str, str | None, str | None, float | None, Mapping[str, Any], str]

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
        network: str = "",
    ) -> None:
        # one tuple, since setting seven read-only members costs more than parsing the claims
        _set_facts(
            self, (subject, project, scheme, name, key_id, expires_at, claims or {}, network)
        )

    @property
    def subject(self) -> str:
        """Who it is."""
        return self._facts[0]

    @property
    def project(self) -> str:
        """Name of the project in the registry."""
        return self._facts[1]

    @property
    def scheme(self) -> str:
        """The kind of credential."""
        return self._facts[2]

    @property
    def name(self) -> str | None:
        """Name of the key or wallet in the registry."""
        return self._facts[3]

    @property
    def key_id(self) -> str | None:
        """Id of the key that proved it."""
        return self._facts[4]

    @property
    def expires_at(self) -> float | None:
        """Unix seconds at which the credential ends."""
        return self._facts[5]

    @property
    def claims(self) -> dict[str, Any]:
        """The verified claims, a fresh copy at each access."""
        # one verified token serves many requests: nobody may edit the claims of the others
        return copy.deepcopy(dict(self._facts[6]))

    @property
    def who(self) -> tuple[str, str, str | None]:
        """Scheme, subject and key id, which a log says of a caller."""
        return self.scheme, self.subject, self.key_id

    @property
    def network(self) -> str:
        """Where the connection comes from, as limits per address count it; "" where unknown."""
        return self._facts[7]

    def called(self, name: str) -> Principal:
        """Return this principal under the *name* that the registry has for it."""
        subject, project, scheme, _, key_id, expires_at, claims, network = self._facts
        return make_principal(subject, project, scheme, name, key_id, expires_at, claims, network)

    def connected_from(self, network: str) -> Principal:
        """Return this principal, for a connection from *network* whose messages will be counted."""
        return make_principal(*self._facts[:7], network)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Principal is read-only: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Principal is read-only: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Principal):
            return NotImplemented
        return self._facts[:7] == other._facts[:7]

    def __hash__(self) -> int:
        return hash((self.subject, self.project, self.scheme, self.key_id))

    def __reduce__(self) -> tuple[object, ...]:
        return make_principal, (*self._facts[:6], self.claims)

    def __repr__(self) -> str:
        return (
            f"Principal(subject={self.subject!r}, project={self.project!r}, "
            f"scheme={self.scheme!r}, name={self.name!r}, key_id={self.key_id!r}, "
            f"expires_at={self.expires_at!r})"
        )


_new = object.__new__
_set_facts = Principal.__dict__["_facts"].__set__  # which knows of no `__setattr__`


def make_principal(
    subject: str,
    project: str,
    scheme: str,
    name: str | None,
    key_id: str | None,
    expires_at: float | None,
    claims: Mapping[str, Any],
    network: str = "",
) -> Principal:
    """Return the `Principal` of all these; by position, in half the time."""
    made = _new(Principal)
    _set_facts(made, (subject, project, scheme, name, key_id, expires_at, claims, network))
    return made
