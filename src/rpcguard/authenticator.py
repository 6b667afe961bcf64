"""
The pure half: from a request and a time to a `Pending`, or to a refusal.

Every request goes the same way: target, project, one kind of credential, its scheme, policy. No
clock and no I/O: where the body is needed and not read, the answer is "read it and ask again".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from rpcguard.errors import AuthError
from rpcguard.jsonrpc import Call
from rpcguard.jsonrpc import calls as read_calls
from rpcguard.owed import Owed, Pending
from rpcguard.peer import FIELDS as PEER_FIELDS
from rpcguard.peer import Proxies
from rpcguard.policy import Facts, Policy
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.schemes.base import Incoming, NeedBody, Proof, Scheme
from rpcguard.target import Router, host_name, matched_depth, split

_ALWAYS_READ = frozenset({"host", "origin", "user-agent", "content-encoding", *PEER_FIELDS})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the guard reads at most. Sizes in bytes, `max_batch` in items."""

    max_credential: int = 8 * 1024
    max_body: int = 5 * 1024 * 1024
    max_batch: int = 100


@dataclass(frozen=True, slots=True)
class Refusals:
    """
    A provider's own form of refusals.

    Attributes:
        bare: Send `{"code", "message", "project"}` instead of a JSON-RPC response.
        status: HTTP status of all refusals that are 401 or 403 otherwise; None keeps it.
        code: JSON-RPC code of the same; None keeps it.
        messages: Texts by `cause` or `reason`.
    """

    bare: bool = False
    status: int | None = None
    code: int | None = None
    messages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """
    One compiled project.

    Attributes:
        name: Its name in the registry.
        id: What errors show.
        schemes: The kinds of credential that it enables.
        policy: Policy for every caller, or None.
        refusals: The form of its refusals.
        require_https: Refuse plain requests.
        anonymous: Let requests without a credential in.
        public_prefix: Path prefix that a proxy strips; clients sign with it.
        preset: Name of its preset.
        prefixes: Path prefixes that it matches, without trailing slash; none for the default.
    """

    name: str
    id: str
    schemes: tuple[Scheme, ...]
    policy: Policy | None = None
    refusals: Refusals = field(default_factory=Refusals)
    require_https: bool = False
    anonymous: bool = False
    public_prefix: str = ""
    preset: str = ""
    prefixes: frozenset[str] = frozenset()

    def dress(self, error: AuthError) -> AuthError:
        """Give *error* this project's id, form, texts and challenges, and return it."""
        if error.project is not None:
            return error
        refusals = self.refusals
        error.project = self.id
        error.bare = refusals.bare
        if error.status in (401, 403):
            message = refusals.messages.get(error.cause) or refusals.messages.get(error.reason)
            error.message = message or error.message
            error.status = refusals.status or error.status
            error.code = refusals.code or error.code
        if error.status == 401:
            names = dict.fromkeys(scheme.challenge for scheme in self.schemes)
            error.challenges = tuple(self._challenge(name, error) for name in names)
        return error

    def _challenge(self, name: str, error: AuthError) -> str:
        challenge = f"{name} realm={_quoted(self.id)}"
        # RFC 6750 section 3.1: no error code where the request had no credential at all
        if name == "Bearer" and error.reason != "missing_credentials":
            challenge += f', error="invalid_token", error_description={_quoted(error.message)}'
        return challenge


def _quoted(text: str) -> str:
    """Return *text* as a quoted-string (RFC 9110 section 5.6.4), in the alphabet of RFC 6750."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)
    return f'"{plain}"'


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
        project: str | None = None,
        schemes: Collection[str] | None = None,
    ) -> Pending | BodyWanted:
        """
        Return what is proved, or ask for the body.

        Args:
            request: The request; its `body` may be None.
            now: Unix seconds.
            project: Name of the project whatever the target says, or None to match.
            schemes: The only kinds of credential to take, or None for all of the project.

        Raises:
            AuthError: If the request is refused.
        """
        if isinstance(schemes, str):
            raise TypeError("schemes is a collection of names, not one name")
        if not now > 0:  # also for NaN, which compares with nothing and so expires nothing
            raise AuthError("backend_unavailable", detail="the clock gives no time")
        found, incoming = self._match(request, project)
        try:
            return self._judge(found, incoming, now, schemes)
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

    def _match(self, request: Request, project: str | None) -> tuple[Project, Incoming]:
        raw, path = split(request.target)
        fields = request.fields(self._read, PEER_FIELDS)
        depth: int | None
        if project is None:
            found, depth = self._router.find(host_name(fields.get("host", ())), path)
        elif project in self.projects:
            found = self.projects[project]
            depth = matched_depth(path, found.prefixes)
        else:
            raise AuthError("no_project", detail="the route names a project that does not exist")
        rest = ""
        if depth is not None and raw.count("/") > depth:
            rest = raw.split("/", depth + 1)[-1]
        prefix = found.public_prefix
        return found, Incoming(request, path, prefix + raw, prefix + request.target, rest, fields)

    def _judge(
        self, project: Project, incoming: Incoming, now: float, schemes: Collection[str] | None
    ) -> Pending | BodyWanted:
        if project.require_https and not self._proxies.secure(
            incoming.request.client, incoming.request.scheme, incoming.fields
        ):
            raise AuthError("https_required")
        proof = self._prove(project, incoming, now, schemes)
        if isinstance(proof, BodyWanted):
            return proof
        policies = proof.policies if project.policy is None else (project.policy, *proof.policies)
        if policies:
            facts = self._caller(incoming)
            for policy in policies:
                policy.check_caller(facts)
            if any(policy.needs_body for policy in policies):
                calls = self._calls(project, incoming)
                if isinstance(calls, BodyWanted):
                    return calls
                for policy in policies:
                    policy.check_calls(calls)
        return Pending(proof.principal, proof.owed, project.dress)

    def _prove(
        self, project: Project, incoming: Incoming, now: float, schemes: Collection[str] | None
    ) -> Proof | BodyWanted:
        claiming = [scheme for scheme in project.schemes if scheme.present(incoming)]
        if len(claiming) > 1:
            raise AuthError("ambiguous_credentials")
        if schemes is not None:
            claiming = [scheme for scheme in claiming if scheme.name in schemes]
        if not claiming:
            if project.anonymous and schemes is None:
                return Proof(Principal("anonymous", project.name, "none"), Owed())
            raise AuthError("missing_credentials")
        (scheme,) = claiming
        if incoming.request.body is not None and scheme.wants_body(incoming):
            self._check_body(incoming)
        proof = scheme.prove(incoming, now)
        return self._want_body(project, incoming) if isinstance(proof, NeedBody) else proof

    def _caller(self, incoming: Incoming) -> Facts:
        fields = incoming.fields
        return Facts(
            self._proxies.client(incoming.request.client, fields),
            fields.get("origin", ()),
            fields.get("user-agent", ()),
        )

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
        # Some servers decompress before the application sees it: the bytes on the wire are lost.
        for value in incoming.fields.get("content-encoding", ()):
            if value.strip().lower() not in ("", "identity"):
                raise AuthError("unsupported_encoding")
        body = incoming.request.body
        if body is not None and len(body) > self.bounds.max_body:
            raise AuthError("body_too_large")
