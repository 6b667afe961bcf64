"""`signature` and `wallets` in the registry: how a project reads signed requests, and whose."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping

from rpcguard import keys, owed
from rpcguard.registry import schema
from rpcguard.registry.policies import compile_policy
from rpcguard.registry.report import Loc, Report
from rpcguard.schemes.signature_rules import (
    DECODERS,
    KEY_BYTES,
    PAYLOAD_WORDS,
    SignatureRules,
    Version,
)
from rpcguard.schemes.wallets import Wallet, Wallets

_ALWAYS_SIGNED = frozenset({"timestamp", "nonce", "sha256_hex_of_body"})


def compile_signature(
    name: str,
    model: schema.Project,
    spec: schema.SignatureSpec,
    registry: schema.Registry,
    report: Report,
) -> SignatureRules:
    """Return how project *name* reads signed requests."""
    loc: Loc = ("projects", name)
    decode = DECODERS[spec.encoding]
    rules = SignatureRules(
        project=name,
        pubkey=spec.headers.pubkey.lower(),
        signature=spec.headers.signature.lower(),
        timestamp=spec.headers.timestamp.lower(),
        nonce=spec.headers.nonce.lower(),
        version_header=(spec.headers.version or "").lower(),
        versions=_versions(spec, (*loc, "signature"), report),
        default_version=spec.default_version,
        min_version=model.min_version or 0,
        decode=decode,
        timestamp_form=_pattern(spec.timestamp, (*loc, "signature", "timestamp"), report),
        nonce_form=_pattern(spec.nonce, (*loc, "signature", "nonce"), report),
        nonce_refused=(
            _pattern(spec.refuse_nonce, (*loc, "signature", "refuse_nonce"), report)
            if spec.refuse_nonce
            else None
        ),
        window=spec.window,
        skew=registry.max_server_skew,
        wallets=_wallets(model, decode, (*loc, "wallets"), report),
        revocable=model.revocation is not False,
        project_limit=model.max_nonces or owed.PROJECT_NONCES,
        subject_limit=model.max_subject_nonces or owed.SUBJECT_NONCES,
    )
    if rules.versions and not any(
        int(v) >= rules.min_version for v in rules.versions if v.isdigit()
    ):
        report.error(
            (*loc, "min_version"), f"the preset's versions are {', '.join(rules.versions)}"
        )
    return rules


def _pattern(text: str, loc: Loc, report: Report) -> re.Pattern[str]:
    try:
        return re.compile(text, re.ASCII)
    except re.error as error:
        report.error(loc, f"not a regular expression: {error.msg}")
        return re.compile("(?!)")


def _versions(spec: schema.SignatureSpec, loc: Loc, report: Report) -> Mapping[str, Version]:
    versions = {}
    for text, entry in spec.versions.items():
        place = (*loc, "versions", text)
        if not re.fullmatch(r"0|[1-9][0-9]{0,2}", text):
            report.error(place, "a version is a number of at most three digits")
        try:
            words = [
                part[1:] for part in string.Formatter().parse(entry.payload) if part[1] is not None
            ]
        except ValueError:
            words = [("?", "", None)]
        unknown = any(
            word not in PAYLOAD_WORDS or form or conversion for word, form, conversion in words
        )
        if unknown:
            report.error((*place, "payload"), f"the words are {', '.join(sorted(PAYLOAD_WORDS))}")
        for word in sorted(_ALWAYS_SIGNED - {found for found, _, _ in words}):
            report.error((*place, "payload"), f"{{{word}}} is not signed: it could be exchanged")
        echo = tuple((header.lower(), word) for header, word in (entry.echo or {}).items())
        versions[text] = Version("" if unknown else entry.payload, echo)
    if spec.default_version not in versions:
        report.error((*loc, "default_version"), "not one of versions")
    return versions


def _wallets(
    model: schema.Project, decode: Callable[[str, int], bytes], loc: Loc, report: Report
) -> Wallets:
    if model.wallets is None or isinstance(model.wallets, str):
        return Wallets(None)
    wallets: dict[str, Wallet] = {}
    for index, entry in enumerate(model.wallets):
        place = (*loc, index)
        try:
            keys.check_ed25519(decode(entry.pubkey, KEY_BYTES))
        except ValueError as error:
            report.error((*place, "pubkey"), str(error))
        if entry.pubkey in wallets:
            report.error((*place, "pubkey"), "listed before")
        policy = compile_policy(entry, place, report)
        wallets[entry.pubkey] = Wallet(entry.name, entry.min_version or 0, policy)
    return Wallets(wallets)
