"""
Encrypted tokens: JWE compact serialization (RFC 7516 section 7.1) around a signed token.

Encryption hides claims and proves nothing: whoever has the public key can make such a token. So
what is opened here must be a JWS, and is verified like one that came in plain (RFC 7519 section
11.2); it is never itself encrypted, compressed or unsigned.

As with `jws`, the text is taken apart strictly before joserfc sees it, and joserfc gets a list of
two algorithms: the key's own and A256GCM. This module alone needs it (`rpcguard[jwe]`), and only a
project with `encryption` imports this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from joserfc.jwe import JWERegistry, decrypt_compact
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from rpcguard import base64url, strict_json
from rpcguard.errors import AuthError
from rpcguard.keys import PEM_BYTES, public_key

CONTENT_ENCRYPTION = "A256GCM"
AGREEMENTS = frozenset({"ECDH-ES", "ECDH-ES+A256KW"})
DIRECT_BYTES = 32  # the secret of `dir` is the key of A256GCM itself
IV_BYTES = 12  # RFC 7518 section 5.3, as the tag
TAG_BYTES = 16
RSA_BITS_LIMIT = 4096  # strangers make the guard decrypt: 8192 bits would cost it 20 ms a token

# Bytes of the encrypted key, where the algorithm alone says it.
_ENCRYPTED_KEY_BYTES: Mapping[str, int] = {"dir": 0, "ECDH-ES": 0, "ECDH-ES+A256KW": 40}
# JWK members of an ephemeral key (RFC 7518 section 6.2, RFC 8037): type, coordinates, their bytes.
_CURVES: Mapping[str, tuple[str, tuple[str, ...], int]] = {
    "P-256": ("EC", ("x", "y"), 32),
    "P-384": ("EC", ("x", "y"), 48),
    "X25519": ("OKP", ("x",), 32),
}
_COMPACT = re.compile(
    r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)"
)


@dataclass(frozen=True, slots=True)
class DecryptionKey:
    """
    One key that opens tokens of one algorithm.

    Attributes:
        kid: Its id in the registry.
        alg: Its one `alg`.
        curve: JWK name of its curve, "" where it has none.
        not_before: Unix seconds from which it counts, or None.
        not_after: Unix seconds at which it ends, or None.
    """

    kid: str
    alg: str
    _key: OctKey | RSAKey | ECKey | OKPKey = field(repr=False, compare=False)
    curve: str = ""
    not_before: float | None = None
    not_after: float | None = None

    def active(self, now: float) -> bool:
        """Return whether the key counts at *now*, Unix seconds."""
        return (self.not_before is None or self.not_before <= now) and (
            self.not_after is None or now < self.not_after
        )

    def decrypt(self, token: str) -> bytes | None:
        """Return what *token*, parsed before, holds; None if it is not for this key."""
        registry = JWERegistry(algorithms=(self.alg, CONTENT_ENCRYPTION), strict_check_header=False)
        # Its own bounds are below what `max_credential` can be set to; the caller has applied that.
        registry.max_protected_header_length = len(token)
        registry.max_ciphertext_length = len(token)
        try:
            return decrypt_compact(token, self._key, registry=registry).plaintext
        except Exception:  # noqa: BLE001  whatever a library raises over a stranger's bytes is one refusal
            return None


def shared_key(
    kid: str,
    secret: bytes,
    *,
    not_before: float | None = None,
    not_after: float | None = None,
) -> DecryptionKey:
    """
    Return a key for `dir`: both sides have *secret*.

    Raises:
        ValueError: If *secret* is not of 32 bytes.
    """
    if len(secret) != DIRECT_BYTES:
        raise ValueError(f"the secret has {len(secret)} bytes, dir needs exactly {DIRECT_BYTES}")
    return DecryptionKey(kid, "dir", OctKey.import_key(secret), "", not_before, not_after)


def private_key(
    kid: str,
    alg: str,
    pem: bytes,
    *,
    not_before: float | None = None,
    not_after: float | None = None,
) -> DecryptionKey:
    """
    Return the key of a PEM private key without a password.

    Args:
        kid: Its id in the registry.
        alg: "RSA-OAEP-256" for RSA, "ECDH-ES" or "ECDH-ES+A256KW" for P-256, P-384 and X25519.
        pem: The PEM text.
        not_before: Unix seconds.
        not_after: Unix seconds.

    Raises:
        ValueError: If it is not a private key, is weak or oversized, or does not fit *alg*.
    """
    if len(pem) > PEM_BYTES:
        raise ValueError(f"longer than {PEM_BYTES} bytes")
    try:
        material = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the private key has a password; store it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a PEM private key") from None
    key: RSAKey | ECKey | OKPKey
    curve = ""
    if isinstance(material, rsa.RSAPrivateKey):
        _refuse_weak_rsa(kid, material)
        key, fits = RSAKey.import_key(material), alg == "RSA-OAEP-256"
    elif isinstance(material, ec.EllipticCurvePrivateKey):
        key = ECKey.import_key(material)
        curve = {"secp256r1": "P-256", "secp384r1": "P-384"}.get(material.curve.name, "")
        fits = bool(curve) and alg in AGREEMENTS
    elif isinstance(material, x25519.X25519PrivateKey):
        key, curve, fits = OKPKey.import_key(material), "X25519", alg in AGREEMENTS
    else:
        raise ValueError("only RSA, P-256, P-384 and X25519 keys can decrypt")  # noqa: TRY004
    if not fits:
        raise ValueError(f"the key's type does not fit {alg}")
    return DecryptionKey(kid, alg, key, curve, not_before, not_after)


def _refuse_weak_rsa(kid: str, material: rsa.RSAPrivateKey) -> None:
    if material.key_size > RSA_BITS_LIMIT:
        raise ValueError(f"an RSA key of {material.key_size} bits; at most {RSA_BITS_LIMIT} here")
    public = material.public_key()
    public_key(kid, "RS256", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


class Encryption:
    """
    What opens the encrypted tokens of one project.

    Attributes:
        required: Whether a token that is not encrypted is refused.
    """

    def __init__(self, keys: Iterable[DecryptionKey], limit: int, *, required: bool) -> None:
        """
        Args:
            keys: The keys, of different ids; at least one.
            limit: Longest token in characters.
            required: Whether a token that is not encrypted is refused.
        """
        self.required = required
        self._limit = limit
        self._by_kid = {key.kid: key for key in keys}
        self._decoys = {key.alg: key for key in self._by_kid.values()}

    def open(self, token: str, now: float) -> tuple[str, DecryptionKey]:
        """
        Return the text inside *token*, unverified, and the key that opened it.

        Args:
            token: The compact form.
            now: Unix seconds.

        Raises:
            AuthError: `malformed_credentials` for what is no such token whatever the key,
                `unsupported_algorithm`, and `invalid_credentials` for every other failure, with
                nothing that tells one from another (RFC 7516 section 11.5).
        """
        header, encrypted_key = _parse(token, self._limit)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._decoys:
            raise AuthError("unsupported_algorithm", detail="no such encryption key")
        if header.get("enc") != CONTENT_ENCRYPTION:
            raise AuthError("unsupported_algorithm", detail=f"enc is not {CONTENT_ENCRYPTION}")
        if len(encrypted_key) != _ENCRYPTED_KEY_BYTES.get(algorithm, len(encrypted_key)):
            _malformed("encrypted key of a wrong size")
        if algorithm in AGREEMENTS:
            _check_agreement(header)
        key = self._find(header, algorithm)
        known = key is not None and key.active(now)
        # An unknown key costs what a wrong one costs, as with signatures.
        chosen = key if key is not None else self._decoys[algorithm]
        fits = not chosen.curve or _is_on(header["epk"], chosen.curve)
        opened = chosen.decrypt(token) if fits else None
        if not known or opened is None:
            raise AuthError("invalid_credentials", cause="decryption", detail="does not decrypt")
        try:
            return opened.decode("ascii"), chosen
        except UnicodeDecodeError:
            _malformed("no signed token inside")

    def _find(self, header: Mapping[str, Any], algorithm: str) -> DecryptionKey | None:
        if "kid" not in header:
            if len(self._by_kid) > 1:
                raise AuthError("invalid_credentials", cause="no_kid", detail="no key id")
            return next(iter(self._by_kid.values()))
        key = self._by_kid.get(header["kid"])
        if key is not None and key.alg != algorithm:
            raise AuthError("unsupported_algorithm", detail="alg is not that of the key")
        return key


def _parse(token: str, limit: int) -> tuple[dict[str, Any], bytes]:
    """Return header and encrypted key of *token*; what depends on no key is checked here."""
    if len(token) > limit:
        _malformed("token longer than max_credential")
    match = _COMPACT.fullmatch(token)
    if match is None:
        _malformed("not five base64url parts")
    try:
        head, encrypted_key, vector, _, tag = (base64url.decode(part) for part in match.groups())
        header = strict_json.loads(head)
    except ValueError as error:
        _malformed(f"token: {error}")
    if not isinstance(header, dict):
        _malformed("header is not a JSON object")
    for name in ("crit", "b64", "zip"):
        if name in header:
            _malformed(f"header has {name}")
    if not all(isinstance(header.get(name, ""), str) for name in ("kid", "typ", "cty")):
        _malformed("kid, typ or cty is not a string")
    if header.get("cty", "JWT").lower().removeprefix("application/") != "jwt":
        _malformed("cty is not JWT")
    if header.get("enc") == CONTENT_ENCRYPTION and (
        len(vector) != IV_BYTES or len(tag) != TAG_BYTES
    ):
        _malformed("initialization vector or tag of a wrong size")
    return header, encrypted_key


def _check_agreement(header: Mapping[str, Any]) -> None:
    if not isinstance(header.get("epk"), dict):
        _malformed("epk is not a JSON object")
    for name in ("apu", "apv"):
        try:
            base64url.decode(header.get(name, ""))
        except (ValueError, AttributeError):
            _malformed(f"{name} is not base64url text")


def _is_on(epk: Mapping[str, Any], curve: str) -> bool:
    """Return whether *epk* names a point of *curve*, and nothing else; not whether it is on it."""
    kind, coordinates, size = _CURVES[curve]
    named = {"kty": kind, "crv": curve}
    try:
        return (
            epk.keys() == {*named, *coordinates}
            and all(epk[name] == value for name, value in named.items())
            and all(len(base64url.decode(epk[name])) == size for name in coordinates)
        )
    except (ValueError, AttributeError):
        return False


def _malformed(detail: str) -> NoReturn:
    raise AuthError("malformed_credentials", detail=detail) from None
