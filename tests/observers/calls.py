"""Requests of every kind to an application of `observers.apps`, and what they are counted as."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from contrib.credentials import API_KEY, MEGANODE_SECRET, PUBKEY, meganode, nodius
from contrib.wire import request, websocket

CALL = '{"jsonrpc":"2.0","id":7,"method":"eth_call"}'
REGISTRY = """\
version: 1
backend: "%(backend)s"
projects:
  bsc:
    preset: meganode
    match: {path: [/v1, /ws/v1]}
    secrets: [{id: a, secret: "%(secret)s"}]
    api_keys: [{id: ops, digest: "sha256:%(digest)s"}]
  solana:
    preset: nodius
    match: {path: /solana}
    wallets: open
    session: {secret: "%(secret)s"}
  limited:
    preset: meganode
    match: {path: [/limited, /ws/limited]}
    secrets: [{id: a, secret: "%(secret)s"}]
    limits: {per_key: 2/day}
"""
REQUESTS = {  # by project, kind, scheme, outcome, reason
    ("bsc", "request", "jwt", "accepted", ""): 2,
    ("bsc", "request", "api_key", "accepted", ""): 1,
    ("bsc", "request", "jwt", "refused", "invalid_credentials"): 1,
    ("bsc", "request", "none", "refused", "missing_credentials"): 1,
    ("bsc", "handshake", "jwt", "refused", "expired"): 1,
    ("solana", "request", "signature", "accepted", ""): 1,
    ("solana", "request", "signature", "refused", "replayed"): 1,
    ("solana", "/auth/challenge", "none", "accepted", ""): 1,
    ("solana", "/auth/verify", "none", "refused", "invalid_body"): 1,
    ("limited", "handshake", "jwt", "accepted", ""): 1,
    ("limited", "message", "jwt", "accepted", ""): 1,
    ("limited", "message", "jwt", "refused", "rate_limited"): 1,
    ("", "request", "none", "refused", "no_project"): 1,
}


def write_registry(folder: Path, backend: str = "memory://?restart_guard=off") -> Path:
    """Write the registry that `REQUESTS` are judged by."""
    digest = hashlib.sha256(API_KEY.encode()).hexdigest()
    path = folder / "registry.yaml"
    values = {"backend": backend, "secret": MEGANODE_SECRET, "digest": digest}
    path.write_text(REGISTRY % values)
    return path


def make_all(port: int) -> None:
    """Send what `REQUESTS` counts."""
    body, token = CALL.encode(), meganode(sub="alice")
    statuses = [
        request(port, "POST", target, headers, content).status
        for target, headers, content in (
            ("/v1/", token, body),
            ("/v1/", token, body),
            (f"/v1/{API_KEY}", [], body),
            ("/v1/", meganode(secret="x" * 40), body),
            ("/v1/", [], body),
            ("/elsewhere", token, body),
            ("/auth/challenge", [], json.dumps({"pubkey": PUBKEY}).encode()),
            ("/auth/verify", [], b"{}"),
        )
    ]
    assert statuses == [200, 200, 200, 401, 401, 403, 200, 400]
    signed = nodius(body)
    spent = [request(port, "POST", "/solana", signed, body).status for _ in range(2)]
    assert spent == [200, 401]
    with websocket(port, "/ws/v1/", meganode(expires_in=-5)) as (_, answer):
        assert answer.status == 401
    with websocket(port, "/ws/limited", token) as (socket, answer):
        assert answer.status == 101
        assert socket.call(CALL) == {}
        assert socket.call(CALL)["error"]["data"]["reason"] == "rate_limited"
