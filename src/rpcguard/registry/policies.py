"""`allow` and `limits` in the registry, compiled."""

from __future__ import annotations

from importlib.util import find_spec

from rpcguard.peer import Network, parse_network
from rpcguard.policy import ADDRESS, Names, Policy, parse_origin
from rpcguard.rates import Limits, Rate
from rpcguard.registry import schema
from rpcguard.registry.report import Loc, Report
from rpcguard.schemes.narrowing import Narrowing


def compile_policy(
    entry: schema.Project | schema.Secret | schema.Key | schema.ApiKey | schema.Wallet,
    loc: Loc,
    report: Report,
) -> Policy | None:
    """Return the policy of the *entry* at *loc*: its `allow` and `limits`; None without either."""
    limits = compile_limits(entry.limits, (*loc, "limits"), report)
    if entry.allow is None and limits is None:
        return None
    allow, loc = entry.allow or schema.Allow.model_construct(), (*loc, "allow")
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
        limits=limits,
    )


def compile_limits(limits: schema.KeyLimits | None, loc: Loc, report: Report) -> Limits | None:
    """Return the limits that *limits* says; None where it says nothing."""
    if limits is None:
        return None
    if find_spec("limits") is None:
        report.error(loc, "the package limits is missing: install rpcguard[limits]")
    found = {}
    for kind in type(limits).model_fields:
        rates = sorted(Rate(period, amount) for period, amount in getattr(limits, kind) or ())
        if len({rate.period for rate in rates}) < len(rates):
            report.error((*loc, kind), "two rates for one period")
        found[kind] = tuple(rates)
    if not any(found.values()):
        report.error(loc, "limits nothing: name per_ip, per_key, per_subject or per_project")
    return Limits(**found)


def narrowing_of(model: schema.Project) -> Narrowing:
    """Return which claims of the project's tokens narrow."""
    missing_origin = model.allow is not None and model.allow.missing_origin == "allow"
    return Narrowing(frozenset(model.narrowing or ()), missing_origin)


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
