"""
`python -m rpcguard.cli.demo.headers DIRECTORY PROJECT TARGET BODY` prints the headers of one
request for ``curl -H @-``: the credentials that are too short-lived to be pasted.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from rpcguard.cli.demo.kit import Kit, load
from rpcguard.cli.output import complain, say
from rpcguard.client import tokens
from rpcguard.client.signers import BearerSigner, OrderSigner, Signer, WalletSigner


def signers(kit: Kit) -> dict[str, Signer]:
    """Return the signer of each project of the starter registry."""
    return {
        "bsc": BearerSigner(partial(tokens.meganode, kit.bsc)),
        "bsc-rs256": BearerSigner(partial(tokens.meganode_rs256, kit.bsc_rs256)),
        "evm": BearerSigner(partial(tokens.allthatnode, kit.evm_laptop)),
        "solana": WalletSigner(kit.wallet, 2),
        "solana-2026": WalletSigner(kit.listed_wallet, 2026),
        "payouts": OrderSigner(kit.auth_key, kit.enc_key, kit.digest_fields),
        "engine": BearerSigner(partial(tokens.engine_api, kit.engine)),
        "bots": BearerSigner(partial(tokens.bearer, kit.bots, claims=kit.bots_claims)),
    }


def main(arguments: list[str]) -> int:
    """Print the headers and return the exit code."""
    if len(arguments) != 4:
        complain("usage: DIRECTORY PROJECT TARGET BODY")
        return 2
    directory, project, target, body = arguments
    try:
        signer = signers(load(Path(directory)))[project]
        headers = signer.headers("POST", target, body.encode(), time.time())
    except KeyError:
        complain(f"no such project: {project}")
        return 1
    except (OSError, ValueError) as error:
        complain(f"cannot sign: {error}")
        return 1
    say(*(f"{name}: {value}" for name, value in headers.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
