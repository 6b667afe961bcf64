"""Private keys and secrets out of PEM and JWK text. No message quotes what it was given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from rpcguard import strict_json

Private = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
Jwk = str | bytes | Mapping[str, Any]

_KINDS = (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey)
_READERS: Mapping[str, Any] = {
    "RSA": RSAAlgorithm,
    "EC": ECAlgorithm,
    "OKP": OKPAlgorithm,
    "oct": HMACAlgorithm,
}


def from_pem(pem: bytes | str) -> Private:
    """
    Return the private key in *pem*: PKCS #8, PKCS #1 or SEC 1, not encrypted.

    Raises:
        ValueError: If it is no such key.
    """
    raw = pem.encode() if isinstance(pem, str) else pem
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not an unencrypted private key in PEM") from None
    return _known(key)


def jwk_members(jwk: Jwk) -> Mapping[str, Any]:
    """
    Return the members of a JWK that may sign.

    Raises:
        ValueError: If it is no JSON object, or its `use` or `key_ops` is not signing (RFC 7517
            sections 4.2 and 4.3).
    """
    try:
        members = strict_json.loads(jwk) if isinstance(jwk, str | bytes) else jwk
    except ValueError:
        raise ValueError("not a JWK") from None
    if not isinstance(members, Mapping):
        raise ValueError("not a JWK")  # noqa: TRY004 - a value of a file
    operations = members.get("key_ops", ["sign"])
    if members.get("use", "sig") != "sig" or "sign" not in operations:
        raise ValueError("this JWK is not for signing")
    return members


def from_jwk(members: Mapping[str, Any]) -> Private | bytes:
    """
    Return the private key, or the secret of kind `oct`, in the *members* of a JWK.

    Raises:
        ValueError: If it is neither, or a public key alone.
    """
    reader = _READERS.get(str(members.get("kty")))
    if reader is None:
        raise ValueError("the JWK's kty must be RSA, EC, OKP or oct")
    try:
        key: Any = reader.from_jwk(json.dumps(dict(members)))
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("not a JWK of its kty") from None
    return key if isinstance(key, bytes) else _known(key)


def _known(key: object) -> Private:
    if not isinstance(key, _KINDS):
        raise ValueError("the key must be RSA, P-256, P-384 or Ed25519, and private")  # noqa: TRY004
    return key
