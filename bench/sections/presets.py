"""`Verifier.verify` for every preset on every backend: a credential never seen, and one seen."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench.material import BACKENDS, BODY, HOUR, backend, request, verifier
from bench.run import Figures, Run
from bench.timing import Candidate, each, medians, series
from rpcguard import Request, Verifier
from rpcguard.cli import starter
from rpcguard.cli.demo.kit import Kit, load
from rpcguard.client.signers import BearerSigner, OrderSigner, Signer, WalletSigner
from rpcguard.client.signing_key import SigningKey

# These are proofs for one request, so no second look at one is accepted
ONCE = frozenset({"nodius", "nodius_2026", "oppiwallet"})
ORDER = {"currency": "USDT", "amount": "12.5"}

Make = Callable[[], Request]


def measure(run: Run) -> Figures:
    """Return the microseconds of each preset, cold and hot, on each backend."""
    folder = run.folder("presets")
    write_starter(folder)
    kit = load(folder)
    figures: Figures = {}
    for kind in BACKENDS:
        store = backend(kind, folder, run.redis)
        with verifier(folder / starter.REGISTRY, backend=store) as guard:
            figures |= _measure(run, guard, kind, _credentials(kit, guard))
    return figures


def _measure(run: Run, guard: Verifier, kind: str, makers: Mapping[str, Make]) -> Figures:
    items = run.count(50)
    candidates: dict[str, Candidate] = {}
    for preset, make in makers.items():
        cold = each(guard.verify, partial(_many, make, items), items)
        candidates[f"{preset}_cold_{kind}_us"] = cold
        if preset not in ONCE:
            hot = each(guard.verify, partial(list, _many(make, items)), items)
            candidates[f"{preset}_hot_{kind}_us"] = hot
    return medians(series(candidates, run.rounds))


def _many(make: Make, items: int) -> list[Request]:
    return [make() for _ in range(items)]


def write_starter(folder: Path) -> None:
    """Write what `rpcguard init` writes: `examples/registry.yaml` with fresh keys."""
    for name, text in starter.make().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)


def _credentials(kit: Kit, guard: Verifier) -> Mapping[str, Make]:
    """Return, by preset, what makes a request that nobody has seen."""
    numbers = itertools.count()

    def token(path: str, key: SigningKey, **claims: str) -> Make:
        def mint(now: float) -> str:
            times = {"iat": int(now), "exp": int(now) + HOUR}
            return key.mint({**times, "jti": f"{next(numbers):032x}", **claims})

        return _signed(BearerSigner(mint), path)

    session = BearerSigner(lambda _: str(guard.issue("solana", kit.wallet.pubkey)["token"]))
    order = OrderSigner(kit.auth_key, kit.enc_key, kit.digest_fields)
    return {
        "meganode": token("/v1/", kit.bsc),
        "meganode_rs256": token("/v2", kit.bsc_rs256, aud="nodereal.io"),
        "allthatnode_rs256": token("/evm", kit.evm_ci),
        "allthatnode_es256": token("/evm", kit.evm_laptop),
        "nodius": _signed(WalletSigner(kit.wallet), "/solana"),
        "nodius_session": _signed(session, "/solana"),
        "nodius_2026": _signed(WalletSigner(kit.listed_wallet, 2026), "/solana-2026"),
        "oppiwallet": _order(order, numbers),
        "bearer_eddsa": token("/bots", kit.bots, **kit.bots_claims),
        "engine_api": token("/engine", kit.engine),
    }


def _signed(signer: Signer, path: str, body: bytes = BODY) -> Make:
    def make() -> Request:
        return request(signer.headers("POST", path, body, time.time()), body, path)

    return make


def _order(signer: OrderSigner, numbers: itertools.count[int]) -> Make:
    """Return what makes orders of different numbers: two tokens for one order would be the same."""
    path = next(iter(signer.digest_fields))

    def make() -> Request:
        body = json.dumps({**ORDER, "orderId": f"o-{next(numbers)}"}).encode()
        return _signed(signer, path, body)()

    return make
