"""The keys and secrets of a project, loaded, and refused where they are weak."""

from __future__ import annotations

from rpcguard import keys
from rpcguard.keys import Key, KeyRing
from rpcguard.registry import schema
from rpcguard.registry.fields import SecretText
from rpcguard.registry.policies import compile_policy
from rpcguard.registry.report import Loc, Report
from rpcguard.schemes.jwt_keys import MAX_SECRETS

_FOREVER = float("inf")


def secret_ring(model: schema.Project, loc: Loc, report: Report) -> KeyRing:
    """Return the ring of `secrets`: one algorithm, every active one is tried."""
    choices = sorted(set(model.algorithms or ()) & set(keys.HMAC_BYTES))
    if len(choices) != 1:
        report.error((*loc, "secrets"), "algorithms must name one of HS256, HS384 and HS512")
    algorithm = choices[0] if choices else "HS256"
    entries = model.secrets or []
    ring = [
        key
        for index, entry in enumerate(entries)
        if (
            key := _secret(
                model, entry, entry.id, algorithm, entry.secret, (*loc, "secrets", index), report
            )
        )
    ]
    _refuse_duplicates([entry.id for entry in entries], (*loc, "secrets"), "id", report)
    if _most_at_once(ring) > MAX_SECRETS:
        report.error((*loc, "secrets"), f"more than {MAX_SECRETS} secrets are active at once")
    return KeyRing(ring)


def key_ring(model: schema.Project, loc: Loc, report: Report) -> KeyRing:
    """Return the ring of `keys`: found by `kid`, or by the auth key that the caller names."""
    entries = model.keys or []
    limit = model.max_keys
    if limit is not None and len(entries) > limit:
        report.error(
            (*loc, "keys"),
            f"project {loc[-1]!r} has {len(entries)} keys, at most {limit} are allowed",
        )
    _refuse_duplicates(
        [entry.kid or entry.auth_key or "" for entry in entries], (*loc, "keys"), "kid", report
    )
    built = (
        _key(model, entry, (*loc, "keys", index), report) for index, entry in enumerate(entries)
    )
    return KeyRing(key for key in built if key is not None)


def _key(model: schema.Project, entry: schema.Key, loc: Loc, report: Report) -> Key | None:
    allowed = set(model.algorithms or ())
    kid = entry.kid or entry.auth_key or ""
    if (model.key_by == "header") != (entry.auth_key is not None):
        report.error(loc, "auth_key and enc_key belong to presets that name the key in a header")
        return None
    if entry.alg is not None and entry.alg not in allowed:
        report.error((*loc, "alg"), f"this project takes {', '.join(sorted(allowed))}")
        return None
    secret = entry.secret if entry.enc_key is None else entry.enc_key
    if secret is not None:
        choices = [entry.alg] if entry.alg else sorted(allowed & set(keys.HMAC_BYTES))
        if len(choices) != 1:
            report.error(loc, "alg is required: HS256, HS384 or HS512")
            return None
        return _secret(model, entry, kid, choices[0], secret, loc, report)
    try:
        key = keys.public_key(
            kid,
            entry.alg,
            (entry.public_key or "").encode(),
            name=entry.name,
            not_before=entry.not_before,
            not_after=entry.not_after,
            allow=compile_policy(entry, loc, report),
        )
    except ValueError as error:
        report.error((*loc, "public_key"), str(error))
        return None
    rsa = allowed & keys.RSA_ALGORITHMS
    if entry.alg is None and key.alg in rsa and len(rsa) > 1:
        report.error(loc, f"alg is required: an RSA key can be for {', '.join(sorted(rsa))}")
    elif key.alg not in allowed:
        report.error((*loc, "public_key"), f"a key for {', '.join(sorted(allowed))} is needed here")
    return key


def _secret(
    model: schema.Project,
    entry: schema.Secret | schema.Key,
    kid: str,
    algorithm: str,
    secret: SecretText,
    loc: Loc,
    report: Report,
) -> Key | None:
    encoding = entry.encoding or model.secret_encoding or "utf8"
    try:
        raw = keys.secret_bytes(secret.get_secret_value(), encoding, model.secret_bytes)
        key = keys.secret_key(
            kid,
            algorithm,
            raw,
            allow_weak=bool(entry.allow_weak),
            name=entry.name,
            not_before=entry.not_before,
            not_after=entry.not_after,
            allow=compile_policy(entry, loc, report),
        )
    except ValueError as error:
        report.error(loc, str(error))
        return None
    if entry.allow_weak and len(raw) < keys.HMAC_BYTES[algorithm]:
        report.warning(loc, f"a weak secret of {len(raw)} bytes is allowed")
    return key


def _refuse_duplicates(names: list[str], loc: Loc, what: str, report: Report) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            report.error((*loc, index), f"a {what} that occurs before in this list")
        seen.add(name)


def _most_at_once(ring: list[Key]) -> int:
    starts = [key.not_before or 0.0 for key in ring]
    return max(
        (
            sum(
                (key.not_before or 0.0)
                <= start
                < (_FOREVER if key.not_after is None else key.not_after)
                for key in ring
            )
            for start in starts
        ),
        default=0,
    )
