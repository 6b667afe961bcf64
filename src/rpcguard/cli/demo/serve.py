"""`rpcguard demo --serve`: commands to paste against the server that is left running."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rpcguard.cli.demo.case import rpc
from rpcguard.cli.demo.cases import withdrawal
from rpcguard.cli.demo.headers import signers
from rpcguard.cli.demo.kit import Kit
from rpcguard.cli.demo.wire import HOST

_WHOAMI, _BLOCK, _SLOT = rpc("rpcguard_whoami"), rpc("eth_blockNumber"), rpc("getSlot")


@dataclass(frozen=True, slots=True)
class Command:
    """One shell command and what it shows."""

    shows: str
    command: str


def commands(kit: Kit, directory: Path, port: int) -> list[Command]:
    """Return commands that work as pasted; tokens in them are good for an hour."""
    signer_of, url = signers(kit), f"http://{HOST}:{port}"

    def curl(target: str, body: bytes, *headers: str) -> str:
        words = ["curl", "-s", url + target, "-H", "Content-Type: application/json"]
        for header in headers:
            words += ["-H", header]
        return shlex.join([*words, "-d", body.decode()])

    def token(project: str, target: str, body: bytes) -> str:
        signed = signer_of[project].headers("POST", target, body, time.time())
        return curl(target, body, *(f"{name}: {value}" for name, value in signed.items()))

    def piped(project: str, target: str, body: bytes) -> str:
        program = [sys.executable, "-m", "rpcguard.cli.demo.headers", str(directory)]
        return (
            f"{shlex.join([*program, project, target, body.decode()])} | {curl(target, body, '@-')}"
        )

    sign_in = [sys.executable, "-m", "rpcguard.cli.demo.sign_in", str(directory), str(port)]
    return [
        Command("meganode: a token of one hour", token("bsc", "/v1/", _BLOCK)),
        Command("meganode: an API key in the URL", curl(f"/v1/{kit.bsc_api_key}", _WHOAMI)),
        Command("meganode: refused, no credential", curl("/v1/", _WHOAMI)),
        Command("meganode-rs256", token("bsc-rs256", "/v2", _WHOAMI)),
        Command("allthatnode: ES256 and kid", token("evm", "/evm", _BLOCK)),
        Command("allthatnode: refused in the provider's own form", curl("/evm", _BLOCK)),
        Command("bearer: EdDSA", token("bots", "/bots", _WHOAMI)),
        Command("nodius: signed afresh each time", piped("solana", "/solana", _SLOT)),
        Command(
            "nodius: a session, signed in just now",
            f"{shlex.join(sign_in)} | {curl('/solana', _WHOAMI, '@-')}",
        ),
        Command("nodius: an API key, given once", piped("solana", "/account/api-key", b"")),
        Command("nodius-2026", piped("solana-2026", "/solana-2026", _SLOT)),
        Command(
            "oppiwallet: bound to this order",
            piped("payouts", "/payouts/withdraw", withdrawal("0.001")),
        ),
        Command("engine-api: good for a minute", piped("engine", "/engine", _BLOCK)),
    ]
