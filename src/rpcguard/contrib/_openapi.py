"""The real security schemes in an OpenAPI document, where FastAPI wrote a stand-in per guard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rpcguard.verifier import Verifier

Requirement = dict[str, list[str]]


class Narrowing(NamedTuple):
    """
    What one guard takes.

    Attributes:
        schemes: Kinds of credential; None for all.
        project: The project to use; None for that of the target.
        frames: Its route gives every message of a WebSocket to `check_message`.
    """

    schemes: frozenset[str] | None
    project: str | None
    frames: bool


_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._-]")
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"})


def required(
    document: Mapping[str, Any],
    stand_in: str,
    guards: Iterable[str],
    is_open: Callable[[str], bool],
) -> dict[str, Any]:
    """
    Return *document* with the guard of a whole application, as if each operation depended on it.

    An operation with a guard of its own says already what it takes; one with an empty `security` is
    open.

    Args:
        document: An OpenAPI document as FastAPI makes it.
        stand_in: The guard's stand-in.
        guards: Those of all guards.
        is_open: Tells whether a path is exempt.
    """

    def guarded(item: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(item)
        for method in _METHODS & item.keys():
            security = item[method].get("security")
            if security != []:
                entries = security or ()
                if names.isdisjoint(name for entry in entries for name in entry):
                    result[method] = {**item[method], "security": [*entries, {stand_in: []}]}
        return result

    names = frozenset(guards)
    components = dict(document.get("components", {}))
    components["securitySchemes"] = {**components.get("securitySchemes", {}), stand_in: {}}
    paths = document.get("paths", {})
    paths = {path: item if is_open(path) else guarded(item) for path, item in paths.items()}
    return {**document, "components": components, "paths": paths}


def expanded(
    document: Mapping[str, Any], guards: Mapping[str, Narrowing], verifier: Verifier
) -> dict[str, Any]:
    """
    Return *document* with the stand-ins replaced; *document* itself stays as it is.

    Args:
        document: An OpenAPI document as FastAPI makes it.
        guards: What each stand-in's guard narrows to, by the stand-in's name.
        verifier: Whose registry says which security schemes there are.
    """
    components = dict(document.get("components", {}))
    schemes = dict(components.get("securitySchemes", {}))
    if schemes.keys().isdisjoint(guards):
        return dict(document)
    used = {name: guards[name] for name in schemes if name in guards}
    schemes = {name: scheme for name, scheme in schemes.items() if name not in guards}
    requirements = {
        name: _requirements(narrowing, verifier, schemes) for name, narrowing in used.items()
    }
    components["securitySchemes"] = schemes
    result = {**document, "components": components}
    for part in ("paths", "webhooks"):
        if part in document:
            result[part] = {
                path: _with_security(item, requirements) for path, item in document[part].items()
            }
    return result


def _with_security(
    item: Mapping[str, Any], requirements: Mapping[str, list[Requirement]]
) -> dict[str, Any]:
    result = dict(item)
    for method, operation in item.items():
        if method in _METHODS and operation.get("security"):
            security: list[Requirement] = []
            for entry in operation["security"]:
                stand_in = next((name for name in entry if name in requirements), None)
                found = [entry] if stand_in is None else requirements[stand_in]
                security.extend(each for each in found if each not in security)
            result[method] = {**operation, "security": security}
            if not security:  # an empty list would say that the operation is open
                del result[method]["security"]
    return result


def _requirements(
    narrowing: Narrowing, verifier: Verifier, schemes: dict[str, Any]
) -> list[Requirement]:
    """Return the alternatives of one guard, and add the objects that they name to *schemes*."""
    result: list[Requirement] = []
    for project, alternative in _alternatives(narrowing, verifier):
        requirement: Requirement = {}
        for name, scheme in alternative.items():
            unique = name if schemes.get(name, scheme) == scheme else f"{name}-{project}"
            unique = _NOT_A_NAME.sub("_", unique)
            schemes[unique] = dict(scheme)
            requirement[unique] = []
        if requirement not in result:
            result.append(requirement)
    return result


def _alternatives(
    narrowing: Narrowing, verifier: Verifier
) -> Iterator[tuple[str, Mapping[str, dict[str, Any]]]]:
    kinds, wanted = narrowing.schemes, narrowing.project
    projects: Iterable[Any] = verifier.registry.projects.values()
    for project in projects:
        if wanted is None or project.name == wanted:
            for scheme in project.schemes:
                if kinds is None or scheme.name in kinds:
                    for alternative in scheme.security:
                        yield project.name, alternative
