"""`rpcguard apikey`: an operator's hand on API keys."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from rpcguard.cli.opened import STDIN, RefusalError, carry_out, read_credential, refuse
from rpcguard.cli.output import complain, say, say_json
from rpcguard.keys import check_ed25519
from rpcguard.registry import schema
from rpcguard.schemes.signature_rules import DECODERS, KEY_BYTES
from rpcguard.verifier import Verifier

_FORM = re.compile(r"[A-Za-z0-9._~+/=-]+")  # of every key that a request can carry
_ONCE = "This is the only time that the key is shown. It ends the subject's previous one."


def create(
    file: Path, project: str, subject: str, expires_at: float | None, *, as_json: bool
) -> int:
    """
    Print a new API key of *subject*, in place of the previous one, and return the exit code.

    Args:
        file: The registry.
        project: Name of the project.
        subject: The wallet's public key.
        expires_at: Unix seconds at which the key ends, or None.
        as_json: Print JSON.
    """

    def work(verifier: Verifier, registry: schema.Registry) -> dict[str, Any]:
        model = registry.projects.get(project)
        if model is not None:
            _check_wallet(model, subject)
        key = verifier.new_api_key(project, subject, expires_at)
        return {"apiKey": key, "project": project, "subject": subject, "expiresAt": expires_at}

    def show(done: dict[str, Any]) -> None:
        say(done["apiKey"])
        complain(_ONCE)

    return carry_out(file, work, show, as_json=as_json)


def revoke(file: Path, project: str, subject: str, *, as_json: bool) -> int:
    """
    End the API key of *subject*; the exit code is 1 where there is none.

    Args:
        file: The registry.
        project: Name of the project.
        subject: The wallet's public key.
        as_json: Print JSON.
    """

    def work(verifier: Verifier, _: schema.Registry) -> dict[str, Any]:
        if not verifier.drop_api_key(project, subject):
            raise RefusalError(f"{subject} has no API key in {project}")
        return {"revoked": "api_key", "project": project, "subject": subject}

    def show(_: dict[str, Any]) -> None:
        say(f"Revoked in {project}: the API key of {subject}.")

    return carry_out(file, work, show, as_json=as_json)


def digest(*, as_json: bool) -> int:
    """Print what the registry holds of the API key on standard input; return the exit code."""
    try:
        key = read_credential(STDIN)
    except RefusalError as error:
        return refuse(str(error), as_json=as_json)
    if not _FORM.fullmatch(key):
        return refuse("an API key has only letters, digits and ._~+/=-", as_json=as_json)
    text = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    if as_json:
        say_json({"digest": text})
    else:
        say(text)
    return 0


def _check_wallet(model: schema.Project, subject: str) -> None:
    """
    Refuse a key that nobody could use.

    Raises:
        RefusalError: If *subject* is no key of a wallet, or not one that the project lists.
    """
    if isinstance(model.wallets, list) and subject not in {w.pubkey for w in model.wallets}:
        raise RefusalError("this wallet is not one of the project's `wallets`")
    if model.signature is not None:
        try:
            check_ed25519(DECODERS[model.signature.encoding](subject, KEY_BYTES))
        except ValueError as error:
            raise RefusalError(f"not the public key of a wallet: {error}") from None
