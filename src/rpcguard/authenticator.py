"""
The pure half: from a request and a time to a `Pending`, or to a refusal.

Every request goes the same way: target, project, one kind of credential, its scheme, policy. No
clock and no I/O: where the body is needed and not read, the answer is "read it and ask again", and
where a limit counts requests before anything is checked, "count it and ask again".

Longer than other modules because the whole way of a request is read here, in its order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from rpcguard.errors import AuthError
from rpcguard.jsonrpc import Call
from rpcguard.jsonrpc import calls as read_calls
from rpcguard.messages import judge
from rpcguard.owed import Owed
from rpcguard.peer import FIELDS as PEER_FIELDS
from rpcguard.peer import Proxies
from rpcguard.pending import Pending
from rpcguard.policy import Facts, Policy, charges_of, may_be_several
from rpcguard.principal import Principal
from rpcguard.project import Bounds, Project
from rpcguard.rates import Charge, caller_charges, network_of
from rpcguard.request import Request
from rpcguard.schemes.base import Claim, Incoming, NeedBody, Proof, Scheme
from rpcguard.steps import Asked, BodyWanted, Counting
from rpcguard.target import Router, host_name, matched_depth, split
from rpcguard.trace import Trace

KNOWN_PLACES = 1024  # bounded, because callers choose their Host
KNOWN_TEXT = 512  # characters of target and Host
_PLAIN = Asked()
_ALWAYS_READ = frozenset({"host", "origin", "user-agent", "content-encoding", *PEER_FIELDS})


class _Place(NamedTuple):
    """Where a target leads; see `Incoming` for the members."""

    project: Project
    path: str
    raw_path: str
    raw_target: str
    rest: str


def refuse_encoded(fields: Mapping[str, list[str]]) -> None:
    """
    Refuse a compressed body: some servers decompress it, and the bytes on the wire are lost.

    Raises:
        AuthError: `unsupported_encoding`.
    """
    for value in fields.get("content-encoding", ()):
        if value.strip().lower() not in ("", "identity"):
            raise AuthError("unsupported_encoding")


def _is_plain(target: str, hosts: Sequence[str]) -> bool:
    """Return whether a place is worth remembering: an API key in a query never is."""
    return "?" not in target and len(target) + sum(map(len, hosts)) <= KNOWN_TEXT


@contextmanager
def _refused(caller: Principal | None) -> Iterator[None]:
    """Let a refusal that is raised here name *caller*, where somebody is proved, to the log."""
    try:
        yield
    except AuthError as error:
        error.caller = None if caller is None else caller.who
        raise


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
        # Where targets lead: the callers of one application ask for the same few again and again.
        self._places: dict[tuple[str, ...], _Place] = {}
        keyed = [project for project in projects.values() if project.keys_in_path]
        self._keys_in_path = bool(keyed)
        self._key_prefixes = frozenset(
            prefix for project in keyed for prefix in project.prefixes if prefix
        )
        self._read = _ALWAYS_READ.union(
            *(scheme.fields for project in projects.values() for scheme in project.schemes)
        )

    @property
    def reads(self) -> frozenset[str]:
        """The header fields that some project looks at, in lower case."""
        return self._read

    def authenticate(
        self, request: Request, now: float, asked: Asked = _PLAIN
    ) -> Pending | BodyWanted | Counting:
        """
        Return what is proved, or ask for the body or for a count.

        Args:
            request: The request; its `body` may be None.
            now: Unix seconds.
            asked: What is asked of it.

        Raises:
            AuthError: If the request is refused.
        """
        if isinstance(asked.schemes, str):
            raise TypeError("schemes is a collection of names, not one name")
        if not now > 0:  # also for NaN, which compares with nothing and so expires nothing
            raise AuthError("backend_unavailable", detail="the clock gives no time")
        found, incoming = self._match(request, asked.project, asked.trace)
        try:
            return self._judge(found, incoming, now, asked)
        except AuthError as error:
            raise found.dress(error) from None

    def message(self, principal: Principal, text: bytes | str, now: float) -> Counting:
        """
        Judge one message of a WebSocket as a request is judged, and return what is to be counted.

        Args:
            principal: Who opened the WebSocket.
            text: The message.
            now: Unix seconds.

        Raises:
            AuthError: If the message is refused.
        """
        project = self.projects.get(principal.project)
        if project is None:
            raise AuthError("no_project", detail="the project does not exist any more")
        try:
            return Counting(judge(project, self.bounds, principal, text, now), project)
        except AuthError as error:
            raise project.dress(error) from None

    def count_caller(self, project: Project, request: Request) -> Counting:
        """Return what is to be counted of *request* before anything else is done with it."""
        limits = project.policy.limits if project.policy else None
        if limits is None or not limits.per_ip:
            return Counting((), project)
        address = self._proxies.client(request.client, request.fields(PEER_FIELDS, PEER_FIELDS))
        return Counting(caller_charges(limits, project.name, network_of(address)), project)

    def shown(self, request: Request, project: str | None) -> tuple[str | None, str | None]:
        """Return the path of *request* without its query and without any key, and its client."""
        address = self.caller(request).address
        client = request.client if address is None else str(address)
        try:
            found, incoming = self._match(request, project)
        except AuthError:
            # where it is meant for cannot be told, and so neither whether it holds a key
            return (None if self._keys_in_path else request.target.partition("?")[0]), client
        path, depth = request.target.partition("?")[0], self._key_depth(found, incoming.path)
        if depth is not None:
            *shown, rest = path.split("/", depth + 1)
            path = "/".join([*shown, "<key>"]) if len(shown) > depth and rest else path
        return path, client

    def _key_depth(self, found: Project, path: str) -> int | None:
        """
        Return behind how many segments of *path* a key may stand, None for nowhere: of the project
        that was *found*, or of the one it is meant for, where a route or the Host led elsewhere.
        """
        own = matched_depth(path, found.prefixes)
        meant = matched_depth(path, self._key_prefixes) if self._key_prefixes else None
        if meant is not None and meant >= (own or 0):
            return meant
        return own if found.keys_in_path else None

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
        fields = request.fields(self._read, PEER_FIELDS)
        hosts = fields.get("host", ())
        known = (request.target, *hosts)
        place = self._places.get(known) if project is None else None
        if place is None or trace is not None:
            place = self._place(request.target, hosts, project, trace)
            if project is None and not place.rest and _is_plain(request.target, hosts):
                if len(self._places) >= KNOWN_PLACES:
                    self._places.clear()
                self._places[known] = place
        found, path, raw_path, raw_target, rest = place
        return found, Incoming(request, path, raw_path, raw_target, rest, fields, trace)

    def _place(
        self,
        target: str,
        hosts: Sequence[str],
        project: str | Project | None,
        trace: Trace | None,
    ) -> _Place:
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
        return _Place(found, path, prefix + raw, prefix + target, rest)

    def _judge(
        self,
        project: Project,
        incoming: Incoming,
        now: float,
        asked: Asked,
    ) -> Pending | BodyWanted | Counting:
        if project.counts_callers and not (asked.counted or asked.standing):
            return self.count_caller(project, incoming.request)
        if project.require_https:
            if asked.trace is not None:
                asked.trace.note("https")
            self._check_https(project, incoming.request, incoming.fields)
        scheme = self._scheme(project, incoming, asked.schemes)
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
        self._check_https(project, request, request.fields(PEER_FIELDS, PEER_FIELDS))

    def caller(self, request: Request) -> Facts:
        """Return what a policy looks at in the caller of *request*."""
        return self._caller(request, request.fields(_ALWAYS_READ, PEER_FIELDS))

    def _check_https(
        self, project: Project, request: Request, fields: Mapping[str, list[str]]
    ) -> None:
        if project.require_https and not self._proxies.secure(
            request.client, request.scheme, fields
        ):
            raise AuthError("https_required")

    def _pend(
        self, project: Project, incoming: Incoming, proof: Proof | Claim, asked: Asked
    ) -> Pending | BodyWanted:
        """Judge what can be judged now; the rest is for `Pending.conclude`."""
        owes = replace(proof.owed, nonce=None) if asked.standing else proof.owed
        own: tuple[Policy, ...] = () if project.policy is None else (project.policy,)
        if isinstance(proof, Claim):
            policies, needs_body, caller = own, proof.needs_body, None
        else:
            policies, needs_body, caller = own + proof.policies, False, proof.principal
            if not (policies or incoming.request.websocket):  # most requests: nothing to judge
                return Pending(lambda _: caller, owes, project.dress, caller)
        needs_body = needs_body or any(policy.needs_body for policy in policies)
        facts, trace = self._caller(incoming.request, incoming.fields), asked.trace
        sees_calls = asked.calls and not (asked.frames and incoming.request.websocket)
        with _refused(caller):
            if trace is not None and policies:
                trace.note("caller", "address, origin and user agent")
            for policy in policies:
                policy.check_caller(facts)
            calls = self._calls(project, incoming) if needs_body and sees_calls else ()
            if isinstance(calls, BodyWanted):
                return calls
            if trace is not None and needs_body and sees_calls:
                trace.note("calls", "methods and addresses")
            for policy in policies:
                policy.check_calls(calls)

        def known(principal: Principal) -> Principal:
            network = network_of(facts.address)
            return principal.connected_from(network) if incoming.request.websocket else principal

        def conclude(value: str | None) -> Principal:
            if isinstance(proof, Proof):
                return known(proof.principal)
            if value is None:
                raise AuthError("backend_unavailable", detail="the backend gave no record")
            if trace is not None:
                trace.note("wallet", "still allowed, and what it may do")
            concluded = proof.conclude(value)
            with _refused(concluded.principal):
                for policy in concluded.policies:
                    policy.check_caller(facts)
                    policy.check_calls(calls)
            if not asked.standing:
                pending.charges = charges_of((*own, *concluded.policies), concluded.principal)
            return known(concluded.principal)

        charges: tuple[Charge, ...] = ()
        if caller is not None and not asked.standing:
            charges = charges_of(policies, caller)
        pending = Pending(conclude, owes, project.dress, caller, charges)
        return pending

    def _caller(self, request: Request, fields: Mapping[str, list[str]]) -> Facts:
        address = self._proxies.client(request.client, fields)
        agents = fields.get("user-agent", [])
        if request.joined and any(map(may_be_several, agents)):
            agents = []
        return Facts(address, fields.get("origin", ()), agents)

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
