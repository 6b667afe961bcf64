"""
A Solana key pair and the headers it signs.

Source: Nodius, "Authentication", section "Per-Request Wallet Signature", and its successor, whose
payload has a fixed prefix.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import InitVar, dataclass, field
from typing import Self, final

import base58
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.signing import SigningKey as Ed25519Key

from rpcguard import keys, strict_json
from rpcguard.base58 import decode
from rpcguard.client import private_key
from rpcguard.client.private_key import Jwk

SEED_BYTES = 32
SECRET_KEY_BYTES = 64  # seed, then public key: the form of Solana's tools
SEED_DIGITS = 44  # base58 digits that 32 bytes have at most; 64 bytes have 64 at least
CHALLENGE = re.compile(r"[a-z][a-z0-9-]{0,31}:challenge:[A-Za-z0-9_-]{16,64}:[1-9][0-9]{0,11}")


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Wallet:
    """
    An Ed25519 key pair. Its repr shows the public key alone.

    Attributes:
        pubkey: The public key in base58, the wallet's address.
    """

    seed: InitVar[bytes]
    pubkey: str = field(init=False)
    _key: Ed25519Key = field(init=False)

    def __post_init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes")
        key = Ed25519Key(seed)
        pubkey = base58.b58encode(bytes(key.verify_key)).decode("ascii")
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "pubkey", pubkey)

    @classmethod
    def generate(cls) -> Self:
        """Return a new random wallet."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_secret_key(cls, secret_key: bytes) -> Self:
        """
        Make a wallet from the 64 bytes of `keypair.secretKey`.

        Raises:
            ValueError: If it is not 64 bytes, or its halves do not belong together (signing with
                another public key than one's own gives the seed away).
        """
        if len(secret_key) != SECRET_KEY_BYTES:
            raise ValueError(f"a secret key has {SECRET_KEY_BYTES} bytes")
        wallet = cls(secret_key[:SEED_BYTES])
        if wallet.secret_key != secret_key:
            raise ValueError("the public half does not belong to the secret half")
        return wallet

    @classmethod
    def from_base58(cls, text: str) -> Self:
        """
        Make a wallet from a base58 secret key, as wallets export it: 64 bytes, or the seed's 32.

        A public key has 32 bytes too. Given one, this makes a wallet that anybody could make:
        compare `pubkey` with the address that you expect.

        Raises:
            ValueError: If it spells neither. The message never quotes it.
        """
        size = SEED_BYTES if len(text) <= SEED_DIGITS else SECRET_KEY_BYTES
        return cls._from_bytes(decode(text, size))

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """
        Make a wallet from a secret key in hex, 64 bytes or the seed's 32; see `from_base58`.

        Raises:
            ValueError: If it spells neither. The message never quotes it.
        """
        return cls._from_bytes(keys.secret_bytes(text.strip(), "hex"))

    @classmethod
    def from_pem(cls, pem: bytes | str) -> Self:
        """
        Make a wallet from an unencrypted Ed25519 private key in PEM.

        Raises:
            ValueError: If it is no such key. The message never quotes it.
        """
        return cls._from_private(private_key.from_pem(pem))

    @classmethod
    def from_jwk(cls, jwk: Jwk) -> Self:
        """
        Make a wallet from a private JWK on Ed25519 (RFC 8037).

        Raises:
            ValueError: If it is no such key. The message never quotes it.
        """
        return cls._from_private(private_key.from_jwk(private_key.jwk_members(jwk)))

    @classmethod
    def _from_bytes(cls, raw: bytes) -> Self:
        return cls(raw) if len(raw) == SEED_BYTES else cls.from_secret_key(raw)

    @classmethod
    def _from_private(cls, key: object) -> Self:
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("a wallet's key is on Ed25519")  # noqa: TRY004 - a value of a file
        return cls(key.private_bytes_raw())

    @classmethod
    def from_id_json(cls, text: str | bytes) -> Self:
        """
        Make a wallet from the text of Solana's `id.json`, a list of 64 numbers.

        Raises:
            ValueError: If it is no such list. The message never quotes it.
        """
        try:
            numbers = strict_json.loads(text)
            raw = bytes(numbers) if isinstance(numbers, list) else b""
        except (ValueError, TypeError):
            raise ValueError("not the text of an id.json") from None
        return cls.from_secret_key(raw)

    @property
    def secret_key(self) -> bytes:
        """The 64 bytes of `keypair.secretKey`: secret."""
        return bytes(self._key) + bytes(self._key.verify_key)

    @property
    def secret_key_base58(self) -> str:
        """`secret_key` in base58, as wallets import it: secret."""
        return base58.b58encode(self.secret_key).decode("ascii")

    def sign(self, message: bytes) -> str:
        """Return the detached Ed25519 signature of *message* in base58."""
        return base58.b58encode(self._key.sign(message).signature).decode("ascii")

    def sign_challenge(self, challenge: str) -> str:
        """
        Return the signature in base58 that `POST /auth/verify` asks for.

        Only a challenge is signed: a server that could have any text signed would get signatures
        of requests and transactions.

        Raises:
            ValueError: If it is no ``<service>:challenge:<random>:<unix seconds>``.
        """
        if not CHALLENGE.fullmatch(challenge):
            raise ValueError("not a sign-in challenge")
        return self.sign(challenge.encode("ascii"))

    def __repr__(self) -> str:
        return f"Wallet({self.pubkey})"


def fresh_nonce() -> str:
    """Return 16 random hex characters."""
    return secrets.token_hex(8)


def nodius_v1(
    wallet: Wallet, body: bytes, now: float, *, nonce: str | None = None
) -> dict[str, str]:
    """
    Return the headers of payload v1, ``{timestamp}:{nonce}:{sha256_of_body}``.

    It binds neither method nor path: prefer `nodius_v2` where the server takes it.
    """
    return _signed(wallet, "", body, now, nonce)


def nodius_v2(
    wallet: Wallet, method: str, target: str, body: bytes, now: float, *, nonce: str | None = None
) -> dict[str, str]:
    """
    Return the headers of payload v2, ``{method}:{path}:{timestamp}:{nonce}:{sha256_of_body}``.

    *target* is the request target as it goes over the wire: path and query, percent-encoded.
    """
    return {
        **_signed(wallet, f"{method}:{target}:", body, now, nonce),
        "X-Auth-Version": "2",
        "X-Http-Method": method,
        "X-Http-Path": target,
    }


def nodius_2026(
    wallet: Wallet, method: str, target: str, body: bytes, now: float, *, nonce: str | None = None
) -> dict[str, str]:
    """
    Return the headers of preset `nodius-2026`; the query of *target* is not signed.

    Payload: ``solana-nodius:v2:{method}:{path}:{timestamp}:{nonce}:{sha256_of_body}``.
    """
    path = target.partition("?")[0]
    return _signed(wallet, f"solana-nodius:v2:{method}:{path}:", body, now, nonce)


def _signed(
    wallet: Wallet, head: str, body: bytes, now: float, nonce: str | None
) -> dict[str, str]:
    timestamp = int(now)
    nonce = fresh_nonce() if nonce is None else nonce
    payload = f"{head}{timestamp}:{nonce}:{hashlib.sha256(body).hexdigest()}"
    return {
        "X-Pubkey": wallet.pubkey,
        "X-Signature": wallet.sign(payload.encode()),
        "X-Timestamp": str(timestamp),
        "X-Nonce": nonce,
    }
