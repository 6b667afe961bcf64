"""
Every way to authenticate behind one method, so that an HTTP library needs one shim for all.

A signer is a frozen value: it gives the headers of one request, and says for how long they would
serve others too. `rpcguard.client.presets` makes the right one for each provider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from rpcguard.client import order, wallet
from rpcguard.client.signing_key import SigningKey

MARGIN = 60.0  # seconds before its expiry at which a token is not used any more


class Signer(Protocol):
    """What proves who sends a request."""

    @property
    def reuse(self) -> float:
        """Seconds for which the headers serve any request; 0 where each needs its own."""
        ...

    @property
    def needs_body(self) -> bool:
        """Whether the headers depend on the body; else any bytes do for it."""
        ...

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """
        Return the headers that authenticate one request.

        Args:
            method: As it goes over the wire.
            target: Path and `?query` as they go over the wire, percent-encoded.
            body: The bytes to be sent; empty for a WebSocket handshake.
            now: Unix seconds.

        Raises:
            ValueError: If the request cannot be signed.
        """
        ...


def reuse_of(lifetime: float) -> float:
    """Return for how long a token of *lifetime* is used: until a minute before, or half of it."""
    return lifetime - min(MARGIN, lifetime / 2)


@dataclass(frozen=True, slots=True)
class BearerSigner:
    """
    `Authorization: Bearer` with a minted token.

    Attributes:
        mint: Unix seconds to token, such as ``lambda now: tokens.meganode(key, now)``.
        reuse: Seconds for which one token serves; see `reuse_of`.
    """

    needs_body: ClassVar[bool] = False

    mint: Callable[[float], str] = field(repr=False)
    reuse: float = 0.0

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """See `Signer`."""
        del method, target, body  # a bearer token is bound to none of them
        return {"Authorization": f"Bearer {self.mint(now)}"}


@dataclass(frozen=True, slots=True)
class ApiKeySigner:
    """
    An API key in a header. For one in the URL see `presets.meganode_url`.

    Attributes:
        key: The API key.
        header: Its header; behind `Bearer` where that is `Authorization`.

    Raises:
        ValueError: If the key is empty or could not stand in a header.
    """

    needs_body: ClassVar[bool] = False
    reuse: ClassVar[float] = 0.0  # nothing would be saved

    key: str = field(repr=False)
    header: str = "Authorization"

    def __post_init__(self) -> None:
        if not (self.key.isascii() and self.key.isprintable() and self.key.strip() == self.key):
            raise ValueError("an API key is printable ASCII without spaces around it")
        if not self.key:
            raise ValueError("the API key is empty")

    def headers(self, method: str, target: str, body: bytes, now: float) -> dict[str, str]:
        """See `Signer`."""
        del method, target, body, now
        bearer = self.header.lower() == "authorization"
        return {self.header: f"Bearer {self.key}" if bearer else self.key}


@dataclass(frozen=True, slots=True)
class WalletSigner:
    """
    The wallet headers of preset `nodius` (version 1 or 2) or `nodius-2026` (version 2026).

    Raises:
        ValueError: If the version is none of the three.
    """

    needs_body: ClassVar[bool] = True
    reuse: ClassVar[float] = 0.0

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

    needs_body: ClassVar[bool] = True
    reuse: ClassVar[float] = 0.0

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
