"""
Claims that narrow what a token may do: `methods`, `addresses` and `origins`, where the project's
`narrowing` names them. They are one policy more beside the others, so they can only take away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rpcguard.errors import AuthError
from rpcguard.policy import ADDRESS, Names, Policy, parse_origin

MAX_ENTRIES = 100  # of one list: who signs tokens must not choose how long a call is compared
MAX_ENTRY = 256  # characters


@dataclass(frozen=True, slots=True)
class Narrowing:
    """
    Which claims narrow.

    Attributes:
        kinds: Some of "methods", "addresses" and "origins".
        missing_origin: Whether a request without Origin passes a narrower list of origins.
    """

    kinds: frozenset[str] = frozenset()
    missing_origin: bool = False

    def read(self, claims: Mapping[str, Any]) -> tuple[Policy, ...]:
        """
        Return the policy that *claims* add, none where they name none.

        Raises:
            AuthError: `invalid_claims`, if one is not a list as `allow` has it. An empty list
                allows nothing.
        """
        if self.kinds.isdisjoint(claims):
            return ()
        methods = self._list("methods", claims)
        addresses = self._list("addresses", claims)
        origins = self._list("origins", claims)
        if not all(ADDRESS.fullmatch(text) for text in addresses or ()):
            raise AuthError("invalid_claims", detail="addresses is not a list of addresses")
        try:
            parsed = None if origins is None else tuple(map(parse_origin, origins))
        except ValueError:
            raise AuthError("invalid_claims", detail="origins is not a list of origins") from None
        return (
            Policy(
                methods=None if methods is None else Names(methods),
                origins=parsed,
                addresses=None if addresses is None else frozenset(map(str.lower, addresses)),
                missing_origin=self.missing_origin,
            ),
        )

    def _list(self, name: str, claims: Mapping[str, Any]) -> list[str] | None:
        if name not in self.kinds or name not in claims:
            return None
        found = claims[name]
        if not isinstance(found, list) or len(found) > MAX_ENTRIES:
            raise AuthError("invalid_claims", detail=f"{name} is not a list of bounded length")
        if not all(isinstance(text, str) and 0 < len(text) <= MAX_ENTRY for text in found):
            raise AuthError("invalid_claims", detail=f"{name} holds what is no bounded text")
        return found
