"""
From validated models to the compiled registry: whatever the hot path needs is worked out here.

Problems that only show now (a weak key, two projects that match the same) are collected like those
of the schema: all at once, each with its place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rpcguard.authenticator import Authenticator
from rpcguard.errors import AuthError, ConfigError, Problem
from rpcguard.peer import Network, Proxies, parse_network
from rpcguard.project import Bounds, Project, Refusals
from rpcguard.registry import schema
from rpcguard.registry.compile_schemes import compile_schemes
from rpcguard.registry.files import Files
from rpcguard.registry.merge import examine, in_order
from rpcguard.registry.policies import compile_policy
from rpcguard.registry.report import Loc, Report
from rpcguard.target import Match, Router, split


class Compiled(NamedTuple):
    """
    One generation of the registry.

    Attributes:
        authenticator: The compiled projects.
        backend: URL of the backend.
        files: Every file that was read or looked for.
        warnings: What is worth telling the operator.
    """

    authenticator: Authenticator
    backend: str
    files: Files
    warnings: tuple[Problem, ...]

    def __repr__(self) -> str:  # the backend's URL may hold a password
        return f"Compiled(projects={sorted(self.authenticator.projects)})"

    def waiting_for(self, files: tuple[str, ...]) -> Compiled:
        """Return this generation, watching the *files* of a newer one that did not load, too."""
        return self._replace(files=self.files.also(files))


_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def load(path: Path, environ: Mapping[str, str]) -> Compiled:
    """
    Read, check and compile the registry at *path*.

    Raises:
        ConfigError: With every problem found.
    """
    found = examine(path, environ)
    if found.registry is None or found.places is None:
        raise ConfigError(*found.problems, files=found.files)
    registry = found.registry
    report = Report(found.places, found.damaged)
    matches = {name: _matches(name, model, report) for name, model in registry.projects.items()}
    projects = {
        name: _project(name, model, registry, matches[name], report)
        for name, model in registry.projects.items()
    }
    _refuse_shared_audience(projects, report)
    router = _router(projects, matches, report)
    proxies = _proxies(registry, report)
    problems = in_order((*found.problems, *report.problems), str(path))
    if problems:
        raise ConfigError(*problems, files=found.files)
    bounds = Bounds(**dict(registry.bounds))
    warnings = in_order((*found.warnings, *report.warnings), str(path))
    authenticator = Authenticator(projects, router, bounds, proxies)
    return Compiled(authenticator, registry.backend, found.files, warnings)


def _project(
    name: str,
    model: schema.Project,
    registry: schema.Registry,
    matches: list[Match],
    report: Report,
) -> Project:
    loc: Loc = ("projects", name)
    refusal = model.refusal
    compiled = compile_schemes(name, model, registry, report)
    project = Project(
        name=name,
        id=model.id or name,
        schemes=compiled.schemes,
        policy=compile_policy(model, loc, report),
        refusals=Refusals(
            bare=model.refusals == "bare",
            status=refusal.status if refusal else None,
            code=refusal.code if refusal else None,
            messages=dict(refusal.messages or {}) if refusal else {},
        ),
        require_https=bool(model.require_https),
        anonymous=_anonymous(model, (*loc, "when_no_keys"), report),
        public_prefix=_public_prefix(model.public_prefix or "", (*loc, "public_prefix"), report),
        preset=model.preset,
        prefixes=frozenset(match.prefix for match in matches),
        sessions=compiled.sessions,
    )
    if compiled.for_keys is None:
        return project
    return replace(project, key_issuer=replace(project, schemes=(compiled.for_keys,)))


def _refuse_shared_audience(projects: Mapping[str, Project], report: Report) -> None:
    """Session tokens say by the id whose they are: two projects with sessions cannot share one."""
    seen: dict[str, str] = {}
    for name, project in projects.items():
        if project.sessions is not None:
            other = seen.setdefault(project.id, name)
            if other != name:
                report.error(("projects", name, "id"), f"{other!r} has sessions under this id too")


def _anonymous(model: schema.Project, loc: Loc, report: Report) -> bool:
    if model.when_no_keys != "allow":
        return False
    others = (model.secrets, model.api_keys, model.wallets, model.session)
    if any(member is not None for member in others):
        report.error(loc, "only a project whose callers have `keys` can do without them")
    return model.keys is None


def _public_prefix(text: str, loc: Loc, report: Report) -> str:
    return _path(text, loc, report).rstrip("/") if text else ""


def _path(text: str, loc: Loc, report: Report) -> str:
    if not text.startswith("/") or "*" in text:
        report.error(loc, "a path begins with /, and is a prefix of whole segments: no pattern")
        return ""
    try:
        raw, path = split(text)
    except AuthError as error:
        report.error(loc, f"not a plain absolute path: {error.detail}")
        return ""
    if raw != text:
        report.error(loc, "a path has no query")
    return path


def _router(
    projects: Mapping[str, Project], matches: Mapping[str, list[Match]], report: Report
) -> Router[Project]:
    entries: dict[Match, Project] = {}
    default: Project | None = None
    for name, project in projects.items():
        if not matches[name]:
            if default is not None:
                message = f"no match, as {default.name!r}; only one project can be the default"
                report.error(("projects", name), message)
            default = project
        for match in matches[name]:
            if match in entries:
                message = f"matches the same as {entries[match].name!r}"
                report.error(("projects", name, "match"), message)
            entries[match] = project
    return Router(entries.items(), default)


def _matches(name: str, model: schema.Project, report: Report) -> list[Match]:
    """Return what the project matches; nothing where it has no match and is the default."""
    if model.match is None:
        return []
    loc: Loc = ("projects", name, "match")
    paths, hosts = model.match.path, model.match.host
    if not (paths or hosts):
        report.error(loc, "match needs path or host")
        return []
    prefixes = [
        _path(text, (*loc, "path", index), report).rstrip("/")
        for index, text in enumerate(paths or ["/"])
    ]
    for index, host in enumerate(hosts or ()):
        if not _HOST.fullmatch(host):
            report.error((*loc, "host", index), "a host name alone, without port or pattern")
    names = [host.lower() for host in hosts or [""]]
    return list(dict.fromkeys(Match(host, prefix) for host in names for prefix in prefixes))


def _proxies(registry: schema.Registry, report: Report) -> Proxies:
    networks: list[Network] = []
    for index, text in enumerate(registry.trusted_proxies or ()):
        if text == "unix":
            continue
        try:
            networks.append(parse_network(text))
        except ValueError:
            report.error(
                ("trusted_proxies", index),
                "not an address or network (host bits must be zero) or unix",
            )
    return Proxies(tuple(networks), "unix" in (registry.trusted_proxies or ()))
