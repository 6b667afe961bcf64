"""Tokens that no honest library makes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from rpcguard import base64url


def unsigned(claims: Mapping[str, Any]) -> str:
    """Return a token with `alg: none` and an empty signature (CVE-2015-2951)."""
    return f"{_signing_input({'alg': 'none', 'typ': 'JWT'}, claims)}."


def hmac_with_public_key(kid: str, public_pem: bytes, claims: Mapping[str, Any]) -> str:
    """Return an HS256 token whose secret is the text of a public key (CVE-2015-9235)."""
    text = _signing_input({"alg": "HS256", "typ": "JWT", "kid": kid}, claims)
    mac = hmac.new(public_pem, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64url.encode(mac)}"


def _signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    return ".".join(map(base64url.encode, parts))
