"""
The pure half: from a request and a time to a `Pending`, or to a refusal.

Every request goes the same way: target, project, one kind of credential, its scheme, policy. No
clock and no I/O: where the body is needed and not read, the answer is "read it and ask again".

Longer than other modules because the order of the checks is read in one piece.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rpcguard.errors import AuthError
from rpcguard.jsonrpc import Call
from rpcguard.jsonrpc import calls as read_calls
from rpcguard.owed import Owed, Pending
from rpcguard.peer import FIELDS as PEER_FIELDS
from rpcguard.peer import Proxies
from rpcguard.policy import Facts
from rpcguard.principal import Principal
from rpcguard.project import Bounds, Project
from rpcguard.request import Request
from rpcguard.schemes.base import Claim, Incoming, NeedBody, Proof, Scheme
from rpcguard.target import Router, host_name, matched_depth, split
from rpcguard.trace import Trace

_ALWAYS_READ = frozenset({"host", "origin", "user-agent", "content-encoding", *PEER_FIELDS})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of one request: see `Authenticator.authenticate`."""

    standing: bool
    calls: bool


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """
    The answer "read the body, at most *limit* bytes, and ask again".

    Attributes:
        limit: Bytes.
        project: The project that asks; it gives a refusal to read its form.
    """

    limit: int
    project: Project


def refuse_encoded(fields: Mapping[str, list[str]]) -> None:
    """
    Refuse a compressed body: some servers decompress it, and the bytes on the wire are lost.

    Raises:
        AuthError: `unsupported_encoding`.
    """
    for value in fields.get("content-encoding", ()):
        if value.strip().lower() not in ("", "identity"):
            raise AuthError("unsupported_encoding")


class Authenticator:
    """One generation of the registry, compiled. Immutable and shared by all threads."""

    def __init__(
        self,
        projects: Mapping[str, Project],
        router: Router[Project],
        bounds: Bounds,
        proxies: Proxies,
    ) -> None:
        self.projects = projects
        self.bounds = bounds
        self._router = router
        self._proxies = proxies
        self._read = _ALWAYS_READ.union(
            *(scheme.fields for project in projects.values() for scheme in project.schemes)
        )

    def authenticate(
        self,
        request: Request,
        now: float,
        *,
        project: str | Project | None = None,
        schemes: Collection[str] | None = None,
        standing: bool = False,
        calls: bool = True,
        trace: Trace | None = None,
    ) -> Pending | BodyWanted:
        """
        Return what is proved, or ask for the body.

        Args:
            request: The request; its `body` may be None.
            now: Unix seconds.
            project: The project, or its name, whatever the target says; None to match.
            schemes: The only kinds of credential to take, or None for all of the project.
            standing: Ask again about a handshake that was accepted; see `Scheme.prove`.
            calls: The body holds JSON-RPC calls, which policies judge.
            trace: Is told what is checked, before it is.

        Raises:
            AuthError: If the request is refused.
        """
        if isinstance(schemes, str):
            raise TypeError("schemes is a collection of names, not one name")
        if not now > 0:  # also for NaN, which compares with nothing and so expires nothing
            raise AuthError("backend_unavailable", detail="the clock gives no time")
        found, incoming = self._match(request, project, trace)
        try:
            return self._judge(found, incoming, now, schemes, _Asked(standing, calls))
        except AuthError as error:
            raise found.dress(error) from None

    def matching(self, request: Request) -> str | None:
        """Return the name of the project that *request*'s target matches; None for none."""
        try:
            return self._match(request, None)[0].name
        except AuthError:
            return None

    def wants_body(self, request: Request, *, project: str | None = None) -> bool:
        """Return whether the request's credential or the project's policy needs the body."""
        try:
            found, incoming = self._match(request, project)
        except AuthError:
            return False
        if found.policy is not None and found.policy.needs_body:
            return True
        return any(s.present(incoming) and s.wants_body(incoming) for s in found.schemes)

    def _match(
        self, request: Request, project: str | Project | None, trace: Trace | None = None
    ) -> tuple[Project, Incoming]:
        if trace is not None:
            trace.note("target", "a path that all parsers read alike")
        raw, path = split(request.target)
        if trace is not None:
            trace.note("project", "by host and path" if project is None else "by name")
        fields = request.fields(self._read, PEER_FIELDS)
        depth: int | None
        if project is None:
            found, depth = self._router.find(host_name(fields.get("host", ())), path)
        elif isinstance(project, Project):
            found, depth = project, None
        elif project in self.projects:
            found = self.projects[project]
            depth = matched_depth(path, found.prefixes)
        else:
            raise AuthError("no_project", detail="the route names a project that does not exist")
        if trace is not None:
            trace.found(found.name)
        rest = ""
        if depth is not None and raw.count("/") > depth:
            rest = raw.split("/", depth + 1)[-1]
        prefix = found.public_prefix
        target = prefix + request.target
        return found, Incoming(request, path, prefix + raw, target, rest, fields, trace)

    def _judge(
        self,
        project: Project,
        incoming: Incoming,
        now: float,
        schemes: Collection[str] | None,
        asked: _Asked,
    ) -> Pending | BodyWanted:
        if incoming.trace is not None and project.require_https:
            incoming.trace.note("https")
        self._check_https(project, incoming.request, incoming.fields)
        scheme = self._scheme(project, incoming, schemes)
        if scheme is None:
            anonymous = Principal("anonymous", project.name, "none")
            return self._pend(project, incoming, Proof(anonymous, Owed()), asked)
        if incoming.request.body is not None and scheme.wants_body(incoming):
            self._check_body(incoming)
        proof = scheme.prove(incoming, now, standing=asked.standing)
        if isinstance(proof, NeedBody):
            return self._want_body(project, incoming)
        return self._pend(project, incoming, proof, asked)

    def _scheme(
        self, project: Project, incoming: Incoming, schemes: Collection[str] | None
    ) -> Scheme | None:
        """Return the one scheme whose credential the request carries; None for an anonymous one."""
        trace = incoming.trace
        if trace is not None:
            kinds = ", ".join(scheme.name for scheme in project.schemes)
            trace.note("credential", f"exactly one of {kinds}")
        claiming = [scheme for scheme in project.schemes if scheme.present(incoming)]
        if trace is not None:
            trace.found(f"found {' and '.join(scheme.name for scheme in claiming) or 'none'}")
        if len(claiming) > 1:
            raise AuthError("ambiguous_credentials")
        if schemes is not None:
            claiming = [scheme for scheme in claiming if scheme.name in schemes]
        if not claiming and not (project.anonymous and schemes is None):
            raise AuthError("missing_credentials")
        return claiming[0] if claiming else None

    def issuing_project(self, name: str | None) -> Project:
        """
        Return the project whose credentials are issued: *name*, or the only one with sessions.

        Raises:
            LookupError: If there is none of that name, or not exactly one with sessions.
        """
        if name is not None:
            if name not in self.projects:
                raise LookupError(f"no project {name!r}")
            return self.projects[name]
        with_sessions = [p for p in self.projects.values() if p.sessions is not None]
        if len(with_sessions) != 1:
            raise LookupError(f"{len(with_sessions)} projects have a session: name one")
        return with_sessions[0]

    def check_connection(self, project: Project, request: Request) -> None:
        """
        Refuse a plain request where the project demands HTTPS.

        Raises:
            AuthError: `https_required`.
        """
        self._check_https(project, request, request.fields(PEER_FIELDS))

    def caller(self, request: Request) -> Facts:
        """Return what a policy looks at in the caller of *request*."""
        return self._caller(request, request.fields(_ALWAYS_READ))

    def _check_https(
        self, project: Project, request: Request, fields: Mapping[str, list[str]]
    ) -> None:
        if project.require_https and not self._proxies.secure(
            request.client, request.scheme, fields
        ):
            raise AuthError("https_required")

    def _pend(
        self, project: Project, incoming: Incoming, proof: Proof | Claim, asked: _Asked
    ) -> Pending | BodyWanted:
        """Judge what can be judged now; the rest is for `Pending.conclude`."""
        own = () if project.policy is None else (project.policy,)
        policies = (*own, *proof.policies) if isinstance(proof, Proof) else own
        needs_body = any(policy.needs_body for policy in policies)
        if isinstance(proof, Claim):
            needs_body = needs_body or proof.needs_body
        elif not policies:  # most requests: nothing to judge and nothing to find out
            principal = proof.principal
            return Pending(lambda _: principal, proof.owed, project.dress)
        facts, trace = self._caller(incoming.request, incoming.fields), incoming.trace
        if trace is not None and policies:
            trace.note("caller", "address, origin and user agent")
        for policy in policies:
            policy.check_caller(facts)
        calls = self._calls(project, incoming) if needs_body and asked.calls else ()
        if isinstance(calls, BodyWanted):
            return calls
        if trace is not None and needs_body and asked.calls:
            trace.note("calls", "methods and addresses")
        for policy in policies:
            policy.check_calls(calls)

        def conclude(value: str | None) -> Principal:
            if isinstance(proof, Proof):
                return proof.principal
            if value is None:
                raise AuthError("backend_unavailable", detail="the backend gave no record")
            if trace is not None:
                trace.note("wallet", "still allowed, and what it may do")
            concluded = proof.conclude(value)
            for policy in concluded.policies:
                policy.check_caller(facts)
                policy.check_calls(calls)
            return concluded.principal

        return Pending(conclude, proof.owed, project.dress)

    def _caller(self, request: Request, fields: Mapping[str, list[str]]) -> Facts:
        address = self._proxies.client(request.client, fields)
        return Facts(address, fields.get("origin", ()), fields.get("user-agent", ()))

    def _calls(self, project: Project, incoming: Incoming) -> tuple[Call, ...] | BodyWanted | None:
        """Return the calls in the body; None for a WebSocket, whose calls come later."""
        request = incoming.request
        if request.websocket:
            return None
        if request.body is None:
            return self._want_body(project, incoming)
        self._check_body(incoming)
        return read_calls(request.body, self.bounds.max_batch)

    def _want_body(self, project: Project, incoming: Incoming) -> BodyWanted:
        self._check_body(incoming)
        return BodyWanted(self.bounds.max_body, project)

    def _check_body(self, incoming: Incoming) -> None:
        body = incoming.request.body
        if incoming.trace is not None:
            size = "unread" if body is None else f"{len(body)} bytes"
            incoming.trace.note("body", f"{size}; limit {self.bounds.max_body}; not encoded")
        refuse_encoded(incoming.fields)
        if body is not None and len(body) > self.bounds.max_body:
            raise AuthError("body_too_large")
