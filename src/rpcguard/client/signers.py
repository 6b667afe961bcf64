"""
Every way to authenticate behind one method, so that an HTTP library needs one shim for all.

A signer gives the headers of one request. It is asked anew for each, so a token never grows old and
a nonce is never sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rpcguard.client import order, wallet
from rpcguard.client.signing_key import SigningKey


class Signer(Protocol):
    """What proves who sends a request."""

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """
        Return the headers that authenticate one request.

        Args:
            method: As it goes over the wire.
            target: Path and `?query` as they go over the wire, percent-encoded.
            body: The bytes to be sent; empty for a WebSocket handshake.
            now: Unix seconds.
        """
        ...


@dataclass(frozen=True, slots=True)
class BearerSigner:
    """
    `Authorization: Bearer` with a token made for each request.

    Attributes:
        mint: Unix seconds to token, such as ``lambda now: tokens.meganode(key, now)``; an API key
            is ``lambda _: "nod_…"``.
    """

    mint: Callable[[float], str] = field(repr=False)

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """See `Signer`."""
        del method, target, body  # a bearer token is bound to none of them
        return {"Authorization": f"Bearer {self.mint(now)}"}


@dataclass(frozen=True, slots=True)
class WalletSigner:
    """
    The wallet headers of preset `nodius` (version 1 or 2) or `nodius-2026` (version 2026).

    Raises:
        ValueError: If the version is none of the three.
    """

    wallet: wallet.Wallet
    version: int = 2

    def __post_init__(self) -> None:
        if self.version not in (1, 2, 2026):
            raise ValueError("the version must be 1, 2 or 2026")

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """See `Signer`."""
        if self.version == 1:
            return wallet.nodius_v1(self.wallet, body, now)
        sign = wallet.nodius_v2 if self.version == 2 else wallet.nodius_2026
        return sign(self.wallet, method, target, body, now)


@dataclass(frozen=True, slots=True)
class OrderSigner:
    """
    The bound token of preset `oppiwallet` and `x-auth-key`.

    Attributes:
        auth_key: The Auth Key.
        key: The Enc Key, for HS256.
        digest_fields: Members of the JSON body that each path binds, as in the registry.

    Raises:
        ValueError: From `headers`, if the path has no fields, or the body lacks one of them.
    """

    auth_key: str
    key: SigningKey
    digest_fields: Mapping[str, Sequence[str]]

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """See `Signer`."""
        del method
        path = target.partition("?")[0]
        if path not in self.digest_fields:
            raise ValueError("no digest_fields for this path")
        digest = order.body_digest(body, self.digest_fields[path])
        token = order.oppiwallet(self.key, self.auth_key, path, digest, now)
        return {"Authorization": f"Bearer {token}", "X-Auth-Key": self.auth_key}
