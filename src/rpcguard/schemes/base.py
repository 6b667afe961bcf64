"""What every scheme gets, gives and can be asked."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from rpcguard.errors import AuthError
from rpcguard.owed import Owed
from rpcguard.policy import Policy
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.trace import Trace

_BEARER = re.compile(
    r"[Bb][Ee][Aa][Rr][Ee][Rr](?: +([A-Za-z0-9._~+/-]+=*)|(?![!#$%&'*+.^_`|~0-9A-Za-z-]).*)",
    re.DOTALL,
)

_TOKEN_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
_JOINED_BEARER = re.compile(r",[ \t]*[Bb][Ee][Aa][Rr][Ee][Rr](?![!#$%&'*+.^_`|~0-9A-Za-z-])")


class NeedBody(enum.Enum):
    """The answer "read the body and ask again"."""

    NEED_BODY = enum.auto()


NEED_BODY = NeedBody.NEED_BODY


class Incoming:
    """
    One request with what matching found out about it. Read-only by convention; built per request.

    Attributes:
        request: The request itself.
        path: The decoded path, by which the project was matched.
        raw_path: The raw path as the client sent it, without its query, public prefix included.
        raw_target: The same with its query.
        rest: What follows the project's matched prefix in the raw path, without leading slash.
        fields: The header fields that some scheme or policy reads: lower-case name to values.
        bearer: The bearer token; None if there is none, "" if the field is malformed or doubled.
        trace: Is told what is checked; None where nobody asks.
        kept: What a scheme has found out and will want again if the body must be read first.
    """

    __slots__ = (
        *("bearer", "fields", "kept", "path", "raw_path", "raw_target", "request", "rest"),
        "trace",
    )

    def __init__(
        self,
        request: Request,
        path: str,
        raw_path: str,
        raw_target: str,
        rest: str,
        fields: Mapping[str, list[str]],
        trace: Trace | None = None,
    ) -> None:
        self.request = request
        self.path = path
        self.raw_path = raw_path
        self.raw_target = raw_target
        self.rest = rest
        self.fields = fields
        self.trace = trace
        self.kept: object = None
        values = fields.get("authorization")
        self.bearer = None if values is None else read_bearer(values, joined=request.joined)

    def single(self, name: str) -> str:
        """
        Return the one value of the field *name* (lower case).

        Raises:
            AuthError: `malformed_credentials`, if the field is missing or repeated.
        """
        values = self.fields.get(name)
        if values is None or len(values) != 1:
            state = "missing" if values is None else "repeated"
            raise AuthError("malformed_credentials", detail=f"{name} is {state}")
        return values[0]


def read_bearer(values: list[str], *, joined: bool = False) -> str | None:
    """
    Return the token of `Authorization: Bearer token` (RFC 6750 section 2.1).

    None if no value is of the Bearer scheme; "" if one is and the field is repeated or malformed.

    Args:
        values: The values of the field.
        joined: A value may be several that the server has joined with commas.
    """
    if len(values) == 1 and values[0].startswith("Bearer ") and values[0].isascii():
        # as almost all send it: deleting what may stand in a token is faster than the expressions
        token = values[0][7:]
        if token and not token.encode("ascii").translate(None, _TOKEN_LETTERS):
            return token
    if joined and any(map(_JOINED_BEARER.search, values)):
        return ""
    found = None
    for value in values:
        match = _BEARER.fullmatch(value)
        if match is not None:
            found = match[1] or ""
    return "" if found is not None and len(values) > 1 else found


class BearerKinds(NamedTuple):
    """
    To which scheme of a project a bearer token belongs: decided by its look, before any check.

    Attributes:
        key_prefix: What API keys start with, or "".
        session_headers: First parts of the session tokens, where the project has other JWTs too.
        others: The scheme of all other tokens, broken ones too; "" where only keys are bearers.
    """

    key_prefix: str = ""
    session_headers: frozenset[str] = frozenset()
    others: str = ""

    def owner(self, token: str) -> str:
        """Return the scheme of *token* ("" for none); a broken token is ""."""
        if self.key_prefix and token.startswith(self.key_prefix):
            return "api_key"
        if self.session_headers and token.partition(".")[0] in self.session_headers:
            return "session"
        return self.others or ("" if token else "api_key")


class Proof(NamedTuple):
    """
    What a scheme proved.

    Attributes:
        principal: Who calls.
        owed: What the backend must still say.
        policies: Policies of the key or wallet that was used.
    """

    principal: Principal
    owed: Owed
    policies: tuple[Policy, ...] = ()


class Claim(NamedTuple):
    """
    A credential that says nothing by itself: the backend's record tells whose it is.

    Attributes:
        owed: What the backend must say; it asks for a record.
        conclude: Gives the proof from the record's value; it may refuse.
        needs_body: Some policy that may turn out to apply judges the body.
    """

    owed: Owed
    conclude: Callable[[str], Proof]
    needs_body: bool = False


class Scheme(Protocol):
    """
    One kind of credential of one project.

    Attributes:
        name: "jwt", "signature", "api_key" or "session".
        fields: Header fields that it reads, lower case.
        challenge: Authentication scheme for `WWW-Authenticate`.
        security: OpenAPI security requirements: alternatives of name to security scheme object.
    """

    name: str
    fields: frozenset[str]
    challenge: str
    security: tuple[Mapping[str, dict[str, Any]], ...]

    def present(self, incoming: Incoming) -> bool:
        """Return whether the request carries this kind of credential, good or bad."""
        ...

    def wants_body(self, incoming: Incoming) -> bool:
        """Return whether the proof covers the body."""
        ...

    def prove(
        self, incoming: Incoming, now: float, *, standing: bool = False
    ) -> Proof | Claim | NeedBody:
        """
        Verify the credential. Whatever it raises is final; no other scheme is tried.

        Args:
            incoming: The request.
            now: Unix seconds.
            standing: It was accepted when the connection was made, and is asked again whether it
                still stands: that it need not be fresh is the only difference.

        Raises:
            AuthError: If the credential is not good.
        """
        ...

    def policies(self, principal: Principal, now: float) -> tuple[Policy, ...]:
        """
        Return the policies, besides the project's, that apply now to *principal*, whom this scheme
        has proved before.

        Raises:
            AuthError: If its key or wallet is not there any more.
        """
        ...
