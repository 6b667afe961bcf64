"""
JWTs in the Bearer scheme (RFC 7519, 6750, 8725): `meganode`, `allthatnode`, `oppiwallet`, `bearer`,
`engine-api`.

What does not change between two requests with one token (signature, types, audience, the names that
can be revoked) is worked out once and kept in a bounded cache, keyed by the token's SHA-256. What
can change (time, key dates, bindings to the request) is checked every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rpcguard import owed, strict_json
from rpcguard.errors import AuthError
from rpcguard.keys import Key, KeyRing
from rpcguard.owed import Revocation
from rpcguard.pending import Pending
from rpcguard.policy import Policy
from rpcguard.principal import Principal
from rpcguard.schemes.base import NEED_BODY, BearerKinds, Incoming, NeedBody, Proof
from rpcguard.schemes.claims import NEVER, Times
from rpcguard.schemes.jws import Jws, parse
from rpcguard.schemes.jwt_keys import signing_key
from rpcguard.schemes.jwt_rules import JwtRules
from rpcguard.schemes.remembered import Remembered, Watched

if TYPE_CHECKING:  # a project without encryption does without joserfc
    from rpcguard.schemes.jwe import DecryptionKey, Encryption

_ALL_JWTS = BearerKinds(others="jwt")
CACHED_TOKENS = 4096  # per project and generation of the registry
CACHED_TOKEN_BYTES = 2048  # longer ones are verified at each request; claims take 10 times more


class _Verified:
    """A token whose signature and unchanging claims are good."""

    __slots__ = (
        *("claims", "good_from", "good_until", "key", "lasting", "opener", "pending", "proof"),
        "times",
    )

    def __init__(
        self,
        opener: DecryptionKey | None,
        key: Key,
        claims: Mapping[str, Any],
        times: Times,
        proof: Proof,
        lasting: bool,  # its keys count whatever the time and the request
        good: tuple[float, float],  # then nothing but the time counts; see `ClaimRules.surely`
    ) -> None:
        self.opener = opener
        self.key = key
        self.claims = claims
        self.times = times
        self.proof = proof
        self.lasting = lasting
        self.good_from, self.good_until = good
        self.pending: Pending | None = None


class _Kept(NamedTuple):
    """A token that is too long to be remembered, verified before the body was read."""

    scheme: JwtScheme
    token: str
    verified: _Verified


class JwtScheme:
    """The `jwt` scheme of one project; see `Scheme`."""

    challenge = "Bearer"

    def __init__(
        self,
        rules: JwtRules,
        keys: KeyRing,
        bearers: BearerKinds = _ALL_JWTS,
        *,
        name: str = "jwt",
        encryption: Encryption | None = None,
    ) -> None:
        """
        Args:
            rules: How tokens are read.
            keys: What verifies them.
            bearers: Which bearer tokens are JWTs.
            name: What principals get as their scheme.
            encryption: What opens encrypted tokens, or None where there are none.
        """
        self.name = name
        self._bearers = bearers
        self._only = bearers == BearerKinds(others=name)  # every bearer token is this scheme's
        self._rules = rules
        self._keys = keys
        self._encryption = encryption
        self._name_unnamed = owed.namer("jws", rules.project)  # tokens without `jti`
        self._cache: Remembered[_Verified] = Remembered(CACHED_TOKENS)
        names = {"authorization"}
        schemes: dict[str, dict[str, Any]] = {
            "rpcBearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
        if rules.key_by == "header":
            names.add(rules.key_header)
            schemes["rpcKey"] = {"type": "apiKey", "in": "header", "name": rules.key_header}
        self.fields = frozenset(names)
        self.security: tuple[Mapping[str, dict[str, Any]], ...] = (schemes,)
        self._bound = bool(rules.binding.claims) or rules.key_by == "header"

    @property
    def unbound(self) -> bool:
        """Whether a token is good for any request, at its time."""
        return not self._bound

    def present(self, incoming: Incoming) -> bool:
        """A bearer token, or the header that names its key."""
        if incoming.bearer is None:
            return self._rules.key_header in incoming.fields
        return self._only or self._bearers.owner(incoming.bearer) == self.name

    def wants_body(self, incoming: Incoming) -> bool:
        """Only a digest over the body's fields needs it."""
        return self._rules.binding.wants_body(incoming)

    def prove(self, incoming: Incoming, now: float, *, standing: bool = False) -> Proof | NeedBody:
        """Verify the bearer token; see `Scheme.prove`."""
        return self.prove_token(incoming.bearer or "", incoming, now, standing=standing)

    def prove_token(
        self, token: str, incoming: Incoming, now: float, *, standing: bool = False
    ) -> Proof | NeedBody:
        """`prove` for a *token* read elsewhere."""
        trace = incoming.trace
        if trace is not None:
            limit = self._rules.max_credential
            trace.note("token", f"{len(token)} characters; limit {limit}; in canonical form")
        if not token:
            raise AuthError("malformed_credentials", detail="no well-formed bearer token")
        cacheable = len(token) <= CACHED_TOKEN_BYTES and trace is None
        name = hashlib.sha256(token.encode("ascii")).digest() if cacheable else b""
        verified = self._cache.get(name) if cacheable else self._kept(token, incoming)
        if verified is None or not (verified.lasting or self._counts(verified, incoming, now)):
            verified = self._verify(token, incoming, now, standing)
            if cacheable:
                self._cache.put(name, verified)
            else:
                incoming.kept = _Kept(self, token, verified)
        else:
            self._rules.claims.check_times(verified.times, now, standing=standing)
        if self._bound and self._check_bindings(verified, incoming) is NEED_BODY:
            return NEED_BODY
        return verified.proof

    def seen(
        self, token: bytes, now: float, dress: Callable[[AuthError], AuthError]
    ) -> Pending | None:
        """
        Return what `prove` leads to for a *token* seen before and nothing but the time to check;
        None if there is more to check, or anything to refuse.

        Args:
            token: The bearer token of a request of which nothing else counts.
            now: Unix seconds.
            dress: Gives a refusal the project's form.
        """
        verified = self._cache.get(hashlib.sha256(token).digest())
        if verified is None or not verified.good_from <= now < verified.good_until:
            return None
        if verified.pending is None:  # one serves all: nothing is charged, so it never changes
            proof = verified.proof
            verified.pending = Pending(proof.principal, proof.owed, dress, proof.principal)
        return verified.pending

    def watch_lookups(self, tell: Callable[[bool], None]) -> None:
        """Begin with an empty cache that tells at each look-up whether the token was there."""
        self._cache = Watched(CACHED_TOKENS, tell)

    def _kept(self, token: str, incoming: Incoming) -> _Verified | None:
        kept = incoming.kept
        if isinstance(kept, _Kept) and kept.scheme is self and kept.token == token:
            return kept.verified
        return None

    def _counts(self, verified: _Verified, incoming: Incoming, now: float) -> bool:
        """Return whether the keys that *verified* was found with are those of this request now."""
        key, opener, rules = verified.key, verified.opener, self._rules
        return (
            key.active(now)
            and (opener is None or opener.active(now))
            and (rules.key_by != "header" or incoming.fields.get(rules.key_header) == [key.kid])
        )

    def revocation(self, token: str, now: float) -> Revocation | None:
        """
        Return what revokes *token*, expired or not, for as long as that can matter.

        None if no key of this scheme, active at *now*, has signed it.

        Raises:
            AuthError: `malformed_credentials`, or because it is encrypted and cannot be opened.
        """
        rules = self._rules
        jws = parse(self._open(token, now)[0], rules.max_credential)
        claims = _payload(jws)
        named = self._keys.get(jws.header.get("kid", ""), now)
        for key in self._keys.active(now) if "kid" not in jws.header else filter(None, [named]):
            if key.alg == jws.header.get("alg") and key.verify(jws.signing_input, jws.signature):
                end = rules.claims.read(claims).exp
                if end is not None:
                    end += rules.claims.leeway + rules.skew
                where = owed.bucket(rules.project, self._subject(claims, key))
                return Revocation(self._name(jws, claims, key), None, end, where)
        return None

    def _open(self, token: str, now: float) -> tuple[str, DecryptionKey | None]:
        """Return the signed token inside *token*, or itself, and the key that opened it."""
        if self._encryption is None or token.count(".") != 4:
            return token, None
        return self._encryption.open(token, now)

    def _subject(self, claims: Mapping[str, Any], key: Key) -> str:
        subject: str = claims.get(self._rules.subject_claim) or key.kid
        return subject

    def _name(self, jws: Jws, claims: Mapping[str, Any], key: Key) -> bytes:
        if claims.get("jti"):
            return owed.namer("jti", self._rules.project, key.kid)(claims["jti"])
        return self._name_unnamed(hashlib.sha256(jws.signing_input).digest())

    def _check_bindings(self, verified: _Verified, incoming: Incoming) -> NeedBody | None:
        rules, trace = self._rules, incoming.trace
        if rules.key_by == "header":
            if trace is not None:
                trace.note("key claim", f"{rules.key_claim} is {rules.key_header}")
            if verified.claims.get(rules.key_claim) != verified.key.kid:
                raise AuthError(
                    "invalid_binding", detail=f"{rules.key_claim} is not {rules.key_header}"
                )
        return rules.binding.check(verified.claims, incoming)

    def _verify(self, token: str, incoming: Incoming, now: float, standing: bool) -> _Verified:
        rules, trace = self._rules, incoming.trace
        if trace is not None and self._encryption is not None:
            trace.note("encryption", "required" if self._encryption.required else "optional")
        signed, opener = (token, None) if self._encryption is None else self._open(token, now)
        if opener is None and self._encryption is not None and self._encryption.required:
            raise AuthError("malformed_credentials", detail="not encrypted")
        jws = parse(signed, rules.max_credential)
        claims = _payload(jws)
        typ = jws.header.get("typ", "jwt").lower().removeprefix("application/")
        if trace is not None:
            trace.note("typ", f"none, or {' or '.join(sorted(rules.typ))}")
        if typ not in rules.typ:
            raise AuthError("malformed_credentials", detail="typ is that of another kind of token")
        if rules.types_first:
            if trace is not None:
                trace.note("claims", "types and units, before the signature")
            rules.claims.read(claims)
        key = signing_key(rules, self._keys, jws, incoming, now)
        if trace is not None:
            trace.note("claims", f"required: {', '.join(rules.claims.required) or 'none'}")
        times = rules.claims.read(claims)
        rules.claims.check_times(times, now, standing=standing, trace=trace)
        rules.claims.check_identity(claims, times, trace)
        lasting = opener is None and not key.dated and rules.key_by != "header"
        proof = self._proof(jws, claims, times, key)
        plain = lasting and not self._bound and not proof.policies and proof.owed.nonce is None
        good = rules.claims.surely(times) if plain else NEVER
        return _Verified(opener, key, claims, times, proof, lasting, good)

    def _proof(self, jws: Jws, claims: Mapping[str, Any], times: Times, key: Key) -> Proof:
        rules = self._rules
        subject = self._subject(claims, key)
        principal = Principal(
            subject,
            rules.project,
            self.name,
            name=key.name,
            key_id=key.kid,
            expires_at=times.exp,
            claims=claims,
        )
        name = self._name(jws, claims, key)
        revocable: tuple[bytes, ...] = ()
        if rules.revocable:
            of_subject = owed.subject_name(rules.project, subject)
            revocable = (name, of_subject, owed.key_name(rules.project, key.kid))
            if rules.subject_is_key:
                revocable += (owed.key_name(rules.project, subject),)
            if claims.get("sid"):
                revocable += (owed.session_name(rules.project, claims["sid"]),)
        nonce = None
        if rules.single_use and times.exp is not None:
            ends = times.exp + rules.claims.leeway + rules.skew
            nonce = owed.Nonce(name, ends, rules.project_limit, rules.subject_limit)
        questions = owed.Owed(rules.project, subject, times.iat or 0.0, revocable, nonce)
        plain = key.allow is None and not rules.narrowing.kinds
        return Proof(principal, questions, () if plain else self._policies(key, claims))

    def policies(self, principal: Principal, now: float) -> tuple[Policy, ...]:
        """What applies to the holder of this token; see `Scheme.policies`."""
        key = self._keys.get(principal.key_id or "", now)
        if key is None:
            raise AuthError("invalid_credentials", cause="unknown_kid", detail="key not active")
        return self._policies(key, principal.claims if self._rules.narrowing.kinds else {})

    def _policies(self, key: Key, claims: Mapping[str, Any]) -> tuple[Policy, ...]:
        own = (key.allow,) if key.allow is not None else ()
        return (*own, *self._rules.narrowing.read(claims))


def _payload(jws: Jws) -> dict[str, Any]:
    try:
        claims = strict_json.loads(jws.payload)
    except ValueError as error:
        raise AuthError("malformed_credentials", detail=f"payload: {error}") from None
    if not isinstance(claims, dict):
        raise AuthError("malformed_credentials", detail="payload is not a JSON object")
    return claims
