"""
From validated models to the compiled registry: whatever the hot path needs is worked out here.

Problems that only show now (a weak key, two projects that match the same) are collected like those
of the schema: all at once, each with its place in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rpcguard.authenticator import Authenticator, Bounds, Project, Refusals
from rpcguard.errors import AuthError, ConfigError, Problem
from rpcguard.peer import Network, Proxies, parse_network
from rpcguard.registry import schema
from rpcguard.registry.compile_schemes import compile_schemes
from rpcguard.registry.merge import load_models
from rpcguard.registry.policies import compile_policy
from rpcguard.registry.report import Loc, Report
from rpcguard.target import Match, Router, split


@dataclass(frozen=True, slots=True)
class Compiled:
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
    files: tuple[str, ...]
    warnings: tuple[Problem, ...]

    def waiting_for(self, files: tuple[str, ...]) -> Compiled:
        """Return this generation, watching the *files* of a newer one that did not load, too."""
        return replace(self, files=tuple(dict.fromkeys((*self.files, *files))))


def load(path: Path, environ: Mapping[str, str]) -> Compiled:
    """
    Read, check and compile the registry at *path*.

    Raises:
        ConfigError: With every problem found.
    """
    loaded = load_models(path, environ)
    report = Report(loaded.places)
    registry = loaded.registry
    bounds = Bounds(
        registry.bounds.max_credential, registry.bounds.max_body, registry.bounds.max_batch
    )
    projects = {
        name: _project(name, model, registry, report) for name, model in registry.projects.items()
    }
    router = _router(registry, projects, report)
    proxies = _proxies(registry, report)
    if report.problems:
        raise ConfigError(*sorted(report.problems, key=_place), files=loaded.files)
    warnings = tuple(sorted((*loaded.warnings, *report.warnings), key=_place))
    return Compiled(
        Authenticator(projects, router, bounds, proxies), registry.backend, loaded.files, warnings
    )


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.file, problem.line, problem.column


def _project(
    name: str, model: schema.Project, registry: schema.Registry, report: Report
) -> Project:
    loc: Loc = ("projects", name)
    refusal = model.refusal
    compiled = compile_schemes(name, model, registry, report)
    project = Project(
        name=name,
        id=model.id or name,
        schemes=compiled.schemes,
        policy=compile_policy(model.allow, (*loc, "allow"), report),
        refusals=Refusals(
            bare=model.refusals == "bare",
            status=refusal.status if refusal else None,
            code=refusal.code if refusal else None,
            messages=dict(refusal.messages or {}) if refusal else {},
        ),
        require_https=bool(model.require_https),
        anonymous=model.when_no_keys == "allow" and model.keys is None,
        public_prefix=_public_prefix(model.public_prefix or "", (*loc, "public_prefix"), report),
        preset=model.preset,
        sessions=compiled.sessions,
    )
    if compiled.for_keys is None:
        return project
    return replace(project, key_issuer=replace(project, schemes=(compiled.for_keys,)))


def _public_prefix(text: str, loc: Loc, report: Report) -> str:
    return _path(text, loc, report).rstrip("/") if text else ""


def _path(text: str, loc: Loc, report: Report) -> str:
    try:
        raw, path = split(text)
    except AuthError as error:
        report.error(loc, f"not a plain absolute path: {error.detail}")
        return ""
    if raw != text:
        report.error(loc, "a path has no query")
    return path


def _router(
    registry: schema.Registry, projects: Mapping[str, Project], report: Report
) -> Router[Project]:
    entries: dict[Match, Project] = {}
    default: Project | None = None
    for name, model in registry.projects.items():
        loc: Loc = ("projects", name)
        if model.match is None:
            if default is not None:
                report.error(
                    loc, f"no match, as {default.name!r}; only one project can be the default"
                )
            default = projects[name]
            continue
        if not (model.match.path or model.match.host):
            report.error((*loc, "match"), "match needs path or host")
        for match in _matches(model.match, (*loc, "match"), report):
            if match in entries:
                report.error((*loc, "match"), f"matches the same as {entries[match].name!r}")
            entries[match] = projects[name]
    return Router(entries.items(), default)


def _matches(match: schema.Match, loc: Loc, report: Report) -> list[Match]:
    prefixes = [
        _path(text, (*loc, "path", index), report).rstrip("/")
        for index, text in enumerate(match.path or ["/"])
    ]
    hosts = []
    for index, host in enumerate(match.host or [""]):
        if host and (not host.isascii() or not host.isprintable() or set("/:@* ") & set(host)):
            report.error((*loc, "host", index), "a host name alone, without port or pattern")
        hosts.append(host.lower())
    return list(dict.fromkeys(Match(host, prefix) for host in hosts for prefix in prefixes))


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
