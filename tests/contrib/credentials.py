"""Credentials of the presets, made with PyJWT and PyNaCl alone, and a registry that knows them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import base58
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

from contrib.wire import Headers

MAX_BODY = 2 * 1024 * 1024

MEGANODE_SECRET = "a meganode secret of more than 32 bytes"
ENGINE_SECRET = bytes(range(32))
ENC_KEY = "an enc key of more than thirty-two bytes"
AUTH_KEY = "merchant-1"
API_KEY = "0123456789abcdef0123456789abcdef"
EVM_KID = "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c"
EVM_ID = "2a8428f5a79b09aadff75a745397cf6d2f59d51e"
WALLET = SigningKey(bytes(range(32)))
PUBKEY = base58.b58encode(bytes(WALLET.verify_key)).decode()

SECRETS = {"MEGANODE_SECRET": MEGANODE_SECRET, "ENC_KEY": ENC_KEY}

REGISTRY = """\
version: 1
backend: "memory://?restart_guard=off"
bounds: {max_body: 2MiB}
projects:
  bsc:
    preset: meganode
    match: {path: [/v1/, /ws/v1/, /mnt/v1, /mnt/ws/v1, /model/v1, /api/v1]}
    secrets: [{id: a, secret: "${env:MEGANODE_SECRET}"}]
    api_keys: [{id: ops, digest: "sha256:%(api_key)s"}]
  evm:
    preset: allthatnode
    id: %(evm_id)s
    match: {path: [/evm, /ws/evm]}
    audience_suffix: allthatnode.com
    keys: [{kid: %(kid)s, name: ci, public_key: "${file:evm.pem}"}]
  solana:
    preset: nodius
    match:
      path: [/solana, /ws/solana, /mnt/solana, /model/solana, /api/solana, /twice/solana]
    wallets: open
  payouts:
    preset: oppiwallet
    match: {path: [/payouts, /model/payouts]}
    keys: [{auth_key: merchant-1, enc_key: "${env:ENC_KEY}"}]
    digest_fields: {/payouts/withdraw: [currency, amount, orderId]}
  engine:
    preset: engine-api
    match: {path: [/engine, /ws/engine, /mnt/engine]}
    secrets: [{id: jwt, secret: "${file:jwt.hex}"}]
  secure:
    preset: meganode
    match: {path: /secure}
    secrets: [{id: a, secret: "${env:MEGANODE_SECRET}"}]
    require_https: true
  local:
    preset: meganode
    match: {path: /local}
    secrets: [{id: a, secret: "${env:MEGANODE_SECRET}"}]
    allow: {ips: [127.0.0.1/32]}
  browsers:
    preset: meganode
    match: {path: /browsers}
    secrets: [{id: a, secret: "${env:MEGANODE_SECRET}"}]
    allow: {user_agents: [KHTML]}
  limited:
    preset: meganode
    match: {path: [/limited, /ws/limited]}
    secrets: [{id: a, secret: "${env:MEGANODE_SECRET}"}]
    allow: {methods: [eth_call]}
"""


def write_registry(folder: Path) -> Path:
    """Write the registry and its keys; `SECRETS` must be in the environment when it is loaded."""
    values = {
        "api_key": hashlib.sha256(API_KEY.encode()).hexdigest(),
        "evm_id": EVM_ID,
        "kid": EVM_KID,
    }
    text = REGISTRY
    for name, value in values.items():
        text = text.replace(f"%({name})s", value)
    path = folder / "registry.yaml"
    path.write_text(text)
    for name, content in (("evm.pem", _public_pem()), ("jwt.hex", ENGINE_SECRET.hex().encode())):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return path


@cache
def _evm_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public_pem() -> bytes:
    return (
        _evm_key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _bearer(token: str) -> Headers:
    return [("Authorization", f"Bearer {token}")]


def meganode(*, expires_in: float = 600, secret: str = MEGANODE_SECRET, **claims: Any) -> Headers:
    """Return a JWT of the shared secret."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + int(expires_in), **claims}
    return _bearer(jwt.encode(claims, secret, "HS256"))


def allthatnode(**claims: Any) -> Headers:
    """Return a JWT of the registered public key."""
    return _bearer(jwt.encode(claims, _evm_key(), "ES256", headers={"kid": EVM_KID}))


def engine(**claims: Any) -> Headers:
    """Return an engine API token."""
    return _bearer(jwt.encode({"iat": int(time.time()), **claims}, ENGINE_SECRET, "HS256"))


def usual() -> Headers:
    """Return what a verifier knows when it comes again: an engine API token, and the host."""
    return [("Host", "node.example"), *engine()]


def nodius(body: bytes = b"", *, method: str | None = None, target: str | None = None) -> Headers:
    """Return the wallet headers: v2 where *method* and *target* are given, else v1."""
    timestamp, nonce = str(int(time.time())), os.urandom(8).hex()
    payload = f"{timestamp}:{nonce}:{hashlib.sha256(body).hexdigest()}"
    headers = [("X-Pubkey", PUBKEY), ("X-Timestamp", timestamp), ("X-Nonce", nonce)]
    if target is not None:
        method = method or "POST"
        payload = f"{method}:{target}:{payload}"
        headers.append(("X-Auth-Version", "2"))
        headers.append(("X-Http-Method", method))
        headers.append(("X-Http-Path", target))
    signature = WALLET.sign(payload.encode()).signature
    return [*headers, ("X-Signature", base58.b58encode(signature).decode())]


def oppiwallet(path: str, currency: str, amount: str, order: str) -> Headers:
    """Return the request-bound token and its key header."""
    now = int(time.time() * 1000)
    fields = json.dumps(f"{currency}#{amount}#{order}")
    claims = {
        "url": path,
        "iat": now,
        "exp": now + 30_000,
        "key": AUTH_KEY,
        "signature": hashlib.sha256(fields.encode()).hexdigest(),
    }
    return [*_bearer(jwt.encode(claims, ENC_KEY, "HS256")), ("x-auth-key", AUTH_KEY)]
