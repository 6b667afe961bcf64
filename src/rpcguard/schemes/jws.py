"""
JWS compact serialization (RFC 7515 section 7.1), parsed strictly and before any cryptography.

The library that checks the signatures reads tokens too leniently for an outer gate: padding, stray
characters, duplicate members and unknown critical headers would pass. So the text is parsed here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from rpcguard import base64url, strict_json
from rpcguard.errors import AuthError

KNOWN_HEADER = 512  # characters; longer headers are read each time


class Jws(NamedTuple):
    """
    A parsed token; nothing in it is verified.

    Attributes:
        header: The protected header, a JSON object.
        payload: The decoded payload.
        signing_input: `header.payload` as sent: what the signature covers, and the token's name.
        signature: The decoded signature; may be empty.
    """

    header: Mapping[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:  # all of it is a credential
        return "Jws(...)"


def parse(token: str, limit: int) -> Jws:
    """
    Return *token* taken apart.

    Args:
        token: The compact form.
        limit: Longest token accepted, in characters; checked before anything else.

    Raises:
        AuthError: `malformed_credentials`, if it is not three canonical base64url parts with a
            JSON object in front, or a header changes what they mean (`crit`, `b64`, `zip`).
    """
    if len(token) > limit:
        raise AuthError("malformed_credentials", detail="token longer than max_credential")
    parts = token.split(".", 3)
    if len(parts) != 3:
        raise AuthError("malformed_credentials", detail="not three base64url parts")
    head, body, signature = parts
    try:
        header = read_header(head)
        payload = base64url.decode(body)
        raw_signature = base64url.decode(signature)
    except ValueError as error:
        raise AuthError("malformed_credentials", detail=f"token: {error}") from None
    return Jws(header, payload, f"{head}.{body}".encode("ascii"), raw_signature)


def claims_of(jws: Jws) -> dict[str, Any]:
    """
    Return what the payload of *jws* claims.

    Raises:
        AuthError: `malformed_credentials`, if it is not a JSON object.
    """
    try:
        claims = strict_json.loads(jws.payload)
    except ValueError as error:
        raise AuthError("malformed_credentials", detail=f"payload: {error}") from None
    if not isinstance(claims, dict):
        raise AuthError("malformed_credentials", detail="payload is not a JSON object")
    return claims


def read_header(text: str) -> Mapping[str, Any]:
    """
    Return the header that *text*, the first part of a token, spells.

    Raises:
        ValueError: If it is not canonical base64url of JSON.
        AuthError: `malformed_credentials`, if it is no object, or has members that it may not have.
    """
    return (_known_header if len(text) <= KNOWN_HEADER else _header)(text)


def _header(text: str) -> Mapping[str, Any]:
    header = strict_json.loads(base64url.decode(text))
    if not isinstance(header, dict):
        raise AuthError("malformed_credentials", detail="header is not a JSON object")
    for name in ("crit", "b64", "zip"):
        if name in header:
            raise AuthError("malformed_credentials", detail=f"header has {name}")
    if not isinstance(header.get("kid", ""), str) or not isinstance(header.get("typ", ""), str):
        raise AuthError("malformed_credentials", detail="kid or typ is not a string")
    return MappingProxyType(header)


# The tokens of one key have one header: reading it once for all halves the parsing of a new token.
# Nothing in it is believed, and what strangers send only makes room for what they send next.
_known_header = functools.lru_cache(maxsize=256)(_header)
