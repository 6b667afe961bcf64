"""The caller of one project of each preset: a fresh key, and the entry that lets it in."""

from __future__ import annotations

import functools
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rpcguard.cli.keys.material import Pair, pair
from rpcguard.client import presets
from rpcguard.client.presets import Credentials
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet

_ORDER = ("currency", "amount", "orderId")


@dataclass(frozen=True, slots=True)
class Made:
    """
    What a preset's project needs.

    Attributes:
        members: Members of the project.
        credentials: What proves the caller's requests.
        subject: Who the verifier takes the caller for.
        files: Texts of files in `keys/`, by name.
        wallet: The caller's wallet, if that is what proves them.
        key: The caller's key, likewise.
    """

    members: dict[str, Any]
    credentials: Credentials
    subject: str
    files: dict[str, str] = field(default_factory=dict)
    wallet: Wallet | None = None
    key: SigningKey | None = None


@functools.cache
def _rsa() -> Pair:
    """One for the whole run: it takes a tenth of a second, and tests are many."""
    return pair("RS256")


def _pair(name: str, made: Pair, kid: str) -> tuple[SigningKey, dict[str, str], dict[str, Any]]:
    """Return the caller's key, the registry's file of it, and the entry of `keys`."""
    file = f"{name}.pub.pem"
    entry = {"kid": kid, "public_key": f"${{file:keys/{file}}}"}
    return SigningKey.from_pem(made.private, kid), {file: made.public}, entry


def _secret(name: str) -> tuple[str, dict[str, str], str]:
    """Return a secret, its file and how the registry names that."""
    text, file = secrets.token_hex(32), f"{name}.secret"
    return text, {file: text}, f"${{file:keys/{file}}}"


def _meganode(name: str, _: Mapping[str, Any]) -> Made:
    text, files, reference = _secret(name)
    key = SigningKey.from_secret(text)
    members = {"secrets": [{"id": "test", "secret": reference}]}
    return Made(members, presets.meganode(key), "test", files, key=key)


def _engine_api(name: str, _: Mapping[str, Any]) -> Made:
    text, files, reference = _secret(name)
    key = SigningKey.from_hex(text)
    members = {"secrets": [{"id": "test", "secret": reference}]}
    return Made(members, presets.engine_api(key), "test", files, key=key)


def _meganode_rs256(name: str, settings: Mapping[str, Any]) -> Made:
    key, files, entry = _pair(name, _rsa(), "test")
    audience = settings.get("audience", "nodereal.io")
    signer = presets.meganode_rs256(key, audience=audience)
    return Made({"keys": [entry]}, signer, "test", files, key=key)


def _allthatnode(name: str, settings: Mapping[str, Any]) -> Made:
    kid = str(uuid.uuid4())
    key, files, entry = _pair(name, pair("ES256"), kid)
    suffix = settings.get("audience_suffix")
    signer = presets.allthatnode(key, audience=suffix)
    return Made({"keys": [entry]}, signer, kid, files, key=key)


def _bearer(name: str, settings: Mapping[str, Any]) -> Made:
    key, files, entry = _pair(name, pair("EdDSA"), "test")
    claims = {"sub": "test"}
    for claim, setting in (("iss", "issuer"), ("aud", "audience")):
        if setting in settings:
            accepted = settings[setting]
            claims[claim] = accepted if isinstance(accepted, str) else accepted[0]
    signer = presets.bearer(key, claims, single_use=bool(settings.get("single_use")))
    return Made({"keys": [entry]}, signer, "test", files, key=key)


def _oppiwallet(name: str, settings: Mapping[str, Any]) -> Made:
    text, files, reference = _secret(name)
    path = settings.get("match", {}).get("path", "/")
    paths = [path] if isinstance(path, str) else path
    fields = settings.get("digest_fields") or {path: list(_ORDER) for path in paths}
    members = {"keys": [{"auth_key": "test", "enc_key": reference}], "digest_fields": fields}
    return Made(members, presets.oppiwallet("test", text, fields), "test", files)


def _nodius(name: str, settings: Mapping[str, Any], *, of_2026: bool = False) -> Made:
    del settings
    _, files, reference = _secret(name)
    wallet = Wallet.generate()
    members = {
        "wallets": [{"pubkey": wallet.pubkey, "name": "test"}],
        "session": {"secret": reference},
    }
    signer = presets.nodius_2026(wallet) if of_2026 else presets.nodius(wallet)
    return Made(members, signer, wallet.pubkey, files, wallet)


MAKERS: Mapping[str, Callable[[str, Mapping[str, Any]], Made]] = {
    "bearer": _bearer,
    "meganode": _meganode,
    "meganode-rs256": _meganode_rs256,
    "allthatnode": _allthatnode,
    "nodius": _nodius,
    "nodius-2026": functools.partial(_nodius, of_2026=True),
    "oppiwallet": _oppiwallet,
    "engine-api": _engine_api,
}
