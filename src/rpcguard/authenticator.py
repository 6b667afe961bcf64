"""
The pure half: from a request and a time to a `Pending`, or to a refusal.

Every request goes the same way: target, project, one kind of credential, its scheme, policy. No
clock and no I/O: where the body is needed and not read, the answer is "read it and ask again", and
where a limit counts requests before anything is checked, "count it and ask again".

A request that has nothing to judge but its bearer token, as most have, may go a shorter way first,
which says the same or nothing (`Authenticator.learn`), and so does one that has nothing but a
wallet's signature (`Authenticator._short_signed`).

Longer than other modules because the whole way of a request is read here, in its order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from rpcguard.callers import FIELDS as CALLER_FIELDS
from rpcguard.callers import Callers
from rpcguard.errors import AuthError
from rpcguard.jsonrpc import Call
from rpcguard.jsonrpc import calls as read_calls
from rpcguard.messages import judge
from rpcguard.owed import Owed
from rpcguard.peer import FIELDS as PEER_FIELDS
from rpcguard.peer import Proxies
from rpcguard.pending import Pending
from rpcguard.places import Places
from rpcguard.policy import Policy, charges_of
from rpcguard.principal import Principal
from rpcguard.project import Bounds, Project
from rpcguard.rates import Charge, network_of
from rpcguard.request import Request
from rpcguard.schemes.base import NEED_BODY, Claim, Incoming, NeedBody, Proof, Scheme
from rpcguard.schemes.jwt_verified import Left
from rpcguard.schemes.remembered import Remembered
from rpcguard.shown import ShownPaths
from rpcguard.steps import PLAIN, Asked, BodyWanted, Counting
from rpcguard.target import Router
from rpcguard.trace import Trace

KNOWN_REQUESTS = 4096  # usual requests that are found again in one look-up
_ALWAYS_READ = CALLER_FIELDS | {"host", "content-encoding"}

# A usual request: project, or None to match, raw target, `Host`, which it has once, and `name_of`
# its token
Usual = tuple[str | None, str, str, bytes]


def refuse_encoded(fields: Mapping[str, list[str]]) -> None:
    """
    Refuse a compressed body: some servers decompress it, and the bytes on the wire are lost.

    Raises:
        AuthError: `unsupported_encoding`.
    """
    for value in fields.get("content-encoding", ()):
        if value.strip().lower() not in ("", "identity"):
            raise AuthError("unsupported_encoding")


def _trace_kinds(project: Project, incoming: Incoming, trace: Trace) -> None:
    kinds = ", ".join(scheme.name for scheme in project.schemes)
    trace.note("credential", f"exactly one of {kinds}")
    found = [scheme.name for scheme in project.schemes if scheme.present(incoming)]
    trace.found(f"found {' and '.join(found) or 'none'}")


@contextmanager
def _refused(caller: Principal | None) -> Iterator[None]:
    """Let a refusal that is raised here name *caller*, where somebody is proved, to the log."""
    try:
        yield
    except AuthError as error:
        error.caller = None if caller is None else caller.who
        raise


class Authenticator:
    """
    One generation of the registry, compiled. Immutable and shared by all threads.

    Attributes:
        projects: By name.
        bounds: What callers may send at most.
        callers: What it makes of where requests come from.
        paths: How targets are shown.
        short_ways: Whether `learn` may ever give something.
        seen: The usual requests that `learn` has met: when only the backend is to be asked, and
            what. Its younger half is read in place, since a call takes longer than the look-up.
    """

    def __init__(
        self,
        projects: Mapping[str, Project],
        router: Router[Project],
        bounds: Bounds,
        proxies: Proxies,
    ) -> None:
        self.projects = projects
        self.bounds = bounds
        self.callers = Callers(proxies)
        self.paths = ShownPaths(projects.values())
        self._places = Places(projects, router, self.paths)
        self.seen: Remembered[Left] = Remembered(KNOWN_REQUESTS)
        self.short_ways = self._places.by_token
        self._read = _ALWAYS_READ.union(
            *(scheme.fields for project in projects.values() for scheme in project.schemes)
        )

    @property
    def reads(self) -> frozenset[str]:
        """The header fields that some project looks at, in lower case."""
        return self._read

    def authenticate(
        self, request: Request, now: float, asked: Asked = PLAIN
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
        if self._places.signing:
            usual = self._short_signed(request, now, asked)
            if usual is not None:
                return usual
        found, incoming = self._match(request, asked.project, asked.trace)
        incoming.kept = asked.kept
        try:
            return self._judge(found, incoming, now, asked)
        except AuthError as error:
            raise found.dress(error) from None

    def learn(self, asked: Usual, authorization: bytes, now: float) -> Left | None:
        """
        Return what is left of a usual request, and remember it in `seen`; None of any other, which
        `authenticate` must judge.

        The usual request is no WebSocket, and its target has been asked for before: then nothing of
        it counts but two fields and the time. That is decided for its project and its target by
        `Places`, and for its token by the scheme.

        Args:
            asked: The request.
            authorization: The value of `Authorization`, which it has once.
            now: Unix seconds.

        Raises:
            AuthError: What `authenticate` would raise.
        """
        left = self.seen.get(asked)
        if left is not None:
            return left
        project, target, host, name = asked
        place = self._places.known.get((project, target, host))
        if place is None or place.tokens is None or authorization[:7] != b"Bearer ":
            return None
        dress = place.project.dress
        try:
            left = place.tokens.usual(authorization[7:], name, now, dress)
        except AuthError as error:
            raise dress(error) from None
        if left is not None:
            self.seen.put(asked, left)
        return left

    def _short_signed(
        self, request: Request, now: float, asked: Asked
    ) -> Pending | BodyWanted | None:
        """
        Return what the long way leads to, for the usual request that a wallet has signed: 5 us
        less, since nothing is looked for or made that such a request cannot need. None for any
        other.

        It is no WebSocket, its target has been asked for before, no field of it is there twice, and
        none that could hold another credential. The project looks at nothing else (`Place`), and a
        target that may hold a key is never remembered.
        """
        project = asked.project
        if request.websocket or asked.standing or isinstance(project, Project):
            return None
        if asked.schemes is not None or asked.trace is not None:
            return None
        fields = request.once(self._places.signing)
        if fields is None:
            return None
        place = self._places.known.get((project, request.target, fields.get("host")))
        if place is None or place.signed is None:
            return None
        scheme, others = place.signed
        body, dress = request.body, place.project.dress
        if not others.isdisjoint(fields) or (body and len(body) > self.bounds.max_body):
            return None
        try:
            proof = scheme.usual(fields, request, place.raw_path, place.raw_target, now)
            if isinstance(proof, Proof) and proof.policies:
                return self._pend(*self._match(request, project), proof, asked)
        except AuthError as error:
            raise dress(error) from None
        if isinstance(proof, Proof):
            return Pending(proof.principal, proof.owed, dress, proof.principal)
        return BodyWanted(self.bounds.max_body, place.project) if proof is NEED_BODY else None

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

    def matching(self, request: Request) -> str | None:
        """Return the name of the project that *request*'s target matches; None for none."""
        try:
            return self._match(request, None)[0].name
        except AuthError:
            return None

    def claimed(self, request: Request, project: str | None) -> tuple[str, str]:
        """
        Return the name of the project that judges *request*, "" for none, and the kind of
        credential that it carries, "none" if not exactly one.
        """
        try:
            found, incoming = self._match(request, project)
        except AuthError:
            return "", "none"
        kinds = [scheme.name for scheme in found.schemes if scheme.present(incoming)]
        return found.name, kinds[0] if len(kinds) == 1 else "none"

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
        place = self._places.find(request.target, fields.get("host", ()), project, trace)
        found, path, raw_path, raw_target, rest, *_ = place
        return found, Incoming(request, path, raw_path, raw_target, rest, fields, trace)

    def _judge(
        self,
        project: Project,
        incoming: Incoming,
        now: float,
        asked: Asked,
    ) -> Pending | BodyWanted | Counting:
        if project.counts_callers and not (asked.counted or asked.standing):
            return self.callers.count(project, incoming.request)
        if project.require_https:
            if asked.trace is not None:
                asked.trace.note("https")
            self.callers.check_https(project, incoming.request, incoming.fields)
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
        if incoming.trace is not None:
            _trace_kinds(project, incoming, incoming.trace)
        found = None
        for scheme in project.schemes:
            if scheme.present(incoming):
                if found is not None:
                    raise AuthError("ambiguous_credentials")
                found = scheme
        if schemes is not None and found is not None and found.name not in schemes:
            found = None
        if found is None and not (project.anonymous and schemes is None):
            raise AuthError("missing_credentials")
        return found

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

    def _pend(
        self, project: Project, incoming: Incoming, proof: Proof | Claim, asked: Asked
    ) -> Pending | BodyWanted:
        """Judge what can be judged now; the rest is for `Pending.conclude`."""
        owes = proof.owed._replace(nonce=None) if asked.standing else proof.owed
        restricted = project.policy is not None or incoming.request.websocket
        if not restricted and isinstance(proof, Proof) and not proof.policies:  # most requests
            return Pending(proof.principal, owes, project.dress, proof.principal)
        own: tuple[Policy, ...] = () if project.policy is None else (project.policy,)
        if isinstance(proof, Claim):
            policies, needs_body, caller = own, proof.needs_body, None
        else:
            policies, needs_body, caller = own + proof.policies, False, proof.principal
        needs_body = needs_body or any(policy.needs_body for policy in policies)
        facts, trace = self.callers.facts(incoming.request, incoming.fields), asked.trace
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
        return BodyWanted(self.bounds.max_body, project, incoming.kept)

    def _check_body(self, incoming: Incoming) -> None:
        body = incoming.request.body
        if incoming.trace is not None:
            size = "unread" if body is None else f"{len(body)} bytes"
            incoming.trace.note("body", f"{size}; limit {self.bounds.max_body}; not encoded")
        if "content-encoding" in incoming.fields:
            refuse_encoded(incoming.fields)
        if body is not None and len(body) > self.bounds.max_body:
            raise AuthError("body_too_large")
