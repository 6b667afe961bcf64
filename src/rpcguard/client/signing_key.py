"""What a caller signs JWTs with: one secret or private key, and the one algorithm it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}
_HMAC = frozenset({"HS256", "HS384", "HS512"})

Material = bytes | RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


@final
class SigningKey:
    """
    Key material, parsed once. Its repr shows no material.

    Attributes:
        alg: The JWS algorithm that every token of this key uses.
        kid: Key id for the token's header, or None to leave it out.
    """

    __slots__ = ("_material", "alg", "kid")

    def __init__(self, material: Material, alg: str, kid: str | None = None) -> None:
        self._material = material
        self.alg = alg
        self.kid = kid

    @classmethod
    def from_secret(cls, secret: bytes | str, alg: str = "HS256", kid: str | None = None) -> Self:
        """
        Make a key from a shared secret; text counts as its UTF-8 bytes.

        Raises:
            ValueError: If *alg* is not HS256, HS384 or HS512, or the secret is empty.
        """
        raw = secret.encode() if isinstance(secret, str) else secret
        if alg not in _HMAC:
            raise ValueError("a shared secret signs with HS256, HS384 or HS512")
        if not raw:
            raise ValueError("the secret is empty")
        return cls(raw, alg, kid)

    @classmethod
    def from_pem(cls, pem: bytes | str, kid: str | None = None, alg: str | None = None) -> Self:
        """
        Make a key from an unencrypted private key in PEM.

        Args:
            pem: PKCS #8, PKCS #1 or SEC 1.
            kid: Key id for the token's header.
            alg: Left out: RS256, ES256, ES384 or EdDSA by the key's type. RSA also signs RS384,
                RS512 and PS256.

        Raises:
            ValueError: If it is no such key, or *alg* is not one of the key's. The message never
                quotes the key.
        """
        raw = pem.encode() if isinstance(pem, str) else pem
        try:
            material = load_pem_private_key(raw, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("not an unencrypted private key in PEM") from None
        if isinstance(material, RSAPrivateKey):
            fit: tuple[str, ...] = ("RS256", "RS384", "RS512", "PS256")
        elif isinstance(material, EllipticCurvePrivateKey) and material.curve.name in _CURVES:
            fit = (_CURVES[material.curve.name],)
        elif isinstance(material, Ed25519PrivateKey):
            fit = ("EdDSA",)
        else:
            raise ValueError("the key must be RSA, P-256, P-384 or Ed25519")
        if alg is not None and alg not in fit:
            raise ValueError(f"this key signs {' or '.join(fit)}")
        return cls(material, alg or fit[0], kid)

    def mint(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Return the compact JWS of *claims*; *header* adds to `alg`, `typ` and `kid`."""
        fields = {"kid": self.kid} if self.kid is not None else {}
        return jwt.encode(
            dict(claims), self._material, algorithm=self.alg, headers={**fields, **(header or {})}
        )

    def __repr__(self) -> str:
        return f"SigningKey(alg={self.alg!r}, kid={self.kid!r})"
