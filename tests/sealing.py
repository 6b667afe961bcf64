"""
Encrypted tokens made as RFC 7516 and RFC 7518 say, by cryptography's primitives directly.

Nothing here imports rpcguard or joserfc, so that a mistake there cannot hide behind the same
mistake here. Every part can be replaced, to make what no library would.
"""

from __future__ import annotations

import base64
import functools
import os
import struct
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from minting import segment

DIR_SECRET = "a secret of exactly 32 bytes    "
_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
# Every way to encrypt that rpcguard has: algorithm and kind of key.
WAYS = [
    ("dir", "secret"),
    ("RSA-OAEP-256", "RSA"),
    *[(alg, curve) for alg in ("ECDH-ES", "ECDH-ES+A256KW") for curve in ("P-256", "P-384", "X25519")],
]  # fmt: skip


def opening_key(kind: str, number: int = 0) -> Any:
    """Return private key *number* of *kind*, made once; of RSA, *number* from 512 up is a size."""
    return _made(kind, number)


@functools.cache
def _made(kind: str, number: int) -> Any:
    if kind == "RSA":
        return rsa.generate_private_key(65537, number if number >= 512 else 2048)
    if kind == "X25519":
        return x25519.X25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


def private_pem(key: Any) -> str:
    """Return the PEM of a private key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def seal(
    inner: str | bytes,
    alg: str = "dir",
    kind: str = "secret",
    key: Any = None,
    *,
    header: Mapping[str, Any] | None = None,
    cek: bytes | None = None,
    iv: bytes | None = None,
    parts: Mapping[int, bytes | str] | None = None,
    **more: Any,
) -> str:
    """
    Return *inner* encrypted.

    Args:
        inner: What goes in.
        alg: How the content key travels.
        kind: "secret" or what `opening_key` knows.
        key: The recipient's secret or private key; by default `DIR_SECRET` or `opening_key(kind)`.
        header: Members of the header, over the default ones, once the key is agreed; None removes
            one, and a function makes the new value from the old.
        cek: The content key, where the algorithm leaves a choice.
        iv: The initialization vector.
        parts: What to put in the place of parts; bytes are encoded.
        more: Members added to the header, such as `kid`.
    """
    if key is None:
        key = DIR_SECRET.encode() if kind == "secret" else opening_key(kind)
    head: dict[str, Any] = {"alg": alg, "enc": "A256GCM", "cty": "JWT", **more}
    content_key, wrapped = _content_key(alg, kind, key, head, cek or os.urandom(32))
    for name, value in (header or {}).items():
        head[name] = value(head[name]) if callable(value) else value
    head = {name: value for name, value in head.items() if value is not None}
    vector = os.urandom(12) if iv is None else iv
    text = inner.encode() if isinstance(inner, str) else inner
    sealed = AESGCM(content_key).encrypt(vector, text, segment(head).encode())
    pieces = [segment(head), wrapped, vector, sealed[:-16], sealed[-16:]]
    for index, piece in (parts or {}).items():
        pieces[index] = piece
    return ".".join(piece if isinstance(piece, str) else segment(piece) for piece in pieces)


def _content_key(
    alg: str, kind: str, key: Any, head: dict[str, Any], cek: bytes
) -> tuple[bytes, bytes]:
    if alg == "dir":
        return key, b""
    if alg.startswith("RSA"):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return cek, key.public_key().encrypt(cek, oaep)
    shared, head["epk"] = _agree(kind, key.public_key())
    direct = alg == "ECDH-ES"
    # NIST SP 800-56A: algorithm, PartyUInfo, PartyVInfo, SuppPubInfo (RFC 7518 section 4.6.2)
    words = [
        (head["enc"] if direct else alg).encode(),
        *(_decoded(head.get(name, "")) for name in ("apu", "apv")),
    ]
    info = b"".join(struct.pack(">I", len(word)) + word for word in words) + struct.pack(">I", 256)
    derived = ConcatKDFHash(hashes.SHA256(), 32, info).derive(shared)
    return (derived, b"") if direct else (cek, aes_key_wrap(derived, cek))


def _agree(kind: str, public: Any) -> tuple[bytes, dict[str, str]]:
    if kind == "X25519":
        own = x25519.X25519PrivateKey.generate()
        raw = own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return own.exchange(public), {"kty": "OKP", "crv": kind, "x": segment(raw)}
    ephemeral = ec.generate_private_key(_CURVES[kind])
    return ephemeral.exchange(ec.ECDH(), public), point(ephemeral, kind)


def point(private: Any, kind: str) -> dict[str, str]:
    """Return the JWK of the public half of *private*."""
    numbers = private.public_key().public_numbers()
    size = (_CURVES[kind].key_size + 7) // 8
    x, y = (segment(value.to_bytes(size, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": kind, "x": x, "y": y}


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
