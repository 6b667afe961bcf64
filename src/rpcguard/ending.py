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
from rpcguard.sessions import Family, Sessions


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
    slot = owed.session_name(sessions.project, family.sid)
    ends = _end(sessions, current, now)
    backend.revoke([Revocation(slot, None, ends, family.bucket)], now)


def end_of_family(sessions: Sessions, backend: Backend, sid: str, now: float) -> float | None:
    """
    Return the Unix seconds until which the family *sid* can matter; None where nothing tells.

    Its lifetimes are those that it was given, whatever the registry says now. An operator asks, who
    knows the `sid` and not whose it is: every bucket is looked into.

    Raises:
        BackendError: If the backend could not answer.
    """
    slot = owed.session_name(sessions.project, sid)
    for bucket in range(owed.BUCKETS):
        found = backend.settle(Owed(sessions.project, record=b"", slot=slot, bucket=bucket), now)
        if found.record is not None:
            return _end(sessions, found.record, now)
    return None


def revoked_key(
    backend: Backend, project: str, subject: str, expires_at: float | None, now: float
) -> list[Revocation]:
    """
    Return what revokes the API key that *subject* has now, if any. It is named by its id: it may
    never end, and the clock that issued it may have been ahead of this one.

    Raises:
        BackendError: If the backend could not answer.
    """
    shard, slot = owed.bucket(project, subject), owed.api_key_slot(project, subject)
    found = backend.settle(Owed(project, record=b"", slot=slot, bucket=shard), now)
    if found.record is None:
        return []
    known = json.loads(found.record)
    name = owed.key_name(project, known["kid"])
    return [Revocation(name, None, expires_at or known["expires_at"], shard)]


def _end(sessions: Sessions, value: str, now: float) -> float:
    """Return the Unix seconds until which a family with the record *value* can matter."""
    known: dict[str, float] = json.loads(value)
    return max(known["ends"] + sessions.skew, known["until"] + sessions.skew, sessions.longest(now))


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
