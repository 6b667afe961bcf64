"""Who calls: from a preset, a secret and a few options to what proves a request."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpcguard import keys
from rpcguard.cli.opened import LONGEST, STDIN, RefusalError
from rpcguard.client import presets
from rpcguard.client.presets import Credentials
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet

API_KEY = "api-key"
ORDER = ("currency", "amount", "orderId")  # members that the provider's document binds
# How each preset can be called; the first is what it means if nothing else is said.
WAYS: Mapping[str, tuple[str, ...]] = {
    "meganode": ("jwt", API_KEY),
    "meganode-rs256": ("jwt",),
    "allthatnode": ("jwt",),
    "nodius": ("signature-v2", "signature", "session", API_KEY),
    "nodius-2026": ("signature", "session", API_KEY),
    "oppiwallet": ("jwt",),
    "bearer": ("jwt", API_KEY),
    "engine-api": ("jwt",),
}
_KEY_HEADERS = {"nodius": "Authorization", "nodius-2026": "X-Api-Key", "bearer": "X-Api-Key"}


@dataclass(frozen=True, slots=True)
class Caller:
    """
    What the command line says of the caller.

    Attributes:
        preset: Name of a shipped preset.
        auth: One of its `WAYS`; None for the first.
        secret_file: File with the secret, key, wallet or API key; "-" for standard input.
        secret_env: Environment variable with the same; one of the two is given.
        encoding: How a secret is written: "utf8", "hex", "base64" or "base64url"; None for the
            preset's own.
        kid: Key id for the token, or None.
        alg: Algorithm, or None for that of the key.
        auth_key: For `oppiwallet`: the Auth Key.
        bind: For `oppiwallet`: members of the body that the token binds.
        claims: Further claims.
        audience: Value of `aud`, or None.
        lifetime: Seconds that a token lives, or None for an hour.
        prefix: Path in front of the routes that sign in.
    """

    preset: str
    auth: str | None = None
    secret_file: str | None = None
    secret_env: str | None = None
    encoding: str | None = None
    kid: str | None = None
    alg: str | None = None
    auth_key: str | None = None
    bind: tuple[str, ...] = ORDER
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    audience: str | None = None
    lifetime: int | None = None
    prefix: str = ""

    @property
    def way(self) -> str:
        """How it calls."""
        return self.auth or WAYS[self.preset][0]

    @property
    def key_in_url(self) -> bool:
        """Whether the API key is a segment of the path."""
        return self.way == API_KEY and self.preset not in _KEY_HEADERS


def secret_of(caller: Caller) -> str:
    """
    Return what the caller proves themselves with, white space around it dropped.

    Raises:
        OSError: If the file cannot be read.
        RefusalError: If there is none, or it is too long or no text. It is never quoted.
    """
    if caller.secret_env is not None:
        raw = os.environ.get(caller.secret_env, "").encode(errors="surrogateescape")
        source = f"environment variable {caller.secret_env}"
    elif caller.secret_file == STDIN:
        raw, source = sys.stdin.buffer.read(LONGEST + 1), "standard input"
    else:
        with Path(caller.secret_file or "").open("rb") as file:
            raw, source = file.read(LONGEST + 1), str(caller.secret_file)
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        raise RefusalError(f"{source} is no text") from None
    if not text or len(raw) > LONGEST:
        raise RefusalError(f"{source} is {'too long' if text else 'empty'}")
    return text


def credentials_of(caller: Caller, path: str) -> Credentials:
    """
    Return what proves the requests of *caller*; not for an API key in the URL.

    Args:
        caller: Who calls.
        path: Path of the request, for a token that is bound to it.

    Raises:
        OSError: If the secret's file cannot be read.
        RefusalError: If it is not what the preset needs.
    """
    secret = secret_of(caller)
    try:
        return _credentials(caller, secret, path)
    except ValueError as error:  # its message never quotes the secret
        raise RefusalError(str(error)) from None


def _credentials(caller: Caller, secret: str, path: str) -> Credentials:
    if caller.way == API_KEY:
        return presets.api_key(secret, _KEY_HEADERS[caller.preset])
    if caller.preset.startswith("nodius"):
        make: Any = presets.nodius if caller.preset == "nodius" else presets.nodius_2026
        made: Credentials = make(_wallet(secret, caller.encoding), caller.way, prefix=caller.prefix)
        return made
    return _minting(caller, _key(caller, secret), path)


def _minting(caller: Caller, key: SigningKey, path: str) -> Credentials:
    life: dict[str, Any] = {} if caller.lifetime is None else {"lifetime": caller.lifetime}
    aud: dict[str, Any] = {} if caller.audience is None else {"audience": caller.audience}
    match caller.preset:
        case "meganode":
            return presets.meganode(key, **life)
        case "meganode-rs256":
            return presets.meganode_rs256(key, **life, **aud)
        case "allthatnode":
            return presets.allthatnode(key, **life, **aud)
        case "engine-api":
            return presets.engine_api(key)
        case "oppiwallet":
            if caller.auth_key is None:
                raise RefusalError("oppiwallet needs --auth-key")
            return presets.oppiwallet(caller.auth_key, key, {path: caller.bind})
        case _:
            named = {} if caller.audience is None else {"aud": caller.audience}
            return presets.bearer(key, {**named, **caller.claims}, **life)


def _key(caller: Caller, secret: str) -> SigningKey:
    if secret.startswith("-----BEGIN"):
        return SigningKey.from_pem(secret, caller.kid, caller.alg)
    if secret.startswith("{"):
        return SigningKey.from_jwk(secret, caller.kid, caller.alg)
    encoding = caller.encoding or ("hex" if caller.preset == "engine-api" else "utf8")
    raw = keys.secret_bytes(secret, encoding)
    return SigningKey.from_secret(raw, caller.alg or "HS256", caller.kid)


def _wallet(secret: str, encoding: str | None) -> Wallet:
    if encoding == "hex":
        return Wallet.from_hex(secret)
    if secret.startswith("-----BEGIN"):
        return Wallet.from_pem(secret)
    if secret.startswith("{"):
        return Wallet.from_jwk(secret)
    return Wallet.from_id_json(secret) if secret.startswith("[") else Wallet.from_base58(secret)
