"""
What an authenticated caller may do: `allow` and `limits` in the registry, on a project, a key or a
wallet.

Kinds are joined by AND, the entries of one kind by OR. A kind that is absent does not restrict; an
empty list allows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rpcguard.errors import AuthError
from rpcguard.jsonrpc import Call, has_one_reading
from rpcguard.peer import Address, Network, within
from rpcguard.principal import Principal
from rpcguard.rates import NO_LIMITS, Charge, Limits, principal_charges

# Position of the contract or account address in the params of each method that has one.
_ADDRESS_FIRST = frozenset(
    {"eth_getCode", "eth_getStorageAt", "eth_getBalance", "eth_getTransactionCount"}
)
_ADDRESS_IN = {"eth_call": "to", "eth_estimateGas": "to", "eth_getLogs": "address"}
# With a third parameter these run with other code at an address than the chain has there.
_OVERRIDABLE = frozenset({"eth_call", "eth_estimateGas"})
ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|(?:\*\.)?[a-z0-9._-]+)(?::([1-9][0-9]{0,4}))?")
_DEFAULT_PORT = {"http": "80", "https": "443"}
_SHOWABLE = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")  # a method's name that a refusal may repeat


class Facts(NamedTuple):
    """
    What a policy looks at in the caller.

    Attributes:
        address: The client's address, or None if it cannot be told.
        origins: Every `Origin` field of the request.
        user_agents: Every `User-Agent` field of the request; none where they cannot be told apart.
    """

    address: Address | None
    origins: Sequence[str]
    user_agents: Sequence[str]


def may_be_several(user_agent: str) -> bool:
    """
    Return whether *user_agent* may be several fields that a WSGI server has joined.

    Products have no comma, comments may (RFC 9110 section 10.1.5): `(KHTML, like Gecko)`. So one
    outside a comment is of a server that joins with ", ", or of a client that is not to be told
    from it. gunicorn and werkzeug join with a bare comma; browsers write a blank behind theirs.
    """
    depth, quoted = 0, False
    for at, char in enumerate(user_agent):
        if char == "," and (not depth or user_agent[at + 1 : at + 2] != " "):
            return True
        if quoted or (char == "\\" and depth):
            quoted = not quoted
        else:
            depth = max(0, depth + (char == "(") - (char == ")"))
    return False


class Names:
    """A set of exact names and `*` patterns."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, names: Iterable[str]) -> None:
        names = tuple(names)
        self._exact = frozenset(name for name in names if "*" not in name)
        self._patterns = tuple(name.split("*") for name in names if "*" in name)

    def __contains__(self, name: str) -> bool:
        return name in self._exact or any(_fits(name, parts) for parts in self._patterns)


def _fits(name: str, parts: list[str]) -> bool:
    """Return whether *name* is the *parts* with anything between them, in one pass."""
    # a regular expression would backtrack, and the caller chooses the name
    first, *middle, last = parts
    if len(name) < len(first) + len(last):
        return False
    if not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def parse_origin(text: str) -> tuple[str, str, str]:
    """
    Return scheme, host and port of an origin (RFC 6454), the default port filled in.

    Raises:
        ValueError: If *text* is no http or https origin.
    """
    match = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None:
        raise ValueError(
            "not an origin such as https://app.example.com or https://*.example.com:8443"
        )
    scheme, host, port = match.groups()
    return scheme, host, port or _DEFAULT_PORT[scheme]


@dataclass(frozen=True, slots=True)
class Policy:
    """One compiled `allow`, and the `limits` beside it; a kind that is None does not restrict."""

    methods: Names | None = None
    networks: tuple[Network, ...] | None = None
    origins: tuple[tuple[str, str, str], ...] | None = None
    user_agents: tuple[str, ...] | None = None
    addresses: frozenset[str] | None = None
    missing_origin: bool = field(default=False, kw_only=True)
    limits: Limits | None = field(default=None, kw_only=True)

    @property
    def needs_body(self) -> bool:
        """Whether the calls must be known."""
        return self.methods is not None or self.addresses is not None

    def check_caller(self, facts: Facts) -> None:
        """
        Judge address, origin and user agent.

        Raises:
            AuthError: `forbidden_ip`, `forbidden_origin` or `forbidden_user_agent`.
        """
        if self.networks is not None and (
            facts.address is None or not within(facts.address, self.networks)
        ):
            raise AuthError("forbidden_ip")
        if self.origins is not None and not self._origin_allowed(facts.origins):
            raise AuthError("forbidden_origin")
        if self.user_agents is not None and not (
            len(facts.user_agents) == 1
            and any(part in facts.user_agents[0] for part in self.user_agents)
        ):
            raise AuthError("forbidden_user_agent")

    def check_calls(self, calls: Iterable[Call] | None) -> None:
        """
        Judge the JSON-RPC *calls*; None where the frames of a WebSocket are not checked.

        Raises:
            AuthError: `forbidden_method` or `forbidden_address`.
        """
        if not self.needs_body:
            return
        if calls is None:
            raise AuthError("forbidden_method", detail="this socket's frames are not checked")
        for call in calls:
            self._check_call(call)

    def _origin_allowed(self, origins: Sequence[str]) -> bool:
        if not origins:
            return self.missing_origin
        try:
            (text,) = origins
            scheme, host, port = parse_origin(text)
        except ValueError:
            return False
        return any(
            scheme == wanted_scheme
            and port == wanted_port
            and (
                host == wanted_host
                or (
                    wanted_host.startswith("*.")
                    and host.endswith(wanted_host[1:])
                    and host[0] != "."
                )
            )
            for wanted_scheme, wanted_host, wanted_port in self.origins or ()
        )

    def _check_call(self, call: Call) -> None:
        if self.methods is not None and call.method not in self.methods:
            error = AuthError("forbidden_method")
            error.method = call.method if _SHOWABLE.fullmatch(call.method) else None
            raise error
        if self.addresses is not None:
            for address in _addresses(call):
                if address not in self.addresses:
                    raise AuthError("forbidden_address")


def _addresses(call: Call) -> list[str]:
    """Return the addresses that *call* touches, lower case; "" for one that cannot be told."""
    params = call.params if isinstance(call.params, list) else []
    first = params[0] if params else None
    if call.method in _ADDRESS_FIRST:
        found = [first]
    elif call.method in _OVERRIDABLE and any(each is not None for each in params[2:]):
        found = [None]
    elif call.method in _ADDRESS_IN:
        name, member = _ADDRESS_IN[call.method], None
        if isinstance(first, dict) and has_one_reading(first, frozenset({name})):
            member = first.get(name)
        found = member if isinstance(member, list) and member else [member]
    else:
        return []
    return [a.lower() if isinstance(a, str) and ADDRESS.fullmatch(a) else "" for a in found]


def charges_of(policies: Iterable[Policy], principal: Principal) -> tuple[Charge, ...]:
    """
    Return what is counted of *principal*.

    Args:
        policies: The project's, then those of its key; of a kind that both limit, the key's counts.
        principal: Who calls.
    """
    found = [policy.limits for policy in policies if policy.limits is not None]
    if not found:
        return ()
    limits = NO_LIMITS
    for own in found:
        limits = limits.under(own)
    # the secret that signs sessions is nobody's key
    key = principal.key_id if principal.scheme == "jwt" else principal.subject
    return principal_charges(limits, principal.project, key, principal.subject)
