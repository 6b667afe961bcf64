"""`Verifier.verify` of a wallet signature with a fresh nonce, against bare PyNaCl verification."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import base58
import nacl.bindings

from bench.material import BACKENDS, BODY, TARGET, backend, request, verifier
from bench.run import Figures, Run
from bench.timing import Candidate, each, medians, series
from rpcguard import Request
from rpcguard.client.wallet import Wallet, nodius_v2

WALLETS = 8  # so that no budget of one subject fills, and no look-up is of one entry alone

_REGISTRY = """\
version: 1
backend: memory://
projects:
  solana: {preset: nodius, wallets: open}
"""


def measure(run: Run) -> Figures:
    """Return, by backend, microseconds and the ratio to the bare verification."""
    folder = run.folder("wallets")
    items = run.count(100)
    feed = Feed(items)
    guards = {kind: verifier(registry(folder), backend=backend(kind, folder, run.redis))
              for kind in BACKENDS}  # fmt: skip
    candidates: dict[str, Candidate] = {
        "nacl": each(lambda pair: nacl.bindings.crypto_sign_open(*pair), feed.bare, items),
        **{kind: each(guard.verify, feed.fresh, items) for kind, guard in guards.items()},
    }
    try:
        taken = medians(series(candidates, run.rounds))
    finally:
        for guard in guards.values():
            guard.close()
    figures = {"wallet_nacl_us": taken["nacl"]}
    for kind in BACKENDS:
        figures[f"wallet_{kind}_us"] = taken[kind]
        figures[f"wallet_{kind}_vs_nacl"] = taken[kind] / taken["nacl"]
    return figures


def registry(folder: Path) -> Path:
    """Write a registry that any wallet may use; return its path."""
    file = folder / "registry.yaml"
    file.write_text(_REGISTRY, encoding="utf-8")
    return file


class Feed:
    """Requests signed just now, each with a nonce of its own."""

    def __init__(self, items: int) -> None:
        self._wallets = [Wallet.generate() for _ in range(WALLETS)]
        self._items = items

    def fresh(self) -> Sequence[Request]:
        """Return signed requests that no backend has seen."""
        return [request(headers, BODY) for headers in self._signed()]

    def bare(self) -> Sequence[tuple[bytes, bytes]]:
        """Return signature and payload as one text, and the key, of as many such requests."""
        return [_bare(headers) for headers in self._signed()]

    def _signed(self) -> list[dict[str, str]]:
        now = time.time()
        return [
            nodius_v2(self._wallets[number % WALLETS], "POST", TARGET, BODY, now)
            for number in range(self._items)
        ]


def _bare(headers: dict[str, str]) -> tuple[bytes, bytes]:
    digest = hashlib.sha256(BODY).hexdigest()
    payload = f"POST:{TARGET}:{headers['X-Timestamp']}:{headers['X-Nonce']}:{digest}"
    signature = base58.b58decode(headers["X-Signature"])
    return signature + payload.encode(), base58.b58decode(headers["X-Pubkey"])
