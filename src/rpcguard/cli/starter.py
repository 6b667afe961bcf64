"""
What `rpcguard init` makes: the commented registry, a fresh key for every entry in it, and the file
that tells a caller how to use them. Text only; `files` writes it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from importlib import resources
from typing import Any

from rpcguard.cli.keys.material import Pair, pair
from rpcguard.client.wallet import Wallet

REGISTRY = "registry.yaml"
CREDENTIALS = "credentials.json"

_ABOUT = (
    "What a caller needs to try each project of registry.yaml. Secret: for trying out, not for "
    "production. Paths of files are relative to this one; private_key and id_json name files."
)


def registry_text() -> str:
    """Return the commented registry; `examples/registry.yaml` is a copy of it."""
    return resources.files("rpcguard.cli").joinpath(REGISTRY).read_text(encoding="utf-8")


def make() -> dict[str, str]:
    """Return the text of every file, by its path below the directory; keys are fresh each time."""
    files = {REGISTRY: registry_text()}
    projects = {
        "bsc": _bsc(files),
        "bsc-rs256": _bsc_rs256(files),
        "evm": _evm(files),
        "solana": _solana(files),
        "solana-2026": _solana_2026(files),
        "payouts": _payouts(files),
        "engine": _engine(files),
        "bots": _bots(files),
    }
    document = {"about": _ABOUT, "projects": projects}
    files[CREDENTIALS] = json.dumps(document, indent=2) + "\n"
    return files


def _bsc(files: dict[str, str]) -> dict[str, Any]:
    api_key = secrets.token_hex(16)
    files["keys/bsc-ops.digest"] = f"sha256:{hashlib.sha256(api_key.encode()).hexdigest()}\n"
    return {
        "preset": "meganode",
        "path": "/v1/",
        "websocket": "/ws/v1/",
        "algorithm": "HS256",
        "secret": _secret(files, "bsc.secret"),
        "previous_secret": _secret(files, "bsc-previous.secret"),
        "api_key": api_key,
    }


def _bsc_rs256(files: dict[str, str]) -> dict[str, Any]:
    return {
        "preset": "meganode-rs256",
        "path": "/v2",
        "algorithm": "RS256",
        "kid": "bsc-2026",
        "private_key": _pair(files, "bsc-rs256", pair("RS256")),
        "audience": "nodereal.io",
    }


def _evm(files: dict[str, str]) -> dict[str, Any]:
    def key(name: str, algorithm: str, kid: str) -> dict[str, str]:
        path = _pair(files, f"evm-{name}", pair(algorithm))
        return {"kid": kid, "algorithm": algorithm, "private_key": path}

    return {
        "preset": "allthatnode",
        "path": "/evm",
        "websocket": "/ws/evm",
        "audience": "evm.allthatnode.com",
        "keys": {
            "ci": key("ci", "RS256", "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c"),
            "laptop": key("laptop", "ES256", "7c1e5a90-15aa-11ee-a1d8-0a58538e0d0c"),
        },
        "unregistered_keys": {
            "spare": key("spare", "ES256", "9be0d3f2-15aa-11ee-a1d8-0a58538e0d0c"),
        },
    }


def _solana(files: dict[str, str]) -> dict[str, Any]:
    _secret(files, "session.secret")  # the server's alone: callers never see it
    return {
        "preset": "nodius",
        "path": "/solana",
        "websocket": "/ws/solana",
        **_wallet(files, "solana", Wallet.generate()),
    }


def _solana_2026(files: dict[str, str]) -> dict[str, Any]:
    wallet = Wallet.generate()
    files["keys/solana-2026.pubkey"] = wallet.pubkey + "\n"
    return {
        "preset": "nodius-2026",
        "path": "/solana-2026",
        "websocket": "/ws/solana-2026",
        **_wallet(files, "solana-2026", wallet),
    }


def _payouts(files: dict[str, str]) -> dict[str, Any]:
    return {
        "preset": "oppiwallet",
        "path": "/payouts/withdraw",
        "algorithm": "HS256",
        "auth_key": "merchant-1",
        "enc_key": _secret(files, "payouts.enc-key"),
        "digest_fields": {"/payouts/withdraw": ["currency", "amount", "orderId"]},
    }


def _engine(files: dict[str, str]) -> dict[str, Any]:
    secret = secrets.token_hex(32)
    files["keys/engine.hex"] = f"0x{secret}\n"
    return {
        "preset": "engine-api",
        "path": "/engine",
        "websocket": "/ws/engine",
        "algorithm": "HS256",
        "secret_hex": secret,
    }


def _bots(files: dict[str, str]) -> dict[str, Any]:
    return {
        "preset": "bearer",
        "path": "/bots",
        "websocket": "/ws/bots",
        "algorithm": "EdDSA",
        "kid": "bots-2026",
        "private_key": _pair(files, "bots", pair("EdDSA")),
        "issuer": "https://id.example.com",
        "audience": "bots",
    }


def _secret(files: dict[str, str], name: str) -> str:
    secret = secrets.token_urlsafe(48)
    files[f"keys/{name}"] = secret + "\n"
    return secret


def _pair(files: dict[str, str], name: str, made: Pair) -> str:
    path = f"keys/{name}.pem"
    files[path] = made.private
    files[f"keys/{name}.pub.pem"] = made.public
    return path


def _wallet(files: dict[str, str], name: str, wallet: Wallet) -> dict[str, str]:
    path = f"keys/{name}.json"
    files[path] = json.dumps(list(wallet.secret_key)) + "\n"
    return {"pubkey": wallet.pubkey, "secret_key": wallet.secret_key_base58, "id_json": path}
