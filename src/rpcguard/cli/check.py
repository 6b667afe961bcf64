"""`rpcguard check`: every problem of a registry with its place, or what it holds."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rpcguard.cli.backend_check import fault
from rpcguard.cli.output import Column, complain, say, say_json, say_table
from rpcguard.errors import ConfigError, Problem
from rpcguard.registry import schema
from rpcguard.registry.compile import load
from rpcguard.registry.merge import Loaded, load_models

_COLUMNS = (
    Column("project", lambda _: "bold"),
    Column("preset", lambda _: "cyan"),
    Column("match"),
    Column("who may call"),
)
_SHOWN = 4  # ids named in the table; a registry may have a thousand
_ANYBODY = (
    "anybody can make proofs, each remembered for a minute or two:"
    " limit requests per client address, by `limits: {per_ip: …}` or in front of this project"
)
_PER_PROCESS = (
    "each process counts for itself with this backend: with several workers as many times the limit"
    " passes; a redis backend counts for all of them"
)


def check(file: Path, *, as_json: bool) -> int:
    """Print the problems of the registry *file*, or its projects, and return the exit code."""
    try:
        registry, notes = _load(file)
    except ConfigError as error:
        return _refuse(file, error.problems, as_json=as_json)
    if as_json:
        projects = [_describe(name, project) for name, project in registry.projects.items()]
        problems = list(map(asdict, notes))
        say_json({"file": str(file), "valid": True, "problems": problems, "projects": projects})
    else:
        _report(file, registry, notes)
    return 0


def _load(file: Path) -> tuple[schema.Registry, list[Problem]]:
    compiled = load(file, os.environ)
    loaded = load_models(file, os.environ)
    wrong = fault(compiled.backend, file.absolute().parent, time.time())
    if wrong is not None:
        raise ConfigError(loaded.places(("backend",), wrong))
    return loaded.registry, [*compiled.warnings, *_advice(loaded)]


def _refuse(file: Path, problems: Sequence[Problem], *, as_json: bool) -> int:
    if as_json:
        say_json({"file": str(file), "valid": False, "problems": list(map(asdict, problems))})
    else:
        say(*map(str, problems))
        complain(f"{file} is not valid: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
    return 1


def _advice(loaded: Loaded) -> list[Problem]:
    projects = loaded.registry.projects.items()
    notes = [
        loaded.places(("projects", name, "wallets"), _ANYBODY, warning=True)
        for name, project in projects
        if project.wallets == "open" and not (project.limits and project.limits.per_ip)
    ]
    if loaded.registry.backend.partition(":")[0] in ("memory", "sqlite"):
        notes += [
            loaded.places(("projects", name, "limits"), _PER_PROCESS, warning=True)
            for name, project in projects
            if _is_limited(project)
        ]
    return notes


def _is_limited(project: schema.Project) -> bool:
    wallets = project.wallets if isinstance(project.wallets, list) else []
    entries = (project.secrets, project.keys, project.api_keys, wallets)
    own = (entry.limits for each in entries for entry in each or ())
    return any(limits is not None for limits in (project.limits, *own))


def _describe(name: str, project: schema.Project) -> dict[str, Any]:
    match = project.match or schema.Match.model_construct()
    wallets = project.wallets
    return {
        "name": name,
        "id": project.id or name,
        "preset": project.preset,
        "match": {"path": match.path or [], "host": match.host or []},
        "secrets": [secret.id for secret in project.secrets or []],
        "keys": [key.kid or key.auth_key for key in project.keys or []],
        "api_keys": [key.id for key in project.api_keys or []],
        "open": project.when_no_keys == "allow" and project.keys is None,
        "wallets": wallets
        if isinstance(wallets, str)
        else [wallet.pubkey for wallet in wallets or []],
    }


def _report(file: Path, registry: schema.Registry, notes: Sequence[Problem]) -> None:
    rows = [_row(_describe(name, project)) for name, project in registry.projects.items()]
    say_table(_COLUMNS, [rows])
    say("")
    if notes:
        say(*(str(replace(note, message=f"warning: {note.message}")) for note in notes), "")
    count = len(rows)
    say(f"{file} is valid: {count} project{'s' if count > 1 else ''}.")


def _row(project: dict[str, Any]) -> list[str]:
    match = project["match"]
    places = [*match["host"], *match["path"]]
    callers = [
        _named(project[kind], noun)
        for kind, noun in (("secrets", "secret"), ("keys", "key"), ("api_keys", "API key"))
    ]
    if project["open"]:
        callers.append("ANYBODY, without a token (when_no_keys: allow)")
    if project["wallets"] == "open":
        callers.append("any wallet")
    else:
        callers.append(_named([shorten(pubkey) for pubkey in project["wallets"]], "wallet"))
    return [
        project["name"],
        project["preset"],
        " ".join(places) or "everything else",
        "; ".join(filter(None, callers)) or "nobody",
    ]


def _named(ids: Sequence[str], noun: str) -> str:
    if not ids:
        return ""
    more = f", {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{noun}{'s' if len(ids) > 1 else ''} {', '.join(map(shorten, ids[:_SHOWN]))}{more}"


def shorten(name: str) -> str:
    """Return *name* as a table can hold it."""
    return name if len(name) <= 12 else f"{name[:8]}…"
