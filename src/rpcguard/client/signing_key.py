"""What a caller signs JWTs with: one secret or private key, and the one algorithm it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from rpcguard import keys
from rpcguard.client import private_key
from rpcguard.client.private_key import Jwk, Private

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}

Material = bytes | Private


@final
@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """
    Key material, parsed once. Its repr shows no material.

    Attributes:
        alg: The JWS algorithm that every token of this key uses.
        kid: Key id for the token's header, or None to leave it out.
    """

    _material: Material = field(repr=False)
    alg: str
    kid: str | None = None

    @classmethod
    def from_secret(cls, secret: bytes | str, alg: str = "HS256", kid: str | None = None) -> Self:
        """
        Make a key from a shared secret; text counts as its UTF-8 bytes.

        Raises:
            ValueError: If *alg* is not HS256, HS384 or HS512, or the secret is empty, or is the
                text of a public key, which everybody knows.
        """
        raw = secret.encode() if isinstance(secret, str) else secret
        if alg not in keys.HMAC_BYTES:
            raise ValueError("a shared secret signs with HS256, HS384 or HS512")
        keys.secret_key("", alg, raw, allow_weak=True)  # what a server would refuse
        return cls(raw, alg, kid)

    @classmethod
    def from_hex(cls, text: str, alg: str = "HS256", kid: str | None = None) -> Self:
        """
        Make a key from a shared secret in hex, as in an execution client's `jwt.hex`.

        Args:
            text: Hex digits, behind `0x` or not; white space around them is dropped.
            alg: HS256, HS384 or HS512.
            kid: Key id for the token's header.

        Raises:
            ValueError: If it is not hex, or see `from_secret`. The message never quotes it.
        """
        return cls.from_secret(keys.secret_bytes(text.strip(), "hex"), alg, kid)

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
        return cls._from_private(private_key.from_pem(pem), kid, alg)

    @classmethod
    def from_jwk(cls, jwk: Jwk, kid: str | None = None, alg: str | None = None) -> Self:
        """
        Make a key from a private JWK (RFC 7517), or from a secret one of kind `oct`.

        Args:
            jwk: JSON text, or its members.
            kid: Left out: the JWK's own `kid`.
            alg: Left out: the JWK's own `alg`, else as for `from_pem`, and HS256 for a secret.

        Raises:
            ValueError: As `from_pem` and `from_secret`; also if the JWK is not for signing.
        """
        members = private_key.jwk_members(jwk)
        own_kid, own_alg = members.get("kid"), members.get("alg")
        kid = own_kid if kid is None else kid
        alg = own_alg if alg is None else alg
        material = private_key.from_jwk(members)
        if isinstance(material, bytes):
            return cls.from_secret(material, alg or "HS256", kid)
        return cls._from_private(material, kid, alg)

    @classmethod
    def _from_private(cls, material: Private, kid: str | None, alg: str | None) -> Self:
        if isinstance(material, RSAPrivateKey):
            fit: tuple[str, ...] = ("RS256", "RS384", "RS512", "PS256")
        elif isinstance(material, EllipticCurvePrivateKey):
            if material.curve.name not in _CURVES:
                raise ValueError("the key must be RSA, P-256, P-384 or Ed25519")
            fit = (_CURVES[material.curve.name],)
        else:
            fit = ("EdDSA",)
        if alg is not None and alg not in fit:
            raise ValueError(f"this key signs {' or '.join(fit)}")
        return cls(material, alg or fit[0], kid)

    def mint(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Return the compact JWS of *claims*; *header* adds to `alg`, `typ` and `kid`."""
        fields = {"kid": self.kid} if self.kid is not None else {}
        return jwt.encode(
            dict(claims), self._material, algorithm=self.alg, headers={**fields, **(header or {})}
        )
