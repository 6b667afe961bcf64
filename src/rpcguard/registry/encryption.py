"""`encryption` in the registry: the keys that open encrypted tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard import keys
from rpcguard.registry import schema
from rpcguard.registry.report import Loc, Report

if TYPE_CHECKING:
    from rpcguard.schemes.jwe import DecryptionKey, Encryption


def compile_encryption(
    model: schema.Project, registry: schema.Registry, loc: Loc, report: Report
) -> Encryption | None:
    """Return what opens the encrypted tokens of a project, or None where it takes none."""
    if model.encryption is None:
        return None
    try:
        from rpcguard.schemes.jwe import Encryption  # noqa: PLC0415  joserfc is an extra
    except ModuleNotFoundError:
        report.error(loc, "joserfc is missing: install rpcguard[jwe]")
        return None
    opening: list[DecryptionKey] = []
    known: set[str] = set()
    default = model.secret_encoding or "utf8"
    for index, entry in enumerate(model.encryption.keys):
        place = (*loc, "keys", index)
        if entry.kid in known:
            report.error(place, "a kid that occurs before in this list")
        known.add(entry.kid)
        try:
            opening.append(_key(entry, default))
        except ValueError as error:
            field = "private_key" if entry.secret is None else "secret"
            report.error((*place, field), str(error))
    limit = registry.bounds.max_credential
    return Encryption(opening, limit, required=bool(model.encryption.required))


def _key(entry: schema.EncryptionKey, default: str) -> DecryptionKey:
    from rpcguard.schemes.jwe import private_key, shared_key  # noqa: PLC0415  see above

    dates = {"not_before": entry.not_before, "not_after": entry.not_after}
    if entry.secret is not None:
        text = entry.secret.get_secret_value()
        return shared_key(entry.kid, keys.secret_bytes(text, entry.encoding or default), **dates)
    pem = entry.private_key.get_secret_value() if entry.private_key is not None else ""
    return private_key(entry.kid, entry.alg, pem.encode(), **dates)
