"""
A message of a WebSocket that was let in: judged as a request with the same credential would be now.

The handshake's proof stands for it; the adapters ask from time to time whether it still does.
"""

from __future__ import annotations

from rpcguard.errors import AuthError
from rpcguard.jsonrpc import calls as read_calls
from rpcguard.policy import Policy, charges_of
from rpcguard.principal import Principal
from rpcguard.project import Bounds, Project
from rpcguard.rates import NO_LIMITS, Charge, caller_charges


def judge(
    project: Project, bounds: Bounds, principal: Principal, text: bytes | str, now: float
) -> tuple[Charge, ...]:
    """
    Judge *text* and return what is to be counted.

    Raises:
        AuthError: If the message is refused.
    """
    if principal.expires_at is not None and now >= principal.expires_at:
        raise AuthError("expired", detail="the credential that opened the socket has ended")
    own = () if project.policy is None else (project.policy,)
    policies = (*own, *_policies_of(project, principal, now))
    if any(policy.needs_body for policy in policies):
        # len() first: as many bytes at least, and a text beyond the bound is not encoded
        raw = text if isinstance(text, bytes) or len(text) > bounds.max_body else _encoded(text)
        if len(raw) > bounds.max_body:
            raise AuthError("body_too_large")
        calls = read_calls(raw, bounds.max_batch)
        for policy in policies:
            policy.check_calls(calls)
    limits = project.policy.limits if project.policy is not None else None
    network = caller_charges(limits or NO_LIMITS, project.name, principal.network)
    return (*network, *charges_of(policies, principal))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise AuthError("invalid_body", detail="not UTF-8 text") from None


def _policies_of(project: Project, principal: Principal, now: float) -> tuple[Policy, ...]:
    """Return the policies besides the project's that apply to *principal* now."""
    if principal.scheme == "none" and project.anonymous:
        return ()
    for scheme in project.schemes:
        if scheme.name == principal.scheme:
            return scheme.policies(principal, now)
    raise AuthError("invalid_credentials", detail="the project does not take this kind any more")
