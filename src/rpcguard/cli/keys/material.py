"""Fresh key material: pairs, secrets and API keys, as text for files and for the registry."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from rpcguard import keys

RSA_BITS = 2048
API_KEY_BYTES = 32
SECRET, API_KEY = "secret", "api-key"
# What each type can sign, the usual algorithm first.
TYPES: dict[str, tuple[str, ...]] = {
    "ed25519": ("EdDSA",),
    "ec": ("ES256", "ES384"),
    "rsa": ("RS256", "PS256", "RS384", "RS512"),
    SECRET: ("HS256", "HS384", "HS512"),
    API_KEY: (),
}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A fresh key pair: PEM texts, PKCS #8 and SubjectPublicKeyInfo."""

    private: str = field(repr=False)
    public: str


def pair(algorithm: str, bits: int = RSA_BITS) -> Pair:
    """Return a fresh pair for *algorithm*; *bits* is the size of an RSA modulus."""
    private = _private_key(algorithm, bits)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Pair(pem.decode(), public.decode())


def _private_key(algorithm: str, bits: int) -> PrivateKey:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in keys.EC_CURVES:
        return ec.generate_private_key(keys.EC_CURVES[algorithm]())
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


_SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "utf8": lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
    "hex": bytes.hex,
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64url": lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
}


def secret(algorithm: str, encoding: str, size: int | None) -> str:
    """
    Return a fresh HMAC secret as text.

    Args:
        algorithm: HS256, HS384 or HS512; the secret has as many random bytes as its hash at least.
        encoding: How the registry reads it: "utf8", "hex", "base64" or "base64url".
        size: Bytes that the project demands, or None.
    """
    text = _SPELLINGS[encoding](secrets.token_bytes(size or keys.HMAC_BYTES[algorithm]))
    return text[:size] if encoding == "utf8" else text


def api_key(prefix: str) -> tuple[str, str]:
    """Return a fresh API key that begins with *prefix*, and the digest that a registry holds."""
    text = prefix + secrets.token_urlsafe(API_KEY_BYTES)
    return text, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
