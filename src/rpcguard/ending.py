"""
What ends sessions before their time: a logout, and an old refresh token that is shown again.

Both leave a revocation, and both can be done in a loop by anybody where wallets are open, so each
is paid for from a budget.
"""

from __future__ import annotations

import json

from rpcguard import owed
from rpcguard.backends.base import Backend
from rpcguard.owed import Answer, Nonce, Owed, Revocation, Verdict
from rpcguard.principal import Principal
from rpcguard.schemes.session import Family, Sessions


def log_out(sessions: Sessions, backend: Backend, principal: Principal, now: float) -> Answer:
    """
    End the session of *principal*, and its family, everywhere; a refusal has ended nothing.

    Args:
        sessions: What issued it.
        backend: The project's.
        principal: Who a session token has shown to call.
        now: Unix seconds.

    Raises:
        BackendError: If the end could not be recorded, or not all of it: log out again.
    """
    project, claims = sessions.project, principal.claims
    shard = owed.bucket(project, principal.subject)
    token = owed.digest("jti", project, principal.key_id or "", claims["jti"])
    ends = (principal.expires_at or now) + sessions.skew
    revocations = [Revocation(token, None, ends, shard)]
    slot = owed.session_name(project, claims["sid"]) if "sid" in claims else None
    if slot is not None:
        ends = max(ends, _longest(sessions, backend, slot, shard, now))
        revocations.append(Revocation(slot, None, ends, shard))
    paid = backend.settle(_price(sessions, principal.subject, token, ends, shard, now), now)
    if paid.verdict not in (Verdict.OK, Verdict.REPLAYED):  # replayed: it failed on the way before
        return paid
    if slot is not None:
        # Its refresh token goes at once; its session tokens are revoked for as long as one of them
        # can live. In this order, so that who fails on the way may try again.
        backend.drop(shard, slot, now)
    backend.revoke(revocations, now)
    return Answer.OK


def end_family(
    sessions: Sessions, backend: Backend, family: Family, current: str, now: float
) -> None:
    """
    End *family*, of which an old token was shown; *current* is the value of its record.

    Who of two holders is the thief cannot be told, so both are out (RFC 9700 section 4.14). The
    record stays in its place until its end, revoked: what this costs the backend is paid for by the
    family, and cannot be had a second time.

    Raises:
        BackendError: If it could not be recorded; the next use of an old token will end it.
    """
    known = json.loads(current)
    ends = max(known["ends"] + sessions.skew, known["until"] + sessions.skew, sessions.longest(now))
    slot = owed.session_name(sessions.project, family.sid)
    backend.revoke([Revocation(slot, None, ends, family.bucket)], now)


def _longest(sessions: Sessions, backend: Backend, slot: bytes, shard: int, now: float) -> float:
    """Return the Unix seconds until which a session token of the family in *slot* can matter."""
    any_token = Owed(sessions.project, record=b"", slot=slot, bucket=shard)
    known = json.loads(backend.settle(any_token, now).record or "{}")
    until: float = max(known.get("until", 0), now + sessions.ttl)
    return until + sessions.skew


def _price(
    sessions: Sessions, subject: str, token: bytes, ends: float, shard: int, now: float
) -> Owed:
    """
    Return the nonce that a logout spends: one for each revoked token, for as long as that lasts.

    Its budget is one of its own: no project's name has a slash. Nonces of requests last a minute
    and these an hour, and who fills it with logouts must keep nobody from being let in.
    """
    name = owed.digest("logout", token)
    nonce = Nonce(name, ends, sessions.project_limit, sessions.subject_limit)
    return Owed(f"{sessions.project}/logout", subject, now, (), nonce, bucket=shard)
