"""Keys, tokens and registries that the sections share; made anew in every process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rpcguard import Request, Verifier
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend

SECRET = "a secret of the benchmarks, of 40 bytes!"  # noqa: S105
TARGET = "/v1/"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
ALGORITHMS = ("HS256", "RS256", "ES256")
AUDIENCE = "rpc"
SUBJECT = "6d0c1ce1-4f0e-4f0a-8f6c-2b1f3c1d9a10"  # fastapi-users wants a UUID
HOUR = 3600
BACKENDS = ("memory", "sqlite", "redis")


@dataclass(frozen=True)
class Keys:
    """One key of each algorithm: what signs, and what verifies."""

    private: Mapping[str, Any] = field(
        default_factory=lambda: {
            "HS256": SECRET,
            "RS256": rsa.generate_private_key(65537, 2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
        }
    )

    def public(self, algorithm: str) -> Any:
        """Return what verifies *algorithm*, parsed."""
        private = self.private[algorithm]
        return private if isinstance(private, str) else private.public_key()

    def text(self, algorithm: str) -> str:
        """Return what verifies *algorithm* as text: the secret, or the public key in PEM."""
        public = self.public(algorithm)
        return public if isinstance(public, str) else pem(public)

    def token(self, algorithm: str, number: int = 0, kid: str | None = None) -> str:
        """Return a token of one hour; *number* tells it from others."""
        now = int(time.time())
        claims = {"sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + HOUR}
        # What authx and flask-jwt-extended ask for; the others do not look at it
        claims |= {"type": "access", "fresh": False, "jti": f"{number:032x}"}
        return jwt.encode(claims, self.private[algorithm], algorithm, {"kid": kid or algorithm})


def pem(public: Any) -> str:
    """Return a public key as PEM."""
    raw: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return raw.decode("ascii")


def headers(more: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers of a call as small clients send them, and *more*."""
    return [
        ("host", "127.0.0.1:8000"),
        ("user-agent", "bench/1"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("content-length", str(len(BODY))),
        *((name.lower(), value) for name, value in more.items()),
    ]


def request(
    more: Mapping[str, str], body: bytes | None = None, target: str = TARGET
) -> Request:  # fmt: skip
    """Return a call as an adapter passes it on; the body is read only where it is needed."""
    return Request("POST", target, headers(more), body, "127.0.0.1", "http")


def bearer(token: str) -> Request:
    """Return a call with *token*."""
    return request({"Authorization": f"Bearer {token}"})


def write_registry(directory: Path, keys: Keys, algorithms: Sequence[str] = ALGORITHMS) -> Path:
    """Write a registry with a key of each algorithm and `memory://`; return its path."""
    lines = ["version: 1", "backend: memory://", "projects:", "  bots:", "    preset: bearer"]
    lines += [f"    audience: {AUDIENCE}", "    keys:"]
    for algorithm in algorithms:
        path = directory / f"{algorithm}.key"
        path.write_text(keys.text(algorithm), encoding="ascii")
        path.chmod(0o600)
        word = "secret" if algorithm.startswith("HS") else "public_key"
        entry = f'{{kid: {algorithm}, alg: {algorithm}, {word}: "${{file:{path.name}}}"}}'
        lines.append(f"      - {entry}")
    file = directory / "registry.yaml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def backend(kind: str, directory: Path, redis: str) -> Backend:
    """Open a backend of *kind*, one of `BACKENDS`, that nobody else uses."""
    # A long patience: a machine that is busy for a second makes figures worse, not wrong
    urls = {
        "memory": "memory://",
        "sqlite": "sqlite:///settle.db?timeout=10s",
        "redis": f"{redis}?timeout=10s",
    }
    # Opened "a minute ago", so that `memory://` has no reason to refuse timestamps of this second
    return open_backend(urls[kind], now=time.time() - 60, base=directory)


def verifier(file: Path, **options: Any) -> Verifier:
    """Return a verifier that nothing else in this process disturbs."""
    return Verifier.from_yaml(file, watch=False, **options)
