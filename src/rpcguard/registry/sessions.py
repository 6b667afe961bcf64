"""`session` in the registry: what issues a project's sessions, and what verifies them."""

from __future__ import annotations

from collections.abc import Callable

from rpcguard import keys
from rpcguard.keys import KeyRing
from rpcguard.owed import PROJECT_NONCES, PROJECT_RECORDS, SUBJECT_NONCES, SUBJECT_RECORDS
from rpcguard.registry import schema
from rpcguard.registry.report import Loc, Report
from rpcguard.schemes.base import BearerKinds
from rpcguard.schemes.challenge import Challenges
from rpcguard.schemes.claims import ClaimRules
from rpcguard.schemes.jwt import JwtScheme
from rpcguard.schemes.jwt_rules import JwtRules
from rpcguard.schemes.narrowing import Narrowing
from rpcguard.schemes.session import SessionScheme
from rpcguard.schemes.wallets import Wallets
from rpcguard.sessions import ISSUER, TYP, Sessions, SigningSecret, header_of

TTL = 3600.0  # seconds: "Expires after 1 hour" (Nodius)
REFRESH_TTL = 30 * 86400.0  # seconds
SHORT_FORM_ID = "session"  # id of the secret in `session: {secret: …}`
SERVICE = "rpcguard"


def has_sessions(model: schema.Project, loc: Loc, report: Report) -> bool:
    """Return whether the project has secrets to sign sessions with."""
    session = model.session
    if session is None or session.secrets is not None or session.secret is not None:
        return session is not None
    if (session.ttl, session.refresh, session.refresh_ttl) != (None, None, None):
        report.error((*loc, "session"), "`secrets` is missing: sessions are signed with them")
    return False


def compile_sessions(
    name: str,
    model: schema.Project,
    registry: schema.Registry,
    wallets: Wallets | None,
    decode: Callable[[str, int], bytes],
    report: Report,
) -> Sessions:
    """Return what issues the sessions of project *name*."""
    session = model.session or schema.Session.model_construct()
    loc: Loc = ("projects", name, "session")
    entries = list(session.secrets or ())
    if session.secret is not None:
        entries.append(
            schema.SessionSecret.model_construct(id=SHORT_FORM_ID, secret=session.secret)
        )
    signing: list[SigningSecret] = []
    service = session.service or SERVICE
    ids = {each.id for each in (*(model.secrets or ()), *(model.api_keys or ()))}
    ids.update(each.kid or each.auth_key or "" for each in model.keys or ())
    for index, entry in enumerate(entries):
        place = (*loc, "secrets", index) if session.secrets else (*loc, "secret")
        if any(entry.id == other.key.kid for other in signing):
            report.error(place, "an id that occurs before in this list")
        if entry.id in ids:
            report.warning(place, "a key of the project has this id: they are revoked as one")
        try:
            raw = keys.secret_bytes(entry.secret.get_secret_value(), entry.encoding or "utf8")
            key = keys.secret_key(
                entry.id,
                "HS256",
                raw,
                name=entry.name,
                not_before=entry.not_before,
                not_after=entry.not_after,
            )
        except ValueError as error:
            report.error(place, str(error).partition(";")[0])  # there is no `allow_weak` here
            continue
        signing.append(SigningSecret(key, raw, Challenges(name, service, raw)))
    for member, value in (("ttl", session.ttl), ("refresh_ttl", session.refresh_ttl)):
        if value is not None and value < 1:
            report.error((*loc, member), "must be a second or more")
    rotating = session.refresh == "rotating"
    return Sessions(
        project=name,
        audience=model.id or name,
        secrets=tuple(signing),
        ttl=int(TTL if session.ttl is None else session.ttl),
        refresh_ttl=int(REFRESH_TTL if session.refresh_ttl is None else session.refresh_ttl)
        if rotating
        else None,
        wallets=wallets,
        decode=decode,
        skew=registry.max_server_skew,
        project_limit=model.max_nonces or PROJECT_NONCES,
        subject_limit=model.max_subject_nonces or SUBJECT_NONCES,
        project_records=model.max_records or PROJECT_RECORDS,
        subject_records=model.max_subject_records or SUBJECT_RECORDS,
    )


def session_headers(sessions: Sessions) -> frozenset[str]:
    """Return the first parts of the tokens that *sessions* signs: they never vary."""
    return frozenset(header_of(sessions.sign({}, secret)) for secret in sessions.secrets)


def session_scheme(
    sessions: Sessions, registry: schema.Registry, bearers: BearerKinds, narrowing: Narrowing
) -> SessionScheme:
    """Return what verifies the tokens of *sessions*, and lets claims narrow them."""
    rules = JwtRules(
        project=sessions.project,
        algorithms=frozenset({"HS256"}),
        typ=frozenset({TYP}),
        subject_is_key=sessions.wallets is not None,
        skew=sessions.skew,
        max_credential=registry.bounds.max_credential,
        claims=ClaimRules(
            required=("iss", "aud", "sub", "jti", "iat", "exp"),
            issuer=frozenset({ISSUER}),
            audience=frozenset({sessions.audience}),
        ),
        narrowing=narrowing,
    )
    tokens = JwtScheme(rules, KeyRing(s.key for s in sessions.secrets), bearers, name="session")
    return SessionScheme(tokens, bearers, sessions.wallets)
