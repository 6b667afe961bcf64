"""The caller's side of a starter registry: what `credentials.json` holds, ready to sign."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpcguard.cli.starter import CREDENTIALS
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Kit:
    """
    Every credential of the starter registry, and some that are nearly right.

    Attributes:
        bsc_hs512: The secret of `bsc`, for an algorithm that is not the project's.
        evm_nameless: The key `evm_ci` without its key id.
        evm_impostor: Another key under the key id of `evm_ci`.
        evm_ci_public: What the registry holds of `evm_ci`, PEM.
    """

    bsc: SigningKey
    bsc_hs512: SigningKey
    bsc_previous: SigningKey
    bsc_api_key: str = field(repr=False)
    bsc_rs256: SigningKey
    evm_ci: SigningKey
    evm_laptop: SigningKey
    evm_spare: SigningKey
    evm_nameless: SigningKey
    evm_impostor: SigningKey
    evm_ci_public: bytes = field(repr=False)
    wallet: Wallet
    listed_wallet: Wallet
    auth_key: str
    enc_key: SigningKey
    digest_fields: dict[str, list[str]]
    engine: SigningKey
    bots: SigningKey
    bots_claims: dict[str, str]


def load(directory: Path) -> Kit:
    """Return the credentials that `rpcguard init` made in *directory*."""
    document: dict[str, Any] = json.loads((directory / CREDENTIALS).read_bytes())
    projects = document["projects"]
    bsc, evm, payouts, bots = (projects[name] for name in ("bsc", "evm", "payouts", "bots"))

    def private(entry: dict[str, str], kid: str | None) -> SigningKey:
        return SigningKey.from_pem((directory / entry["private_key"]).read_bytes(), kid)

    def own(entry: dict[str, str]) -> SigningKey:
        return private(entry, entry["kid"])

    ci, bsc_rs256 = evm["keys"]["ci"], projects["bsc-rs256"]
    return Kit(
        bsc=SigningKey.from_secret(bsc["secret"]),
        bsc_hs512=SigningKey.from_secret(bsc["secret"], "HS512"),
        bsc_previous=SigningKey.from_secret(bsc["previous_secret"]),
        bsc_api_key=bsc["api_key"],
        bsc_rs256=own(bsc_rs256),
        evm_ci=own(ci),
        evm_laptop=own(evm["keys"]["laptop"]),
        evm_spare=own(evm["unregistered_keys"]["spare"]),
        evm_nameless=private(ci, None),
        evm_impostor=private(bsc_rs256, ci["kid"]),
        evm_ci_public=(directory / ci["private_key"]).with_suffix(".pub.pem").read_bytes(),
        wallet=Wallet.from_base58(projects["solana"]["secret_key"]),
        listed_wallet=Wallet.from_base58(projects["solana-2026"]["secret_key"]),
        auth_key=payouts["auth_key"],
        enc_key=SigningKey.from_secret(payouts["enc_key"]),
        digest_fields=payouts["digest_fields"],
        engine=SigningKey.from_secret(bytes.fromhex(projects["engine"]["secret_hex"])),
        bots=own(bots),
        bots_claims={"iss": bots["issuer"], "aud": bots["audience"], "sub": "bot-7"},
    )
