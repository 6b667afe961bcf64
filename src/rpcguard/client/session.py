"""
Signing in with a wallet: the bodies to post, and what to do with the answers.

The order is `challenge_body` to `/auth/challenge`, `verify_body` to `/auth/verify`,
`Session.headers` with every request, and an empty body with the same headers to `/auth/logout`. An
API key is asked for with an empty body to `/account/api-key`, signed like any request of a wallet.

Source: Nodius, "Authentication", on sessions and API keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rpcguard.client.wallet import Wallet

_TOKEN = re.compile(r"[!-~]+")  # what can stand in a header
_FOREVER = 1 << 53  # Unix seconds; beyond, a float counts them no more


@dataclass(frozen=True, slots=True)
class Session:
    """
    A session as `/auth/verify` and `/auth/refresh` answer it. Its repr shows no token.

    Attributes:
        token: The session token.
        expires_at: Unix seconds at which it ends.
        refresh_token: Gives the next session, once; None where the server has refresh off.
        refresh_expires_at: Unix seconds at which that ends.
    """

    token: str = field(repr=False)
    expires_at: int
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_at: int | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """
        Return the session in a route's *answer*.

        Raises:
            ValueError: If it is none.
        """
        token, expires_at = answer.get("token"), answer.get("expiresAt")
        refresh = answer.get("refreshToken")
        # A library's error about a header that cannot be sent would quote the token
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ValueError("not the answer of a sign-in")
        if type(expires_at) is not int or not 0 <= expires_at < _FOREVER:
            raise ValueError("not the answer of a sign-in")
        if not isinstance(refresh, str | None):
            raise ValueError("not the answer of a sign-in")  # noqa: TRY004
        return cls(token, expires_at, refresh, answer.get("refreshExpiresAt"))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request in this session."""
        return bearer(self.token)

    @property
    def subprotocol(self) -> str:
        """What a browser, which cannot send headers, offers as a WebSocket subprotocol."""
        return f"auth.{self.token}"

    def refresh_body(self) -> bytes:
        """
        Return the body for `POST /auth/refresh`.

        Raises:
            ValueError: If there is no refresh token.
        """
        if self.refresh_token is None:
            raise ValueError("this session has no refresh token")
        return _json(refreshToken=self.refresh_token)


@dataclass(frozen=True, slots=True)
class SignIn:
    """
    A wallet that signs in: what an HTTP library's shim needs to keep a session going by itself.

    Attributes:
        wallet: Signs the challenges.
        prefix: Path in front of `/auth/challenge` and its like, such as "/solana"; "" for none.

    Raises:
        ValueError: If the prefix is not empty and does not begin with "/", or ends with one.
    """

    wallet: Wallet
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.prefix and (self.prefix[0] != "/" or self.prefix[-1] == "/"):
            raise ValueError('a prefix begins with "/" and does not end with one')


def bearer(credential: str) -> dict[str, str]:
    """Return the header for a session token, or for an API key that goes behind `Bearer`."""
    return {"Authorization": f"Bearer {credential}"}


def challenge_body(wallet: Wallet) -> bytes:
    """Return the body for `POST /auth/challenge`."""
    return _json(pubkey=wallet.pubkey)


def verify_body(wallet: Wallet, challenge: str) -> bytes:
    """
    Return the body for `POST /auth/verify`: the signed *challenge*.

    The challenge itself is in it too, which spares the server trying every one it may have given.

    Raises:
        ValueError: If it is no challenge; see `Wallet.sign_challenge`.
    """
    signature = wallet.sign_challenge(challenge)
    return _json(pubkey=wallet.pubkey, signature=signature, challenge=challenge)


def _json(**members: str) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()
