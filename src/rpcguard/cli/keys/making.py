"""What `rpcguard keys add` makes for one project: the entry, and the files that belong to it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from rpcguard import keys
from rpcguard.cli.keys import material
from rpcguard.cli.opened import STDIN, RefusalError
from rpcguard.registry import schema
from rpcguard.registry.files import Reading, UnreadableError

DIRECTORY = "keys"  # below the registry's own
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What to add.

    Attributes:
        type: A name of `material.TYPES`; None takes what suits the project.
        kid: Its id; None makes a UUID.
        name: What people call it, or None.
        alg: Its algorithm; None takes the usual one of its type.
        bits: Size of an RSA modulus.
        public_key: File with a public key to register instead of a fresh one, or None.
        out: Where the private part goes, "-" for standard output; None chooses a file.
        not_before: When it begins to count, RFC 3339, or None.
        not_after: When it ends, RFC 3339, or None.
    """

    type: str | None = None
    kid: str | None = None
    name: str | None = None
    alg: str | None = None
    bits: int = material.RSA_BITS
    public_key: Path | None = None
    out: str | None = None
    not_before: str | None = None
    not_after: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """
    What was made.

    Attributes:
        member: The list of the project that the entry goes into.
        type: The type of the key.
        kid: Its id.
        alg: Its algorithm; "" for an API key.
        entry: The members of the entry, in their order.
        private: Text of the private part, "" where there is none.
        private_file: Where that goes; None for standard output alone.
        public: Text of a public key to be written, or "".
        public_file: Where that goes, or None.
    """

    member: str
    type: str
    kid: str
    alg: str
    entry: dict[str, str]
    private: str = field(default="", repr=False)
    private_file: Path | None = None
    public: str = ""
    public_file: Path | None = None


def make(base: Path, project: str, model: schema.Project, wanted: Wanted) -> Made:
    """
    Return the entry that *wanted* describes; nothing is written.

    Args:
        base: Directory of the registry.
        project: Name of the project.
        model: The project.
        wanted: What to add.

    Raises:
        RefusalError: If the project takes no such key.
    """
    type_, alg = _choice(project, model, wanted)
    kid = wanted.kid or str(uuid.uuid4())
    stem = (
        kid if _FILE_NAME.fullmatch(kid) else sha256(kid.encode(errors="replace")).hexdigest()[:16]
    )
    stem = f"{project}-{stem}"
    if type_ == material.API_KEY:
        text, digest = material.api_key(_prefix(model))
        out = _private_file(base, f"{stem}.key", wanted.out)
        entry = _entry(wanted, {"id": kid}, {"digest": digest})
        return Made("api_keys", type_, kid, "", entry, text + "\n", out)
    if type_ == material.SECRET:
        return _secret(base, stem, model, wanted, kid, alg)
    head = {"kid": kid, **_alg(model, alg, keys.RSA_ALGORITHMS)}
    public_file = base / DIRECTORY / f"{stem}.pub.pem"
    if wanted.public_key is not None:
        return _registered(base, public_file, wanted, head, alg, type_)
    made = material.pair(alg, wanted.bits)
    out = _private_file(base, f"{stem}.pem", wanted.out)
    entry = _entry(wanted, head, {"public_key": _reference(base, public_file)})
    return Made("keys", type_, kid, alg, entry, made.private, out, made.public, public_file)


def _prefix(model: schema.Project) -> str:
    """Return what tells an API key from a token, where both stand behind `Bearer`."""
    spec = model.api_key
    return (spec.prefix or "") if spec is not None and "bearer" in (spec.read or ()) else ""


def _alg(model: schema.Project, alg: str, kin: frozenset[str]) -> dict[str, str]:
    """Return the entry's `alg`, where the key's type leaves a choice among its *kin*."""
    choice = kin.intersection(model.algorithms or ())
    return {"alg": alg} if alg in kin and len(choice) > 1 else {}


def _secret(
    base: Path, stem: str, model: schema.Project, wanted: Wanted, kid: str, alg: str
) -> Made:
    text = material.secret(alg, model.secret_encoding or "utf8", model.secret_bytes)
    out = _private_file(base, f"{stem}.secret", None if wanted.out == STDIN else wanted.out)
    assert out is not None  # the registry names it
    reference = _reference(base, out)
    if model.key_by == "secret":
        member, head, body = "secrets", {"id": kid}, {"secret": reference}
    elif model.key_by == "header":
        member, head, body = "keys", {"auth_key": kid}, {"enc_key": reference}
    else:
        member, head = "keys", {"kid": kid, **_alg(model, alg, frozenset(keys.HMAC_BYTES))}
        body = {"secret": reference}
    entry = _entry(wanted, head, body)
    return Made(member, material.SECRET, kid, alg, entry, text + "\n", out)


def _registered(
    base: Path, public_file: Path, wanted: Wanted, head: dict[str, str], alg: str, type_: str
) -> Made:
    assert wanted.public_key is not None
    text = _read_pem(wanted.public_key)
    own = wanted.public_key.absolute()
    copied: Path | None = public_file
    if own.is_relative_to(base.absolute()):
        text, copied = "", None
    entry = _entry(wanted, head, {"public_key": _reference(base, copied or own)})
    return Made("keys", type_, head["kid"], alg, entry, public=text, public_file=copied)


def _read_pem(file: Path) -> str:
    try:
        data, _ = Reading().read(str(file.absolute()), keys.PEM_BYTES)
        keys.public_key("", None, data)
        return data.decode("ascii")
    except UnreadableError as error:
        raise RefusalError(f"{file}: {error}") from None
    except UnicodeDecodeError:
        raise RefusalError(f"{file}: not PEM text") from None
    except ValueError as error:
        raise RefusalError(f"{file}: {error}") from None


def _choice(project: str, model: schema.Project, wanted: Wanted) -> tuple[str, str]:
    """Return type and algorithm: as wanted, else the first that the project takes."""
    if wanted.type == material.API_KEY:
        return material.API_KEY, ""
    if "jwt" not in (model.schemes or ()):
        raise RefusalError(
            f"project {project!r} has no `keys` and no `secrets`: try --type api-key"
        )
    allowed = set(model.algorithms or ())
    types = material.TYPES
    if model.key_by in ("secret", "header"):
        types = {material.SECRET: types[material.SECRET]}
    if wanted.public_key is not None:
        own = keys.public_key("", None, _read_pem(wanted.public_key).encode()).alg
        # an elliptic curve is for one algorithm, an RSA key for any of its type
        types = {
            name: algs if own in keys.RSA_ALGORITHMS else (own,)
            for name, algs in types.items()
            if own in algs
        }
    fits = {name: [alg for alg in algs if alg in allowed] for name, algs in types.items()}
    for name, algs in fits.items():
        if wanted.type in (None, name) and algs and wanted.alg in (None, *algs):
            return name, wanted.alg or algs[0]
    kinds = [name for name, algs in fits.items() if algs]
    raise RefusalError(
        f"project {project!r} takes {', '.join(sorted(allowed))}:"
        f" no such key fits; types that do: {', '.join(kinds) or 'none'}"
    )


def _entry(wanted: Wanted, head: dict[str, str], body: dict[str, str]) -> dict[str, str]:
    dates = {"not_before": wanted.not_before, "not_after": wanted.not_after}
    whole = {**head, "name": wanted.name, **body, **dates}
    return {key: value for key, value in whole.items() if value is not None}


def _private_file(base: Path, name: str, out: str | None) -> Path | None:
    if out == STDIN:
        return None
    return base / DIRECTORY / name if out is None else Path(out).absolute()


def _reference(base: Path, file: Path) -> str:
    place = file.absolute()
    root = base.absolute()
    return f"${{file:{place.relative_to(root) if place.is_relative_to(root) else place}}}"
