"""The bare limits: what nobody who checks a credential or asks a store can be faster than."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import sqlite3
import time
from contextlib import closing

import nacl.bindings
import redis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.signing import SigningKey

from bench.material import SECRET, Keys
from bench.run import Figures, Run
from bench.timing import Work, medians, repeat, series

LIFE_MS = 90_000  # a wallet's nonce: the window and the margin


def measure(run: Run) -> Figures:
    """Return the microseconds of one operation of each."""
    keys = Keys()
    message = keys.token("RS256").rpartition(".")[0].encode()  # the same input for all
    times = run.count(1000)
    with closing(redis.Redis.from_url(run.redis)) as client, closing(_table(run)) as table:
        names = (f"limit:{number}" for number in itertools.count())
        rows = itertools.count()
        candidates = {
            **{name: repeat(work, times) for name, work in _signatures(keys, message).items()},
            "limit_redis_set_us": repeat(
                lambda: client.set(next(names), b"1", nx=True, px=LIFE_MS), times
            ),
            "limit_sqlite_insert_us": repeat(
                lambda: table.execute(
                    "INSERT INTO nonce VALUES (?, ?)",
                    (next(rows).to_bytes(16, "big"), time.time()),
                ),
                times,
            ),
        }
        return medians(series(candidates, run.rounds))


def _signatures(keys: Keys, message: bytes) -> dict[str, Work]:
    rsa, p256 = keys.private["RS256"], keys.private["ES256"]
    by_rsa = rsa.sign(message, padding.PKCS1v15(), hashes.SHA256())
    by_p256 = p256.sign(message, ec.ECDSA(hashes.SHA256()))
    rsa, p256 = rsa.public_key(), p256.public_key()
    signer = SigningKey.generate()
    public = bytes(signer.verify_key)
    signed = signer.sign(message)
    openssl = Ed25519PublicKey.from_public_bytes(public)
    return {
        "limit_hmac_us": lambda: hmac.digest(SECRET.encode(), message, "sha256"),
        "limit_sha256_us": lambda: hashlib.sha256(message).digest(),
        "limit_rsa2048_us": lambda: rsa.verify(
            by_rsa, message, padding.PKCS1v15(), hashes.SHA256()
        ),
        "limit_p256_us": lambda: p256.verify(by_p256, message, ec.ECDSA(hashes.SHA256())),
        "limit_ed25519_us": lambda: nacl.bindings.crypto_sign_open(bytes(signed), public),
        "limit_ed25519_openssl_us": lambda: openssl.verify(signed.signature, message),
    }


def _table(run: Run) -> sqlite3.Connection:
    connection = sqlite3.connect(run.folder("limits") / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # as rpcguard writes nonces: no fsync for each
    connection.execute("CREATE TABLE nonce (name BLOB PRIMARY KEY, ends REAL) WITHOUT ROWID")
    return connection
