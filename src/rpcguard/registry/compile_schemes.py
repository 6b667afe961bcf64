"""The schemes of a project, filled with its parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from rpcguard import owed
from rpcguard.registry import schema
from rpcguard.registry.compile_signature import compile_signature
from rpcguard.registry.encryption import compile_encryption
from rpcguard.registry.key_rings import key_ring, secret_ring
from rpcguard.registry.policies import compile_policy, narrowing_of
from rpcguard.registry.report import Loc, Report
from rpcguard.registry.sessions import (
    compile_sessions,
    has_sessions,
    session_headers,
    session_scheme,
)
from rpcguard.schemes.api_key import PREFIX, ApiKeyRules, ApiKeyScheme, StaticKey
from rpcguard.schemes.base import BearerKinds, Scheme
from rpcguard.schemes.binding import Binding
from rpcguard.schemes.claims import ClaimRules
from rpcguard.schemes.jwt import JwtScheme
from rpcguard.schemes.jwt_rules import JwtRules
from rpcguard.schemes.signature import SignatureScheme
from rpcguard.schemes.signature_rules import DECODERS
from rpcguard.schemes.wallets import Wallets
from rpcguard.sessions import Sessions


class Compiled(NamedTuple):
    """
    What a project can do.

    Attributes:
        schemes: The kinds of credential that it enables.
        sessions: What issues its sessions, or None.
        for_keys: The wallet signature that an API key is issued for, or None.
    """

    schemes: tuple[Scheme, ...]
    sessions: Sessions | None
    for_keys: SignatureScheme | None


def compile_schemes(
    name: str, model: schema.Project, registry: schema.Registry, report: Report
) -> Compiled:
    """Return the schemes that the project enables: those it has keys, secrets or wallets for."""
    loc: Loc = ("projects", name)
    kinds = set(model.schemes or ())
    schemes: list[Scheme] = []
    sessions = None
    signature = None
    if "signature" in kinds:
        if model.signature is None:
            report.error(loc, "the signature scheme needs `signature`")
        elif model.wallets is None:
            report.error(loc, "wallets is missing: `open` for any key pair, or a list")
        else:
            signature = compile_signature(name, model, model.signature, registry, report)
            schemes.append(SignatureScheme(signature))
    wallets = signature.wallets if signature else None
    if "session" in kinds and has_sessions(model, loc, report):
        decode = signature.decode if signature else DECODERS["base58"]
        sessions = compile_sessions(name, model, registry, wallets, decode, report)
    has_jwt = "jwt" in kinds and _has_jwt(model, sessions is not None, loc, report)
    bearers = BearerKinds(
        _key_prefix(model),
        session_headers(sessions) if sessions is not None and has_jwt else frozenset(),
        "jwt" if has_jwt else "session" if sessions is not None else "",
    )
    if has_jwt:
        schemes.append(_jwt(name, model, registry, bearers, report))
    if sessions is not None:
        schemes.append(session_scheme(sessions, registry, bearers, narrowing_of(model)))
    if "api_key" in kinds and (model.api_keys is not None or wallets is not None):
        schemes.append(_api_key(name, model, registry, wallets, bearers, report))
    if model.narrowing is not None and not (has_jwt or sessions is not None):
        report.error((*loc, "narrowing"), "only tokens have claims, and the project takes none")
    if model.encryption is not None and not has_jwt:
        report.error((*loc, "encryption"), "without `keys` there are no tokens to encrypt")
    if "session" not in kinds and has_sessions(model, loc, report):
        report.error((*loc, "session"), f"preset {model.preset!r} has no use for it")
    for entry, kind in (
        ("secrets", "jwt"),
        ("keys", "jwt"),
        ("wallets", "signature"),
        ("api_keys", "api_key"),
    ):
        if getattr(model, entry) is not None and kind not in kinds:
            report.error((*loc, entry), f"preset {model.preset!r} has no use for it")
        if getattr(model, entry) == []:
            report.warning((*loc, entry), "empty: nobody can use it")
    if not schemes and not report.problems:
        report.error(loc, "no kind of credential is enabled: nobody could call")
    for_keys = None
    if signature is not None and wallets is not None and "api_key" in kinds:
        lowest = (model.api_key.min_version if model.api_key else None) or 0
        if not any(int(version) >= lowest for version in signature.versions if version.isdigit()):
            report.error((*loc, "api_key", "min_version"), "no version of a signature is as high")
        for_keys = SignatureScheme(
            replace(signature, min_version=max(signature.min_version, lowest))
        )
    return Compiled(tuple(schemes), sessions, for_keys)


def _has_jwt(model: schema.Project, has_sessions: bool, loc: Loc, report: Report) -> bool:
    wanted, other = ("secrets", "keys") if model.key_by == "secret" else ("keys", "secrets")
    if getattr(model, other) is not None:
        report.error((*loc, other), f"preset {model.preset!r} takes `{wanted}`")
    if getattr(model, wanted) is not None:
        return True
    if has_sessions or (model.api_keys is not None and "api_key" in (model.schemes or ())):
        return False
    if model.when_no_keys is None:
        report.error(loc, f"`{wanted}` is missing")
    elif model.when_no_keys == "deny":
        report.warning(loc, "no `keys`: every request is refused")
    return True


def _key_prefix(model: schema.Project) -> str:
    """Return what a bearer token starts with to be an API key, "" where none is one."""
    spec = model.api_key
    if spec is None or "bearer" not in (spec.read or ()):
        return ""
    return (spec.prefix or "") if model.api_keys is not None or model.wallets is not None else ""


def _jwt(
    name: str,
    model: schema.Project,
    registry: schema.Registry,
    bearers: BearerKinds,
    report: Report,
) -> JwtScheme:
    loc: Loc = ("projects", name)
    binding = Binding(
        model.url_claim,
        model.digest_claim,
        {path: tuple(fields) for path, fields in (model.digest_fields or {}).items()},
        model.unbound_paths == "allow",
    )
    if model.audience is not None and model.audience_suffix is not None:
        report.error((*loc, "audience_suffix"), "choose audience or audience_suffix")
    if model.key_by == "header" and not (model.key_header and model.key_claim):
        report.error(loc, "key_by: header needs key_header and key_claim")
    required = ("exp",) if model.required is None else tuple(model.required)
    if model.single_use and "exp" not in required:
        report.error((*loc, "required"), "single_use needs exp: it says how long to remember")
    if model.iat_window is not None and "iat" not in required:
        report.error((*loc, "required"), "iat_window needs iat")
    subject = model.subject_claim or "sub"
    claims = ClaimRules(
        milliseconds=model.time_unit == "ms",
        required=required,
        strings=tuple(filter(None, (*binding.claims, model.key_claim, subject))),
        leeway=_or(model.leeway, 0.0),
        iat_leeway=_or(model.iat_leeway, 5.0),
        iat_window=model.iat_window,
        max_lifetime=model.max_lifetime,
        lifetime_grace=_or(model.lifetime_grace, 1.0),
        max_ahead=model.max_ahead,
        issuer=None if model.issuer is None else frozenset(model.issuer),
        audience=None if model.audience is None else frozenset(model.audience),
        audience_suffix=model.audience_suffix and model.audience_suffix.lower(),
        ignore_audience=model.aud == "ignore",
    )
    ring = secret_ring if model.key_by == "secret" else key_ring
    rules = JwtRules(
        project=name,
        algorithms=frozenset(model.algorithms or ()),
        key_by=model.key_by or "kid",
        key_header=(model.key_header or "").lower(),
        key_claim=model.key_claim or "",
        types_first=bool(model.types_first),
        typ=frozenset(typ.lower() for typ in model.typ or ("JWT",)),
        subject_claim=subject,
        single_use=bool(model.single_use),
        revocable=model.revocation is not False,
        skew=registry.max_server_skew,
        max_credential=registry.bounds.max_credential,
        project_limit=model.max_nonces or owed.PROJECT_NONCES,
        subject_limit=model.max_subject_nonces or owed.SUBJECT_NONCES,
        claims=claims,
        binding=binding,
        narrowing=narrowing_of(model),
    )
    encryption = compile_encryption(model, registry, (*loc, "encryption"), report)
    return JwtScheme(rules, ring(model, loc, report), bearers, encryption=encryption)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _api_key(
    name: str,
    model: schema.Project,
    registry: schema.Registry,
    wallets: Wallets | None,
    bearers: BearerKinds,
    report: Report,
) -> ApiKeyScheme:
    loc: Loc = ("projects", name, "api_keys")
    static: dict[bytes, StaticKey] = {}
    ids: set[str] = set()
    for index, entry in enumerate(model.api_keys or ()):
        digest = bytes.fromhex(entry.digest.removeprefix("sha256:"))
        if any(entry.id == secret.id for secret in model.secrets or ()):
            report.error((*loc, index, "id"), "a secret has this id: they would be revoked as one")
        if digest in static or entry.id in ids:
            report.error((*loc, index), "an id or digest that occurs before in this list")
        ids.add(entry.id)
        policy = compile_policy(entry, (*loc, index), report)
        static[digest] = StaticKey(entry.id, entry.name, entry.not_before, entry.not_after, policy)
    spec = model.api_key
    read = set(spec.read or ()) if spec else set()
    if not read:
        report.error(loc, "`api_key: {read: […]}` must say where keys are read")
    if "bearer" in read and not bearers.key_prefix:
        report.error(loc, "keys behind Bearer need `api_key: {prefix: …}` to be told from tokens")
    return ApiKeyScheme(
        ApiKeyRules(
            project=name,
            static=static,
            in_path="path" in read,
            header=(spec.header or "X-Api-Key").lower() if spec and "header" in read else "",
            bearers=bearers if bearers.key_prefix else None,
            query=(spec.query or "api_key") if spec and "query" in read else "",
            max_credential=registry.bounds.max_credential,
            revocable=model.revocation is not False,
            wallets=wallets,
            prefix=(spec.prefix if spec else None) or PREFIX,
            project_records=model.max_records or owed.PROJECT_RECORDS,
            subject_records=model.max_subject_records or owed.SUBJECT_RECORDS,
        )
    )
