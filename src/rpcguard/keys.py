"""
Key material. A key has one algorithm, fixed when it is loaded; a token never chooses (RFC 8725
section 3.1). Whatever could only weaken verification is refused here, before any request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from rpcguard import strict_json
from rpcguard.algorithms import Check, ec_check, hmac_check, rsa_check
from rpcguard.policy import Policy

# RFC 7518 section 3.2: an HMAC key is at least as long as the hash's output. Bytes.
HMAC_BYTES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}
RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256"})
EC_CURVES: Mapping[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}
ALGORITHMS = frozenset({*HMAC_BYTES, *RSA_ALGORITHMS, *EC_CURVES, "EdDSA"})

RSA_BITS = range(2048, 8192 + 1)  # RFC 7518 section 3.3; above, one verification costs too much
RSA_EXPONENT_LIMIT = 1 << 32
PEM_BYTES = 16 * 1024

_open_signed = nacl.bindings.crypto_sign_open
_PUBLIC_KEY_TEXT = (b"-----BEGIN", b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")


@dataclass(frozen=True, slots=True)
class Key:
    """
    One key that verifies one algorithm.

    Attributes:
        kid: Its id in the registry.
        alg: Its one algorithm, a name of `ALGORITHMS`.
        verify: Returns whether a signature (second argument) is this key's over a text (first).
        name: What people call it, or None.
        not_before: Unix seconds from which it counts, or None.
        not_after: Unix seconds at which it ends, or None.
        allow: Policy of this key alone, or None.
    """

    kid: str
    alg: str
    verify: Check = field(repr=False, compare=False)
    name: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    allow: Policy | None = field(default=None, repr=False)

    @property
    def dated(self) -> bool:
        """Whether there are times at which the key does not count."""
        return self.not_before is not None or self.not_after is not None

    def active(self, now: float) -> bool:
        """Return whether the key counts at *now*, Unix seconds."""
        return (self.not_before is None or self.not_before <= now) and (
            self.not_after is None or now < self.not_after
        )


def secret_key(
    kid: str,
    alg: str,
    secret: bytes,
    *,
    allow_weak: bool = False,
    name: str | None = None,
    not_before: float | None = None,
    not_after: float | None = None,
    allow: Policy | None = None,
) -> Key:
    """
    Return an HMAC key.

    Raises:
        ValueError: If *secret* is too short for *alg* (unless *allow_weak*), is blank, or is the
            text of a public key, which everybody knows.
    """
    if alg not in HMAC_BYTES:
        raise ValueError(f"a secret needs one of {', '.join(HMAC_BYTES)}")
    if not secret.strip():
        raise ValueError("the secret is empty or blank")
    if _is_public_key(secret):
        raise ValueError("the secret is the text of a public key")
    if len(secret) < HMAC_BYTES[alg] and not allow_weak:
        raise ValueError(
            f"the secret has {len(secret)} bytes, {alg} needs {HMAC_BYTES[alg]}"
            " (RFC 7518 section 3.2); `allow_weak: true` on this entry accepts it"
        )
    return Key(kid, alg, hmac_check(alg, secret), name, not_before, not_after, allow)


def _is_public_key(secret: bytes) -> bool:
    text = secret.strip()
    if text.startswith(_PUBLIC_KEY_TEXT):
        return True
    if text.startswith(b"{"):
        try:
            return bool({"kty", "keys"} & set(strict_json.loads(text)))
        except ValueError:
            return b"kty" in text  # nearly one: whoever writes that means a key
    try:
        load_der_public_key(secret)
    except UnsupportedAlgorithm:
        return True  # one nevertheless
    except (ValueError, TypeError):
        return False
    return True


def public_key(
    kid: str,
    alg: str | None,
    pem: bytes,
    *,
    name: str | None = None,
    not_before: float | None = None,
    not_after: float | None = None,
    allow: Policy | None = None,
) -> Key:
    """
    Return the key of a PEM public key (SubjectPublicKeyInfo or PKCS #1).

    Args:
        kid: Its id in the registry.
        alg: Its algorithm; None takes the one that the key's type has (RS256, ES256, ES384, EdDSA).
        pem: The PEM text.
        name: See `Key`, as for the rest.
        not_before: Unix seconds.
        not_after: Unix seconds.
        allow: Policy of this key alone.

    Raises:
        ValueError: If it is not a public key, is weak or oversized, or does not fit *alg*.
    """
    if b"PRIVATE KEY" in pem:
        raise ValueError("this is a private key; register the public key alone")
    if len(pem) > PEM_BYTES:
        raise ValueError(f"longer than {PEM_BYTES} bytes")
    try:
        material = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a PEM public key, or its point is not on the curve") from None
    alg, check = _checked(material, alg)
    return Key(kid, alg, check, name, not_before, not_after, allow)


def _checked(material: object, alg: str | None) -> tuple[str, Check]:
    """Return the algorithm of a public key, and what checks its signatures."""
    if isinstance(material, ed25519.Ed25519PublicKey):
        return _fitting(alg, "EdDSA"), _ed25519_check(material.public_bytes_raw())
    if isinstance(material, rsa.RSAPublicKey):
        _refuse_weak_rsa(material)
        alg = _fitting(alg, "RS256", *RSA_ALGORITHMS)
        return alg, rsa_check(alg, material)
    if isinstance(material, ec.EllipticCurvePublicKey):
        for own, curve in EC_CURVES.items():
            if isinstance(material.curve, curve):
                return _fitting(alg, own), ec_check(own, material)
    raise ValueError("only RSA, P-256, P-384 and Ed25519 keys are supported")


def _fitting(alg: str | None, *own: str) -> str:
    """Return *alg* if it is one of a key's *own*; the first of them for None."""
    if alg not in (None, *own):
        raise ValueError(f"the key's type does not fit {alg}")
    return alg or own[0]


def _refuse_weak_rsa(material: rsa.RSAPublicKey) -> None:
    if material.key_size not in RSA_BITS:
        raise ValueError(
            f"an RSA key of {material.key_size} bits; {RSA_BITS[0]} to {RSA_BITS[-1]} are accepted"
        )
    numbers = material.public_numbers()
    if not (numbers.e % 2 and 3 <= numbers.e < RSA_EXPONENT_LIMIT):
        raise ValueError("the RSA exponent must be odd, above 1 and below 2^32")
    if _is_roca(numbers.n):
        raise ValueError("the RSA modulus has the ROCA weakness (CVE-2017-15361)")


# ROCA primes are k*M + (65537**a mod M): modulo each small prime such an n is a power of 65537.
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
_ROCA_POWERS = {
    prime: frozenset(pow(65537, exponent, prime) for exponent in range(prime))
    for prime in _ROCA_PRIMES
}


def _is_roca(modulus: int) -> bool:
    return all(modulus % prime in powers for prime, powers in _ROCA_POWERS.items())


def check_ed25519(public: bytes) -> None:
    """
    Refuse an Ed25519 public key (32 bytes) that could verify what nobody signed.

    Raises:
        ValueError: If it is of small order, not canonical or not on the curve.
    """
    if not nacl.bindings.crypto_core_ed25519_is_valid_point(public):
        raise ValueError("the Ed25519 key is of small order, not canonical or not on the curve")


def _ed25519_check(public: bytes) -> Check:
    check_ed25519(public)

    def check(signing_input: bytes, signature: bytes) -> bool:
        return verify_ed25519(public, signing_input, signature)

    return check


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """
    Return whether *signature* (64 bytes) is *public*'s (32 bytes) over *message*.

    libsodium's rules: S is reduced, A and R are canonical and not of small order. OpenSSL accepts
    such keys, and one of them fits every message.
    """
    if len(signature) != 64 or len(public) != 32:
        return False
    try:
        _open_signed(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def secret_bytes(text: str, encoding: str, size: int | None = None) -> bytes:
    """
    Return the bytes of a secret written as *text*.

    Args:
        text: The secret as configured.
        encoding: "utf8", "hex" (a leading 0x is dropped), "base64" or "base64url".
        size: Exact number of bytes demanded, or None.

    Raises:
        ValueError: If the text is not in that encoding, or has another size.
    """
    try:
        if encoding == "hex":
            secret = bytes.fromhex(text[2:] if text[:2] in ("0x", "0X") else text)
        elif encoding == "base64":
            secret = base64.b64decode(text, validate=True)
        elif encoding == "base64url":
            secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        else:
            secret = text.encode("utf-8")
    except (ValueError, binascii.Error):
        raise ValueError(f"the secret is not {encoding}") from None
    if size is not None and len(secret) != size:
        raise ValueError(f"the secret has {len(secret)} bytes, exactly {size} are required")
    return secret


class KeyRing:
    """Keys found by id, or all that are active. Immutable; cost does not grow with their number."""

    __slots__ = ("_by_kid", "_dated", "_decoys", "algorithms")

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_kid = {key.kid: key for key in keys}
        self._dated = any(key.dated for key in self._by_kid.values())
        self._decoys = {key.alg: key for key in self._by_kid.values()}
        self.algorithms = frozenset(self._decoys)

    def __len__(self) -> int:
        return len(self._by_kid)

    def get(self, kid: str, now: float) -> Key | None:
        """Return the key *kid* if it is active at *now*."""
        key = self._by_kid.get(kid)
        return key if key is None or not self._dated or key.active(now) else None

    def decoy(self, alg: str) -> Key | None:
        """Return some key of *alg*, to spend on an unknown id what a known one would cost."""
        return self._decoys.get(alg)

    def active(self, now: float) -> list[Key]:
        """Return every key that is active at *now*, in the order of the registry."""
        return [key for key in self._by_kid.values() if key.active(now)]
