"""
How often a caller may call: `limits` in the registry, as values. Counting is the limiter's.

What a kind counts by: `per_ip` a client address (an IPv6 one by its /64, which one host has whole),
`per_key` the key that proved the caller (a wallet counts as one key, whatever it proved itself
with), `per_subject` who calls, `per_project` everybody together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

from rpcguard.peer import Address

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Rate(NamedTuple):
    """At most `amount` requests in any `period`, in seconds."""

    period: int
    amount: int


@dataclass(frozen=True, slots=True)
class Limits:
    """One compiled `limits`; a kind without rates does not limit."""

    per_ip: tuple[Rate, ...] = ()
    per_key: tuple[Rate, ...] = ()
    per_subject: tuple[Rate, ...] = ()
    per_project: tuple[Rate, ...] = ()

    def under(self, own: Limits) -> Limits:
        """Return these limits with those kinds replaced that a key has of its *own*."""
        kinds = {kind.name: getattr(own, kind.name) for kind in fields(own)}
        return Limits(**{name: rates or getattr(self, name) for name, rates in kinds.items()})


NO_LIMITS = Limits()


class Charge(NamedTuple):
    """
    One request to be counted.

    Attributes:
        kind: "per_ip", "per_key", "per_subject" or "per_project".
        rates: What the count must stay within, shortest period first.
        names: What is counted: the project, and who.
    """

    kind: str
    rates: tuple[Rate, ...]
    names: tuple[str, ...]


def network_of(address: Address | None) -> str:
    """Return the name under which *address* is counted; one name for all that cannot be told."""
    if address is None:
        return ""
    return f"{int(address) >> 64:x}::/64" if address.version == 6 else str(address)


def caller_charges(limits: Limits, project: str, network: str) -> tuple[Charge, ...]:
    """Return what is counted before anything is known but where the request comes from."""
    return _charges([("per_ip", limits.per_ip, (project, network))])


def principal_charges(
    limits: Limits, project: str, key: str | None, subject: str
) -> tuple[Charge, ...]:
    """
    Return what is counted once the caller is known.

    The narrowest first: a key that exceeds its own limits takes nothing from the project's.
    """
    of_key = [] if key is None else [("per_key", limits.per_key, (project, key))]
    return _charges(
        [
            *of_key,
            ("per_subject", limits.per_subject, (project, subject)),
            ("per_project", limits.per_project, (project,)),
        ]
    )


def _charges(found: Iterable[tuple[str, tuple[Rate, ...], tuple[str, ...]]]) -> tuple[Charge, ...]:
    return tuple(Charge(kind, rates, names) for kind, rates, names in found if rates)
