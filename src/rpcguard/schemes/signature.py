"""
A signature by the caller's wallet over each request (Nodius): Ed25519 over a payload that a preset
spells out. The signature is checked before anything is remembered, so that nobody can spend
another's nonces or fill the store without a key.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from rpcguard import owed
from rpcguard.errors import AuthError
from rpcguard.keys import verify_ed25519
from rpcguard.policy import Policy
from rpcguard.principal import Principal
from rpcguard.request import Request
from rpcguard.schemes.base import NEED_BODY, Incoming, NeedBody, Proof
from rpcguard.schemes.signature_rules import KEY_BYTES, SIGNATURE_BYTES, SignatureRules, Version
from rpcguard.schemes.wallets import Wallet

KNOWN_SIGNERS = 4096  # wallets of a project whose keys are not read again
KNOWN_TIMES = 256  # timestamps, likewise; those within a window and more
_VERSION = re.compile(r"0|[1-9][0-9]{0,2}")
_MAX_TIMESTAMP = 16  # digits; no clock counts further


class _Signer(NamedTuple):
    """What does not change between two requests of one wallet."""

    public: bytes
    nonce_name: Callable[[str], bytes]
    revocable: tuple[bytes, ...]
    wallet: Wallet | None  # None where it is not listed
    principal: Principal
    policies: tuple[Policy, ...]


class SignatureScheme:
    """The `signature` scheme of one project; see `Scheme`."""

    name = "signature"
    challenge = "Signature"

    def __init__(self, rules: SignatureRules) -> None:
        self._rules = rules
        self._own = (rules.pubkey, rules.signature, rules.timestamp, rules.nonce)
        self._four: Callable[[Mapping[str, str]], tuple[str, str, str, str]]
        self._four = operator.itemgetter(*self._own)
        self._any_of = frozenset(self._own)
        self._accepted = {
            text: (int(text), version)
            for text, version in rules.versions.items()
            if text.isdecimal() and int(text) >= rules.min_version
        }
        # One wallet signs many requests; what is not a key is read anew, and refused, each time.
        self._signer = functools.lru_cache(KNOWN_SIGNERS)(self._read_signer)
        # All requests of one second have one timestamp; what is none is read anew too.
        self._time = functools.lru_cache(KNOWN_TIMES)(self._read_time)
        echoed = {name for version in rules.versions.values() for name, _ in version.echo}
        self.fields = frozenset({*self._own, *echoed, *filter(None, [rules.version_header])})
        self.security: tuple[Mapping[str, dict[str, Any]], ...] = (
            {
                "rpc" + "".join(part.title() for part in name.split("-")): {
                    "type": "apiKey",
                    "in": "header",
                    "name": name,
                }
                for name in self._own
            },
        )

    def present(self, incoming: Incoming) -> bool:
        """Any one of the four headers."""
        return not self._any_of.isdisjoint(incoming.fields)

    def wants_body(self, incoming: Incoming) -> bool:  # noqa: ARG002 - `Scheme` asks with it
        """The payload covers the body's hash."""
        return True

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        """Verify the signed request; see `Scheme.prove`."""
        rules, trace = self._rules, incoming.trace
        if trace is not None:
            trace.note("form", ", ".join(self._own))
        try:
            (text,), (signed,), (timestamp,), (nonce,) = map(incoming.fields.__getitem__, self._own)
        except (KeyError, ValueError):  # one is missing or repeated; which, is told at its turn
            text = signed = timestamp = nonce = ""
        text = text or incoming.single(rules.pubkey)
        try:
            signer = self._signer(text)
            signature = rules.decode(signed or incoming.single(rules.signature), SIGNATURE_BYTES)
        except ValueError as error:
            raise AuthError("malformed_credentials", detail=f"key or signature: {error}") from None
        timestamp = timestamp or incoming.single(rules.timestamp)
        try:
            issued_at = self._time(timestamp)
        except ValueError:
            raise AuthError("malformed_credentials", detail="the timestamp's form") from None
        nonce = nonce or incoming.single(rules.nonce)
        self._check_nonce(nonce, incoming)
        if trace is not None:
            trace.note("version", f"{rules.min_version} or later")
        wanted = rules.default_version
        if rules.version_header in incoming.fields:
            wanted = incoming.single(rules.version_header)
        number, version = self._accepted.get(wanted) or self._no_version(wanted)
        if trace is not None and version.echo:
            trace.note("binding", ", ".join(f"{name} is the {word}" for name, word in version.echo))
        if version.echo:
            self._check_echo(version, incoming)
        if trace is not None:
            trace.time("timestamp", issued_at - now, f"limit {rules.window:g} s either way")
        if now - issued_at > rules.window and not standing:
            raise AuthError("expired", detail=f"timestamp {now - issued_at:.3f} s behind")
        if issued_at - now > rules.window:
            raise AuthError("not_yet_valid", detail=f"timestamp {issued_at - now:.3f} s ahead")
        body = incoming.request.body
        if body is None:
            return NEED_BODY
        payload = version.fill(
            incoming.request.method,
            incoming.raw_path,
            incoming.raw_target,
            timestamp,
            nonce,
            hashlib.sha256(body).hexdigest(),
        )
        if trace is not None:
            trace.note("signature", f"Ed25519 over {version.payload}")
        if not verify_ed25519(signer.public, payload.encode("utf-8", "surrogatepass"), signature):
            raise AuthError("invalid_credentials", cause="bad_signature")
        if trace is not None:
            trace.note("wallet", "may call, with this version")
        return self._proof(text, signer, number, nonce, issued_at)

    def usual(
        self,
        fields: Mapping[str, str],
        request: Request,
        path: str,
        target: str,
        now: float,
    ) -> Proof | NeedBody | None:
        """
        Return what `prove` would for the usual request, in one go; None for any other, and for
        every one that is to be refused before its signature is looked at: `prove` tells why.

        Which wallets are listed makes no difference until then: nobody learns it by the time.

        Args:
            fields: The header fields of this scheme, each of which the request has once or never.
            request: A request that nothing but its signature proves or binds.
            path: See `Incoming.raw_path`.
            target: See `Incoming.raw_target`.
            now: Unix seconds.

        Raises:
            AuthError: If the signature is not the wallet's, or the wallet may not call.
        """
        rules = self._rules
        try:
            text, signed, timestamp, nonce = self._four(fields)
            signer = self._signer(text)
            signature = rules.decode(signed, SIGNATURE_BYTES)
            issued_at = self._time(timestamp)
            wanted = fields.get(rules.version_header, rules.default_version)
            number, version = self._accepted[wanted]
        except (KeyError, ValueError):
            return None
        if not abs(now - issued_at) <= rules.window or not rules.nonce_form.fullmatch(nonce):
            return None
        if rules.nonce_refused is not None and rules.nonce_refused.match(nonce):
            return None
        if request.joined and "," in nonce:
            return None
        method, body = request.method, request.body
        for name, word in version.echo:
            real = method if word == "method" else path if word == "path" else target
            if fields.get(name) != real:
                return None
        if body is None:
            return NEED_BODY
        hashed = hashlib.sha256(body).hexdigest()
        payload = version.fill(method, path, target, timestamp, nonce, hashed)
        if not verify_ed25519(signer.public, payload.encode("utf-8", "surrogatepass"), signature):
            raise AuthError("invalid_credentials", cause="bad_signature")
        return self._proof(text, signer, number, nonce, issued_at)

    def _read_signer(self, text: str) -> _Signer:
        rules = self._rules
        public = rules.decode(text, KEY_BYTES)
        names = owed.subject_name(rules.project, text), owed.key_name(rules.project, text)
        wallet = rules.wallets.get(text)
        name = None if wallet is None else wallet.name
        return _Signer(
            public,
            owed.namer("nonce", rules.project, text),
            names if rules.revocable else (),
            wallet,
            Principal(text, rules.project, self.name, name=name, key_id=text),
            () if wallet is None or wallet.allow is None else (wallet.allow,),
        )

    def _read_time(self, timestamp: str) -> float:
        """Return the Unix seconds that *timestamp* spells."""
        # digits, whatever an operator's own pattern lets through: "nan" is in every window
        digits = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_TIMESTAMP
        if not (digits and self._rules.timestamp_form.fullmatch(timestamp)):
            raise ValueError("not a timestamp")  # so that nothing that callers make up is kept
        return float(timestamp)

    def _check_nonce(self, nonce: str, incoming: Incoming) -> None:
        rules = self._rules
        if not rules.nonce_form.fullmatch(nonce):
            raise AuthError("malformed_credentials", detail="the nonce's form")
        if rules.nonce_refused is not None and rules.nonce_refused.match(nonce):
            raise AuthError("malformed_credentials", detail="a nonce that could move the fields")
        if incoming.request.joined and "," in nonce:
            raise AuthError("malformed_credentials", detail="a comma may join two nonces")

    def _no_version(self, text: str) -> NoReturn:
        if text not in self._rules.versions and not _VERSION.fullmatch(text):
            raise AuthError("malformed_credentials", detail="the version's form")
        raise AuthError("unsupported_algorithm", detail="version not accepted here")

    def _check_echo(self, version: Version, incoming: Incoming) -> None:
        method, path, target = incoming.request.method, incoming.raw_path, incoming.raw_target
        for name, word in version.echo:
            real = method if word == "method" else path if word == "path" else target
            # there once and the same, as it should be; else `single` tells what it is
            if incoming.fields.get(name) != [real] and incoming.single(name) != real:
                raise AuthError("invalid_binding", detail=f"{name} is not the request's {word}")

    def _proof(
        self, text: str, signer: _Signer, number: int, nonce: str, issued_at: float
    ) -> Proof:
        rules = self._rules
        if signer.wallet is None:
            raise AuthError("not_listed")
        if number < signer.wallet.min_version:
            raise AuthError("unsupported_algorithm", detail="this wallet must use a later version")
        ends = issued_at + rules.window + rules.skew
        spent = owed.make_nonce(
            (signer.nonce_name(nonce), ends, rules.project_limit, rules.subject_limit)
        )
        questions = owed.make_owed(
            (rules.project, text, issued_at, signer.revocable, spent, None, None, None)
        )
        return Proof(signer.principal, questions, signer.policies)

    def policies(self, principal: Principal, now: float) -> tuple[Policy, ...]:  # noqa: ARG002 - a wallet has no dates
        """What applies to this wallet; see `Scheme.policies`."""
        return self._rules.wallets.policies(principal.subject)
