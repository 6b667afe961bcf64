"""Keys, tokens and registries that all sections share; made anew in every process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rpcguard import Request, Verifier

SECRET = "a secret of the benchmarks, of 40 bytes!"
TARGET = "/v1/"
ALGORITHMS = ("HS256", "RS256", "ES256")


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
        """Return what verifies *algorithm*."""
        private = self.private[algorithm]
        return private if isinstance(private, str) else private.public_key()

    def pem(self, algorithm: str) -> str:
        """Return the public key of *algorithm* as PEM."""
        info = PublicFormat.SubjectPublicKeyInfo
        raw: bytes = self.public(algorithm).public_bytes(Encoding.PEM, info)
        return raw.decode("ascii")

    def token(self, algorithm: str, number: int = 0, **claims: Any) -> str:
        """Return a token of one hour; *number* tells it from others."""
        now = int(time.time())
        own = {"sub": "user-1", "iat": now, "exp": now + 3600, "n": number}
        headers = {"kid": algorithm}
        return jwt.encode(own | claims, self.private[algorithm], algorithm, headers)


def request(token: str) -> Request:
    """Return a call with *token*, as a server of this machine receives it."""
    headers = [
        ("host", "127.0.0.1:8000"),
        ("user-agent", "bench/1"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("content-length", "60"),
        ("authorization", f"Bearer {token}"),
    ]
    return Request("POST", TARGET, headers, None, "127.0.0.1", "http")


def write_registry(directory: Path, keys: Keys, backend: str = "memory://") -> Path:
    """Write a registry with a key of each algorithm; return its path."""
    lines = ["version: 1", f"backend: {backend}", "projects:", "  bots:", "    preset: bearer"]
    lines += ["    keys:", f'      - {{kid: HS256, alg: HS256, secret: "{SECRET}"}}']
    for algorithm in ("RS256", "ES256"):
        path = directory / f"{algorithm}.pem"
        path.write_text(keys.pem(algorithm), encoding="ascii")
        entry = f'{{kid: {algorithm}, alg: {algorithm}, public_key: "${{file:{path.name}}}"}}'
        lines.append(f"      - {entry}")
    file = directory / "registry.yaml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def verifier(file: Path, **options: Any) -> Verifier:
    """Return a verifier that nothing else in this process disturbs."""
    return Verifier.from_yaml(file, watch=False, **options)
