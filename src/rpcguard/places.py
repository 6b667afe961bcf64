"""
Where targets lead: to a project, and what of a request counts there.

The callers of one application ask for the same few targets again and again. What was found out
about one is remembered, unless a credential may stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rpcguard.errors import AuthError
from rpcguard.project import Project
from rpcguard.schemes.jwt import JwtScheme
from rpcguard.schemes.signature import SignatureScheme
from rpcguard.shown import ShownPaths
from rpcguard.target import Router, host_name, matched_depth, split
from rpcguard.trace import Trace

KNOWN_PLACES = 1024  # bounded, because callers choose their Host
KNOWN_TEXT = 512  # characters of target and Host

# Where a request is sent: name of the project, or None to match, raw target, values of `Host`
Destination = tuple[str | None, ...]


class Signed(NamedTuple):
    """The scheme of signed requests of a project, and the fields in which anything else stands."""

    scheme: SignatureScheme
    others: frozenset[str]


class Place(NamedTuple):
    """
    Where a target leads; see `Incoming` for the first members.

    Attributes:
        tokens: The scheme of a project that looks at nothing of most requests to a remembered
            target but their bearer token, else None; see `Authenticator.learn`.
        signed: Likewise for a wallet's signature.
    """

    project: Project
    path: str
    raw_path: str
    raw_target: str
    rest: str
    tokens: JwtScheme | None = None
    signed: Signed | None = None


class Places:
    """
    The targets of one generation of the registry.

    Attributes:
        known: Those that are remembered.
        by_token: Whether a place may ever have `tokens`.
        signing: The fields that tell whether a signature is all that counts; none where no place
            may have `signed`.
    """

    def __init__(
        self, projects: Mapping[str, Project], router: Router[Project], paths: ShownPaths
    ) -> None:
        """
        Args:
            projects: By name.
            router: Finds them by host and path.
            paths: Knows where a target may hold a key.
        """
        self._projects = projects
        self._router = router
        self._paths = paths
        self._keys_in_path = any(project.keys_in_path for project in projects.values())
        self._tokens = {name: _tokens(project) for name, project in projects.items()}
        self._signed = {name: _signed(project) for name, project in projects.items()}
        self.known: dict[Destination, Place] = {}
        self.by_token = any(self._tokens.values())
        self.signing: frozenset[str] = frozenset().union(
            *(each.scheme.fields | each.others | {"host"} for each in self._signed.values() if each)
        )

    def find(
        self,
        target: str,
        hosts: Sequence[str],
        project: str | Project | None,
        trace: Trace | None,
    ) -> Place:
        """
        Return where *target* leads.

        Args:
            target: The raw request target.
            hosts: The values of `Host`.
            project: The project, or its name, whatever the target says; None to match.
            trace: Is told what is looked at.

        Raises:
            AuthError: `invalid_target` or `no_project`.
        """
        if isinstance(project, Project) or trace is not None:
            return self._look(target, hosts, project, trace)
        asked = (project, target, *hosts)
        return self.known.get(asked) or self._learn(asked, target, hosts, project)

    def _learn(
        self, asked: Destination, target: str, hosts: Sequence[str], project: str | None
    ) -> Place:
        place = self._look(target, hosts, project, None)
        # nothing that may be a credential is remembered, wherever it was sent
        hidden = self._keys_in_path and (
            place.rest or self._paths.shown(target, place.project) != target
        )
        if not hidden and _is_plain(target, hosts):
            if len(self.known) >= KNOWN_PLACES:
                self.known.clear()
            # so no API key stands beside the token where a target is remembered
            name = place.project.name
            place = place._replace(tokens=self._tokens[name], signed=self._signed[name])
            self.known[asked] = place
        return place

    def _look(
        self,
        target: str,
        hosts: Sequence[str],
        project: str | Project | None,
        trace: Trace | None,
    ) -> Place:
        if trace is not None:
            trace.note("target", "a path that all parsers read alike")
        raw, path = split(target)
        if trace is not None:
            trace.note("project", "by host and path" if project is None else "by name")
        depth: int | None
        if project is None:
            found, depth = self._router.find(host_name(hosts), path)
        elif isinstance(project, Project):
            found, depth = project, None
        elif project in self._projects:
            found = self._projects[project]
            depth = matched_depth(path, found.prefixes)
        else:
            raise AuthError("no_project", detail="the route names a project that does not exist")
        if trace is not None:
            trace.found(found.name)
        rest = ""
        if depth is not None and raw.count("/") > depth:
            rest = raw.split("/", depth + 1)[-1]
        prefix = found.public_prefix
        return Place(found, path, prefix + raw, prefix + target, rest)


def _is_plain(target: str, hosts: Sequence[str]) -> bool:
    """Return whether a place is worth remembering: an API key in a query never is."""
    return "?" not in target and len(target) + sum(map(len, hosts)) <= KNOWN_TEXT


def _tokens(project: Project) -> JwtScheme | None:
    """
    Return the scheme whose tokens are all that *project* looks at in most requests; None if it
    looks at more in each, or takes no such tokens.
    """
    if project.policy is not None or project.require_https:
        return None
    if any(scheme.fields - {"authorization"} for scheme in project.schemes):
        return None  # another credential could stand beside the token
    for scheme in project.schemes:
        if isinstance(scheme, JwtScheme) and scheme.unbound:
            return scheme
    return None


def _signed(project: Project) -> Signed | None:
    """
    Return the scheme whose signatures are all that *project* looks at in most requests; None if it
    looks at more in each, or takes none.
    """
    if project.policy is not None or project.require_https:
        return None
    others = {"content-encoding"}.union(
        *(each.fields for each in project.schemes if not isinstance(each, SignatureScheme))
    )
    for scheme in project.schemes:
        if isinstance(scheme, SignatureScheme):
            return Signed(scheme, frozenset(others))
    return None
