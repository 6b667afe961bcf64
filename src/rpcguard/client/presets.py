"""
What proves a request to each provider: one function for each preset, named as it is.

What they return is frozen, shows no secret, and goes to any of the libraries' shims or to
`Signer.headers`. A *secret* may be the text itself, its bytes, or a `SigningKey`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from rpcguard.client import tokens
from rpcguard.client.session import SignIn
from rpcguard.client.signers import (
    ApiKeySigner,
    BearerSigner,
    OrderSigner,
    Signer,
    WalletSigner,
    reuse_of,
)
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet

Secret = SigningKey | str | bytes
Credentials = Signer | SignIn

_VERSIONS = {"signature": 1, "signature-v2": 2}
_ENGINE_REUSE = 30.0  # seconds; `iat` counts for 60, and the two clocks may differ
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")  # RFC 3986 section 2.3: one spelling


def meganode(secret: Secret, *, lifetime: int = tokens.HOUR) -> BearerSigner:
    """Return the signer of preset `meganode`; *lifetime* in seconds."""
    mint = partial(tokens.meganode, _key(secret), lifetime=lifetime)
    return BearerSigner(mint, reuse_of(lifetime))


def meganode_url(endpoint: str, api_key: str) -> str:
    """
    Return *endpoint* with the API key as the last segment of its path.

    Libraries log URLs: prefer `meganode`.

    Raises:
        ValueError: If the key is no plain path segment. The message never quotes it.
    """
    if not _SEGMENT.fullmatch(api_key):
        raise ValueError("an API key in a path has letters, digits and -._~ alone")
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{api_key}"))


def meganode_rs256(
    key: SigningKey, *, lifetime: int = tokens.HOUR, audience: str = "nodereal.io"
) -> BearerSigner:
    """Return the signer of preset `meganode-rs256`; *lifetime* in seconds, 24 hours at most."""
    mint = partial(tokens.meganode_rs256, key, lifetime=lifetime, audience=audience)
    return BearerSigner(mint, reuse_of(lifetime))


def allthatnode(
    key: SigningKey, *, lifetime: int = tokens.HOUR, audience: str | None = None
) -> BearerSigner:
    """
    Return the signer of preset `allthatnode`; *lifetime* in seconds.

    Raises:
        ValueError: If the key has no `kid`, or signs neither RS256 nor ES256.
    """
    if key.kid is None or key.alg not in ("RS256", "ES256"):
        raise ValueError("All That Node takes keys of RS256 or ES256 with the kid it gave them")
    mint = partial(tokens.allthatnode, key, lifetime=lifetime, audience=audience)
    return BearerSigner(mint, reuse_of(lifetime))


def nodius(
    wallet: Wallet,
    auth: Literal["signature-v2", "signature", "session"] = "signature-v2",
    *,
    prefix: str = "",
) -> WalletSigner | SignIn:
    """
    Return what proves a wallet to preset `nodius`, as the provider's own SDK names it.

    Args:
        wallet: The wallet.
        auth: "signature" signs each request's body, "signature-v2" its method and target too;
            "session" signs in once.
        prefix: Path in front of the routes of "session"; see `SignIn`.

    Raises:
        ValueError: If *auth* is none of these.
    """
    if auth == "session":
        return SignIn(wallet, prefix)
    if auth not in _VERSIONS:
        raise ValueError('auth is "signature-v2", "signature" or "session"')
    return WalletSigner(wallet, _VERSIONS[auth])


def nodius_2026(
    wallet: Wallet, auth: Literal["signature", "session"] = "signature", *, prefix: str = ""
) -> WalletSigner | SignIn:
    """
    Return what proves a wallet to preset `nodius-2026`; see `nodius`.

    Raises:
        ValueError: If *auth* is neither "signature" nor "session".
    """
    if auth == "session":
        return SignIn(wallet, prefix)
    if auth != "signature":
        raise ValueError('auth is "signature" or "session"')
    return WalletSigner(wallet, 2026)


def oppiwallet(
    auth_key: str, enc_key: Secret, digest_fields: Mapping[str, Sequence[str]]
) -> OrderSigner:
    """
    Return the signer of preset `oppiwallet`.

    Args:
        auth_key: The Auth Key.
        enc_key: The Enc Key.
        digest_fields: Members of the JSON body that each path binds, such as
            ``{"/payouts/withdraw": ["currency", "amount", "orderId"]}``.
    """
    return OrderSigner(auth_key, _key(enc_key), digest_fields)


def bearer(
    key: SigningKey,
    claims: Mapping[str, Any],
    *,
    lifetime: int = tokens.HOUR,
    single_use: bool = False,
) -> BearerSigner:
    """
    Return the signer of preset `bearer`.

    Args:
        key: Of any algorithm.
        claims: What your issuer puts in, such as `sub`, `iss` and `aud`; `iat` and `exp` are added.
        lifetime: Seconds.
        single_use: Make a token with a `jti` of its own for each request.
    """
    if not single_use:
        return BearerSigner(
            partial(tokens.bearer, key, claims=claims, lifetime=lifetime), reuse_of(lifetime)
        )

    def mint(now: float) -> str:
        named = {"jti": secrets.token_hex(16), **claims}
        return tokens.bearer(key, now, named, lifetime=lifetime)

    return BearerSigner(mint)


def engine_api(secret: SigningKey | str) -> BearerSigner:
    """
    Return the signer of preset `engine-api`.

    Args:
        secret: A key, or the text of the hex file.

    Raises:
        ValueError: If it is not hex.
    """
    key = SigningKey.from_hex(secret) if isinstance(secret, str) else secret
    return BearerSigner(partial(tokens.engine_api, key), _ENGINE_REUSE)


def api_key(key: str, header: str = "Authorization") -> ApiKeySigner:
    """
    Return the signer with an API key: behind `Bearer`, or in another *header* as it is.

    Preset `nodius-2026` reads `X-Api-Key`.
    """
    return ApiKeySigner(key, header)


def _key(secret: Secret) -> SigningKey:
    return secret if isinstance(secret, SigningKey) else SigningKey.from_secret(secret)
