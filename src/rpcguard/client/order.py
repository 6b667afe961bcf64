"""
The request-bound token of preset `oppiwallet`.

Source: Oppi Wallet, "JWT Requirements": times in milliseconds, a life of 60 seconds, the endpoint's
path in `url`, the Auth Key in `key`, and a digest over three fields of the order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rpcguard.client.signing_key import SigningKey
from rpcguard.ecmascript import stringify
from rpcguard.errors import AuthError
from rpcguard.schemes.binding import digest_of_fields

LIFETIME_MS = 60_000
SEPARATOR = "#"


def order_digest(*fields: str) -> str:
    """
    Return the hex SHA-256 of ``JSON.stringify("<currency>#<amount>#<orderId>")``.

    The quotes and escapes of JSON are part of what is hashed. A number of the body counts as
    JavaScript prints it: `body_digest` sees to that.

    Raises:
        ValueError: If a field contains "#", which would move the fields, or is not Unicode text.
    """
    if any(SEPARATOR in field for field in fields):
        raise ValueError(f"a field of the order contains {SEPARATOR!r}")
    return hashlib.sha256(stringify(SEPARATOR.join(fields)).encode()).hexdigest()


def body_digest(body: bytes, names: Sequence[str]) -> str:
    """
    Return the digest over the *names* members of a JSON *body*, as the verifier works it out.

    Raises:
        ValueError: If the body is not a JSON object, or a member is missing or has no one spelling.
    """
    try:
        return digest_of_fields(body, tuple(names))
    except AuthError as error:
        raise ValueError(error.detail) from None


def oppiwallet(key: SigningKey, auth_key: str, path: str, digest: str, now: float) -> str:
    """
    Return a token for one request to *path*; the server accepts it once.

    Args:
        key: The Enc Key, for HS256.
        auth_key: The Auth Key, also sent as `x-auth-key`.
        path: The request's path as it goes over the wire; its query, if any, is left out.
        digest: What `order_digest` gives for this order.
        now: Unix seconds.
    """
    issued = int(now * 1000)
    return key.mint(
        {
            "url": path.partition("?")[0],
            "iat": issued,
            "exp": issued + LIFETIME_MS,
            "key": auth_key,
            "signature": digest,
        }
    )
