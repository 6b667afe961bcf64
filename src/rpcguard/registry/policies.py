"""`allow` in the registry, compiled."""

from __future__ import annotations

from rpcguard.peer import Network, parse_network
from rpcguard.policy import ADDRESS, Names, Policy, parse_origin
from rpcguard.registry import schema
from rpcguard.registry.report import Loc, Report


def compile_policy(allow: schema.Allow | None, loc: Loc, report: Report) -> Policy | None:
    """Return the policy that *allow* says; None where it says nothing."""
    if allow is None:
        return None
    return Policy(
        methods=None if allow.methods is None else Names(allow.methods),
        networks=None if allow.ips is None else _networks(allow.ips, (*loc, "ips"), report),
        origins=None
        if allow.origins is None
        else _origins(allow.origins, (*loc, "origins"), report),
        user_agents=None if allow.user_agents is None else tuple(allow.user_agents),
        addresses=(
            None
            if allow.addresses is None
            else _addresses(allow.addresses, (*loc, "addresses"), report)
        ),
        missing_origin=allow.missing_origin == "allow",
    )


def _networks(texts: list[str], loc: Loc, report: Report) -> tuple[Network, ...]:
    networks = []
    for index, text in enumerate(texts):
        try:
            networks.append(parse_network(text))
        except ValueError:
            report.error((*loc, index), "not an address or network (host bits must be zero)")
    return tuple(networks)


def _origins(texts: list[str], loc: Loc, report: Report) -> tuple[tuple[str, str, str], ...]:
    origins = []
    for index, text in enumerate(texts):
        try:
            origins.append(parse_origin(text))
        except ValueError as error:
            report.error((*loc, index), str(error))
    return tuple(origins)


def _addresses(texts: list[str], loc: Loc, report: Report) -> frozenset[str]:
    for index, text in enumerate(texts):
        if not ADDRESS.fullmatch(text):
            report.error((*loc, index), "not 0x and 40 hex digits")
    return frozenset(text.lower() for text in texts)
