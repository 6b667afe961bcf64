"""`rpcguard keys list`: every key that lets somebody in, and until when."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from rpcguard import keys
from rpcguard.cli.opened import RefusalError, answered
from rpcguard.cli.output import Column, say, say_table
from rpcguard.registry import schema
from rpcguard.registry.merge import load_models

_COLUMNS = (
    Column("project", lambda _: "bold"),
    Column("list"),
    Column("id", lambda _: "cyan"),
    Column("algorithm"),
    Column("name"),
    Column("state", lambda state: "" if state == "active" else "red"),
    Column("fingerprint"),
)


def list_keys(file: Path, project: str | None, *, as_json: bool) -> int:
    """Print the keys of the registry *file*, or of one *project*; return the exit code."""

    def work() -> dict[str, Any]:
        registry = load_models(file, os.environ).registry
        if project is not None and project not in registry.projects:
            raise RefusalError(f"no project {project!r}")
        now = time.time()
        entries = [
            entry
            for name, model in registry.projects.items()
            if project in (None, name)
            for entry in _entries(name, model, now)
        ]
        return {"file": str(file), "keys": entries}

    def show(done: dict[str, Any]) -> None:
        groups: dict[str, list[list[str]]] = {}
        for entry in done["keys"]:
            cells = ("project", "list", "id", "alg", "name", "state", "fingerprint")
            row = [entry[cell] or "" for cell in cells]
            groups.setdefault(entry["project"], []).append(row)
        if groups:
            say_table(_COLUMNS, list(groups.values()))
        else:
            say("no keys")

    return answered(file, work, show, as_json=as_json)


def _entries(project: str, model: schema.Project, now: float) -> Iterator[dict[str, Any]]:
    for key in model.keys or ():
        alg, fingerprint = _public(key)
        yield _entry(
            project, "keys", key.kid or key.auth_key, alg or _hmac(model), key, now, fingerprint
        )
    for secret in model.secrets or ():
        yield _entry(project, "secrets", secret.id, _hmac(model), secret, now, None)
    for api_key in model.api_keys or ():
        yield _entry(project, "api_keys", api_key.id, None, api_key, now, None)


def _entry(
    project: str,
    member: str,
    kid: str | None,
    alg: str | None,
    dated: schema.Key | schema.Secret | schema.ApiKey,
    now: float,
    fingerprint: str | None,
) -> dict[str, Any]:
    return {
        "project": project,
        "list": member,
        "id": kid,
        "alg": alg,
        "name": dated.name,
        "not_before": dated.not_before,
        "not_after": dated.not_after,
        "state": _state(dated.not_before, dated.not_after, now),
        "fingerprint": fingerprint,
    }


def _public(key: schema.Key) -> tuple[str | None, str | None]:
    """Return algorithm and fingerprint (SHA-256 of the SubjectPublicKeyInfo) of a public key."""
    if key.public_key is None:
        return key.alg, None
    pem = key.public_key.encode()
    try:
        alg = keys.public_key("", key.alg, pem).alg
    except ValueError:
        return None, None  # `rpcguard check` says what is wrong with it
    info = load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = base64.b64encode(hashlib.sha256(info).digest()).decode().rstrip("=")
    return alg, f"SHA256:{digest}"


def _hmac(model: schema.Project) -> str | None:
    return next((alg for alg in keys.HMAC_BYTES if alg in (model.algorithms or ())), None)


def _state(not_before: float | None, not_after: float | None, now: float) -> str:
    if not_before is not None and now < not_before:
        return f"begins {shown(not_before)}"
    if not_after is None:
        return "active"
    return f"{'active until' if now < not_after else 'ended'} {shown(not_after)}"


def shown(instant: float) -> str:
    """Return Unix seconds as people and registries write them: `2026-12-01T00:00:00Z`."""
    moment = datetime.fromtimestamp(instant, UTC)
    return moment.isoformat(timespec="milliseconds" if instant % 1 else "seconds").replace(
        "+00:00", "Z"
    )
