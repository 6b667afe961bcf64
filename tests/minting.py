"""
Credentials made as the providers' documents say, by PyJWT, PyNaCl and hashlib directly.

Nothing here imports rpcguard, so that a mistake there cannot hide behind the same mistake here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import base58
import jwt
import nacl.signing
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_760_000_000  # the clock of every test, Unix seconds
SECRET = "a shared secret of more than 32 bytes"
OTHER_SECRET = "another secret, of more than 32 bytes"
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}
CALL = b'{"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}'

Headers = list[tuple[str, str]]


def private_key(alg: str, number: int = 0) -> Any:
    """Return private key *number* for *alg*, made once; *number* from 512 up is an RSA size."""
    return _made("RSA" if alg[:2] in ("RS", "PS") else alg, number)


@cache
def _made(kind: str, number: int) -> Any:
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind])
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, number if number >= 512 else 2048)


def public_pem(alg: str, number: int = 0) -> str:
    """Return the PEM of the public key that belongs to `private_key`."""
    public = private_key(alg, number).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def segment(data: bytes | str | Mapping[str, Any] | list[Any]) -> str:
    """Return *data* as one part of a token; what is no text is written as JSON."""
    if not isinstance(data, bytes | str):
        data = json.dumps(data, separators=(",", ":"))
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(
    claims: Mapping[str, Any] | bytes | str | list[Any],
    key: Any = SECRET,
    alg: str = "HS256",
    *,
    header: Mapping[str, Any] | bytes | str | None = None,
    **more: Any,
) -> str:
    """
    Return a token over *claims* signed by *alg*, whatever its header says.

    Args:
        claims: The payload; bytes and text go in as they are.
        key: What PyJWT takes for *alg*.
        alg: How it is really signed.
        header: The whole header; by default `{"alg": alg, "typ": "JWT", **more}`.
        more: Members added to the default header, such as `kid`.
    """
    head = {"alg": alg, "typ": "JWT", **more} if header is None else header
    signing_input = f"{segment(head)}.{segment(claims)}"
    algorithm = jwt.get_algorithm_by_name(alg)
    signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(key))
    return f"{signing_input}.{segment(signature)}"


def bearer(text: str, scheme: str = "Bearer") -> Headers:
    """Return the Authorization field for *text*."""
    return [("Authorization", f"{scheme} {text}")]


def hour(**more: Any) -> dict[str, Any]:
    """Return the claims of a token of one hour from `NOW`; None removes a claim."""
    claims = {"iat": NOW, "exp": NOW + 3600, **more}
    return {name: value for name, value in claims.items() if value is not None}


def flip_bit(text: str, position: int) -> str:
    """Return *text* with one bit of one ASCII character changed."""
    index, bit = divmod(position % (len(text) * 7), 7)
    return text[:index] + chr(ord(text[index]) ^ (1 << bit)) + text[index + 1 :]


class Wallet:
    """A Solana wallet that signs requests as Nodius's document says."""

    def __init__(self, number: int = 0) -> None:
        self._key = nacl.signing.SigningKey(hashlib.sha256(b"wallet %d" % number).digest())
        self.raw = bytes(self._key.verify_key)
        self.pubkey = base58.b58encode(self.raw).decode()

    def sign(self, text: str) -> str:
        """Return the base58 signature over *text*."""
        return base58.b58encode(self._key.sign(text.encode()).signature).decode()

    def fields(self, payload: str, timestamp: Any, nonce: str) -> Headers:
        """Return the four header fields for a signed *payload*."""
        return [
            ("X-Pubkey", self.pubkey),
            ("X-Signature", self.sign(payload)),
            ("X-Timestamp", str(timestamp)),
            ("X-Nonce", nonce),
        ]

    def v1(self, body: bytes = CALL, *, timestamp: Any = NOW, nonce: str = "0" * 16) -> Headers:
        """Sign as version 1: time, nonce and body."""
        return self.fields(f"{timestamp}:{nonce}:{sha256(body)}", timestamp, nonce)

    def v2(
        self,
        method: str,
        target: str,
        body: bytes = CALL,
        *,
        timestamp: Any = NOW,
        nonce: str = "0" * 16,
    ) -> Headers:
        """Sign as version 2: method and target too."""
        payload = f"{method}:{target}:{timestamp}:{nonce}:{sha256(body)}"
        return [
            *self.fields(payload, timestamp, nonce),
            ("X-Auth-Version", "2"),
            ("X-Http-Method", method),
            ("X-Http-Path", target),
        ]

    def v2026(
        self,
        method: str,
        path: str,
        body: bytes = CALL,
        *,
        timestamp: Any = NOW,
        nonce: str = "n-1",
    ) -> Headers:
        """Sign as the successor protocol: a domain tag, method and path, no version headers."""
        payload = f"solana-nodius:v2:{method}:{path}:{timestamp}:{nonce}:{sha256(body)}"
        return self.fields(payload, timestamp, nonce)


def sha256(data: bytes | str) -> str:
    """Return the lower-case hex SHA-256 of *data*."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def key_digest(api_key: str) -> str:
    """Return what a registry holds of *api_key*."""
    return f"sha256:{sha256(api_key)}"


def without(headers: Headers, *names: str) -> Headers:
    """Return *headers* without the fields *names*."""
    dropped = {name.lower() for name in names}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def replaced(headers: Headers, name: str, value: str) -> Headers:
    """Return *headers* with the field *name* set to *value*, or added."""
    return [*without(headers, name), (name, value)]


def order_token(
    url: str = "/payouts/withdraw",
    fields: str = "BTC#0.001#12345",
    *,
    key: str = "merchant-1",
    secret: str = SECRET,
    header: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Return OppiWallet's token for an order; *claims* replace or (None) remove its claims."""
    payload = {
        "url": url,
        "iat": NOW * 1000,
        "exp": NOW * 1000 + 60_000,
        "key": key,
        "signature": sha256(json.dumps(fields, ensure_ascii=False)),
        **claims,
    }
    payload = {name: value for name, value in payload.items() if value is not None}
    return token(payload, secret, header=header)
