"""
API keys: opaque secrets in the path, in a header, behind a bearer prefix, or in the query.

Static keys stand in the registry, issued ones in the backend; both hold digests only. Keys have
high entropy, so a digest needs no salt, and looking it up tells an attacker nothing about the key.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rpcguard import owed
from rpcguard.errors import AuthError
from rpcguard.owed import Owed, Record
from rpcguard.policy import Policy
from rpcguard.principal import Principal
from rpcguard.schemes.base import BearerKinds, Claim, Incoming, Proof
from rpcguard.schemes.wallets import Wallets

PREFIX = "nod_"  # of issued keys (Nodius)
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True, slots=True)
class StaticKey:
    """One key of the registry; see `rpcguard.keys.Key` for the members."""

    kid: str
    name: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    allow: Policy | None = None

    def active(self, now: float) -> bool:
        """Return whether the key counts at *now*, Unix seconds."""
        return (self.not_before is None or self.not_before <= now) and (
            self.not_after is None or now < self.not_after
        )


@dataclass(frozen=True, slots=True)
class ApiKeyRules:
    """
    How one project reads API keys.

    Attributes:
        project: Name of the project.
        static: Keys by the SHA-256 of their text.
        in_path: The one segment behind the matched prefix is a key.
        header: Lower-case header field, or "".
        bearers: Which bearer tokens are keys, or None where keys are read elsewhere alone.
        query: Name of the query parameter, or "".
        max_credential: Longest key in characters.
        revocable: Ask the backend whether the key is revoked.
        wallets: Who may hold an issued key; None where keys are not issued.
        prefix: What issued keys start with.
        project_records: Live records that the project may hold.
        subject_records: Live records that one subject may hold.
    """

    project: str
    static: Mapping[bytes, StaticKey]
    in_path: bool = False
    header: str = ""
    bearers: BearerKinds | None = None
    query: str = ""
    max_credential: int = 8192
    revocable: bool = True
    wallets: Wallets | None = None
    prefix: str = PREFIX
    project_records: int = owed.PROJECT_RECORDS
    subject_records: int = owed.SUBJECT_RECORDS


class ApiKeyScheme:
    """
    The `api_key` scheme of one project; see `Scheme`.

    Attributes:
        rules: How it reads keys; logs are redacted by them.
    """

    name = "api_key"

    def __init__(self, rules: ApiKeyRules) -> None:
        self.rules = rules
        self._bearers_alone = not (rules.in_path or rules.header or rules.query)
        self._by_kid = {key.kid: key for key in rules.static.values()}
        self.challenge = "Bearer" if rules.bearers else "ApiKey"
        names = [rules.header, "authorization" if rules.bearers else ""]
        self.fields = frozenset(filter(None, names))
        places = (
            ("rpcApiKeyHeader", {"type": "apiKey", "in": "header", "name": rules.header}),
            ("rpcApiKeyBearer", {"type": "http", "scheme": "bearer" if rules.bearers else ""}),
            ("rpcApiKeyQuery", {"type": "apiKey", "in": "query", "name": rules.query}),
        )
        self.security: tuple[Mapping[str, dict[str, Any]], ...] = tuple(
            {name: scheme} for name, scheme in places if all(scheme.values())
        )

    def present(self, incoming: Incoming) -> bool:
        """A key in any of the places where this project reads one, or a broken bearer."""
        if self._bearers_alone and incoming.bearer is None:
            return False
        return bool(self._found(incoming))

    def wants_body(self, incoming: Incoming) -> bool:  # noqa: ARG002 - `Scheme` asks with it
        """An API key covers nothing of the request."""
        return False

    def issue(self, subject: str, now: float, expires_at: float | None) -> tuple[str, Record]:
        """
        Return a new key for *subject*, and the record that takes the place of the previous one.

        Raises:
            LookupError: If the project issues no keys.
        """
        rules = self.rules
        if rules.wallets is None:
            raise LookupError(f"project {rules.project!r} issues no API keys")
        shard = owed.bucket(rules.project, subject)
        text = f"{rules.prefix}{shard:02x}{secrets.token_hex(24)}"
        name = owed.api_key_name(rules.project, text)
        kid = name.hex()[:12]
        return text, Record(
            name=name,
            slot=owed.api_key_slot(rules.project, subject),
            value=json.dumps({"subject": subject, "kid": kid, "expires_at": expires_at}),
            issued_at=now,
            expires_at=expires_at,
            revocable=(
                owed.subject_name(rules.project, subject),
                owed.key_name(rules.project, kid),
                owed.key_name(rules.project, subject),  # the wallet's
            ),
            project=rules.project,
            subject=subject,
            bucket=shard,
            project_limit=rules.project_records,
            subject_limit=rules.subject_records,
        )

    def _found(self, incoming: Incoming) -> list[str]:
        rules = self.rules
        found = []
        if rules.in_path and incoming.rest and "/" not in incoming.rest:
            found.append(incoming.rest)
        if rules.header:
            found += incoming.fields.get(rules.header, [])
        bearer = incoming.bearer
        if rules.bearers and bearer is not None and rules.bearers.owner(bearer) == self.name:
            found.append(bearer)
        if rules.query:
            query = incoming.raw_target.partition("?")[2]
            pairs = (pair.partition("=") for pair in query.split("&"))
            found += [value for name, _, value in pairs if name == rules.query]
        return found

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | Claim:  # noqa: ARG002 - a key is never fresh
        """Look the key up by digest; see `Scheme.prove`."""
        rules, trace = self.rules, incoming.trace
        found = self._found(incoming)
        if trace is not None:
            trace.note("form", f"one API key; limit {rules.max_credential} characters")
        if len(found) != 1:
            raise AuthError("malformed_credentials", detail="not one well-formed API key")
        text = found[0]
        if len(text) > rules.max_credential or not _KEY.fullmatch(text):
            raise AuthError("malformed_credentials", detail="the API key's form")
        if trace is not None:
            trace.note("key", "by its digest")
        key = rules.static.get(hashlib.sha256(text.encode("ascii")).digest())
        if key is None and rules.wallets is not None and text.startswith(rules.prefix):
            name = owed.api_key_name(rules.project, text)
            shard = owed.named_bucket(text, rules.prefix)
            questions = Owed(rules.project, record=name, bucket=shard)
            conclude = functools.partial(self._conclude, rules.wallets)
            return Claim(questions, conclude, rules.wallets.needs_body)
        if key is None or not key.active(now):
            raise AuthError("invalid_credentials", cause="unknown_kid")
        principal = Principal(
            key.kid,
            rules.project,
            self.name,
            name=key.name,
            key_id=key.kid,
            expires_at=key.not_after,
        )
        names = (
            (owed.subject_name(rules.project, key.kid), owed.key_name(rules.project, key.kid))
            if rules.revocable
            else ()
        )
        policies = (key.allow,) if key.allow is not None else ()
        return Proof(principal, Owed(rules.project, key.kid, 0.0, names), policies)

    def _conclude(self, wallets: Wallets, value: str) -> Proof:
        """Return whose issued key it is; a key is worth what its wallet is worth now."""
        record = json.loads(value)
        subject = record["subject"]
        principal = Principal(
            subject,
            self.rules.project,
            self.name,
            name=wallets.find(subject).name,
            key_id=record["kid"],
            expires_at=record["expires_at"],
        )
        return Proof(principal, Owed(), wallets.policies(subject))

    def policies(self, principal: Principal, now: float) -> tuple[Policy, ...]:
        """What applies to the holder of this key; see `Scheme.policies`."""
        key = self._by_kid.get(principal.key_id or "")
        if key is not None and key.active(now) and principal.subject == key.kid:
            return (key.allow,) if key.allow is not None else ()
        if key is not None or self.rules.wallets is None:
            raise AuthError("invalid_credentials", cause="unknown_kid", detail="key not active")
        return self.rules.wallets.policies(principal.subject)
