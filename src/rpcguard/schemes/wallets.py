"""Which wallets may call, and what is special about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rpcguard.errors import AuthError
from rpcguard.policy import Policy


@dataclass(frozen=True, slots=True)
class Wallet:
    """One listed wallet: its name, the lowest version it may use, its own policy."""

    name: str | None = None
    min_version: int = 0
    allow: Policy | None = None


ANY = Wallet()


class Wallets:
    """The wallets of one project; by text, in the encoding of its signature scheme."""

    __slots__ = ("_listed", "needs_body")

    def __init__(self, listed: Mapping[str, Wallet] | None) -> None:
        """Take the listed wallets, or None for `open`: any key pair is an identity."""
        self._listed = listed
        self.needs_body = any(
            wallet.allow is not None and wallet.allow.needs_body
            for wallet in (listed or {}).values()
        )

    def get(self, pubkey: str) -> Wallet | None:
        """Return what is known of *pubkey*, None if it is not listed."""
        return ANY if self._listed is None else self._listed.get(pubkey)

    def find(self, pubkey: str) -> Wallet:
        """
        Return what is known of *pubkey*.

        Raises:
            AuthError: `not_listed`.
        """
        wallet = self.get(pubkey)
        if wallet is None:
            raise AuthError("not_listed")
        return wallet

    def policies(self, pubkey: str) -> tuple[Policy, ...]:
        """
        Return the policy of *pubkey* alone, where it has one.

        Raises:
            AuthError: `not_listed`.
        """
        allow = self.find(pubkey).allow
        return () if allow is None else (allow,)
