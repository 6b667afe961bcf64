"""One compiled project: what it takes, and the form of its refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rpcguard.errors import AuthError
from rpcguard.owed import Revocation
from rpcguard.policy import Policy
from rpcguard.schemes.api_key import ApiKeyScheme
from rpcguard.schemes.base import Scheme
from rpcguard.schemes.jwt import JwtScheme
from rpcguard.schemes.session import SessionScheme
from rpcguard.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request may cost at most. Sizes in bytes, `max_batch` in items, times in seconds."""

    max_credential: int = 8 * 1024
    max_body: int = 5 * 1024 * 1024
    max_batch: int = 100
    body_timeout: float = 30.0
    issuing_timeout: float = 5.0


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
        sessions: What issues its sessions, or None.
        key_issuer: This project as callers see it who want an API key: only the wallet signature
            counts, of the version that keys demand. None where keys are not issued.
        counts_callers: A limit counts requests before anything is known but where they come from.
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
    sessions: Sessions | None = None
    key_issuer: Project | None = None
    counts_callers: bool = field(init=False)

    def __post_init__(self) -> None:
        """Work out what every request asks."""
        limits = None if self.policy is None else self.policy.limits
        object.__setattr__(self, "counts_callers", limits is not None and bool(limits.per_ip))

    @property
    def keys_in_path(self) -> bool:
        """Whether callers may put an API key into the path."""
        return any(isinstance(s, ApiKeyScheme) and s.rules.in_path for s in self.schemes)

    def watch_lookups(self, tell: Callable[[bool], None]) -> None:
        """Have *tell* told of each look-up in a cache of tokens, whether the token was there."""
        for scheme in self.schemes:
            if isinstance(scheme, JwtScheme | SessionScheme):
                scheme.watch_lookups(tell)

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

    def token_revocation(self, token: str, now: float) -> Revocation:
        """
        Return what revokes *token*, a JWT of this project, for as long as that can matter.

        Raises:
            AuthError: `invalid_credentials` or `malformed_credentials`, if it is none of its JWTs.
        """
        for scheme in self.schemes:
            if isinstance(scheme, JwtScheme | SessionScheme):
                revocation = scheme.revocation(token, now)
                if revocation is not None:
                    return revocation
        raise AuthError("invalid_credentials", detail="not a token of this project")

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
