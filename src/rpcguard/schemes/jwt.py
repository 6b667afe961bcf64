"""
JWTs in the Bearer scheme (RFC 7519, 6750, 8725), for every preset that takes them.

What does not change between two requests with one token (signature, types, audience, the names that
can be revoked) is worked out once and kept in a bounded cache, keyed by the token's digest. What
can change (time, key dates, bindings to the request) is checked every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rpcguard import base64url, owed, strict_json
from rpcguard.errors import AuthError
from rpcguard.keys import KeyRing
from rpcguard.owed import Revocation
from rpcguard.pending import Pending
from rpcguard.policy import Policy
from rpcguard.principal import Principal
from rpcguard.schemes.base import NEED_BODY, BearerKinds, Incoming, NeedBody, Proof
from rpcguard.schemes.jws import claims_of, parse
from rpcguard.schemes.jwt_keys import named_key, signing_key
from rpcguard.schemes.jwt_rules import JwtRules
from rpcguard.schemes.jwt_verified import Judge, Left, Signer, Verified, name_of
from rpcguard.schemes.remembered import Remembered, Watched

if TYPE_CHECKING:  # a project without encryption does without joserfc
    from rpcguard.schemes.jwe import DecryptionKey, Encryption

_ALL_JWTS = BearerKinds(others="jwt")
CACHED_TOKENS = 4096  # per project and generation of the registry
CACHED_TOKEN_BYTES = 2048  # longer ones are verified at each request; claims take 10 times more
KNOWN_HEADS = 256  # first parts of tokens that are understood at sight; who has a key chooses them


class _Kept(NamedTuple):
    """A token that is too long to be remembered, verified before the body was read."""

    scheme: JwtScheme
    token: str
    verified: Verified


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
        self._judge = Judge(rules, name)
        self._cache: Remembered[Verified] = Remembered(CACHED_TOKENS)
        self._heads: dict[bytes, Signer] = {}
        self._usual_bytes = min(CACHED_TOKEN_BYTES, rules.max_credential)
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
        """Whether most tokens are good for any request, at their time."""
        if not self._only:
            return False  # `BearerKinds.owner` tells first which of the bearer tokens are ours
        rules = self._rules
        return not (
            self._bound or rules.single_use or rules.narrowing.kinds or self._encryption is not None
        )

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
        name = name_of(token.encode("ascii")) if cacheable else b""
        verified = self._cache.get(name) if cacheable else self._kept(token, incoming)
        if verified is None or not self._counts(verified, incoming, now):
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

    def usual(
        self, token: bytes, name: bytes, now: float, dress: Callable[[AuthError], AuthError]
    ) -> Left | None:
        """
        Return what `prove` leads to for the usual *token*, and when, if only the backend remains to
        be asked; None if there is more to it, and for one that takes a longer look to understand.

        Args:
            token: The bearer token of a request of which nothing else counts.
            name: Its `name_of`.
            now: Unix seconds.
            dress: Gives a refusal the project's form.

        Raises:
            AuthError: If the token is not good: what `prove` would raise.
        """
        verified = self._cache.get(name)
        if verified is None:
            verified = self._verify_usual(token, now)
            if verified is None:
                return None
            self._cache.put(name, verified)
        if verified.left is None and verified.surely is not None:
            who = verified.principal
            pending = Pending(who, verified.owed, dress, who)
            verified.left = (*verified.surely, verified.owed, who, pending)
        return verified.left

    def watch_lookups(self, tell: Callable[[bool], None]) -> None:
        """Begin with an empty cache that tells at each look-up whether the token was there."""
        self._cache = Watched(CACHED_TOKENS, tell)

    def _kept(self, token: str, incoming: Incoming) -> Verified | None:
        kept = incoming.kept
        if isinstance(kept, _Kept) and kept.scheme is self and kept.token == token:
            return kept.verified
        return None

    def _counts(self, verified: Verified, incoming: Incoming, now: float) -> bool:
        """Return whether the keys that *verified* was found with are those of this request now."""
        key, opener, rules = verified.signer.key, verified.opener, self._rules
        if verified.signer.lasting and opener is None:
            return True
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
        claims = claims_of(jws)
        named = self._keys.get(jws.header.get("kid", ""), now)
        for key in self._keys.active(now) if "kid" not in jws.header else filter(None, [named]):
            if key.alg == jws.header.get("alg") and key.verify(jws.signing_input, jws.signature):
                end = rules.claims.read(claims).exp
                if end is not None:
                    end += rules.claims.leeway + rules.skew
                subject = claims.get(rules.subject_claim) or key.kid
                where = owed.bucket(rules.project, subject)
                name = self._judge.name(jws.signing_input, claims, self._judge.signer(key))
                return Revocation(name, None, end, where)
        return None

    def _open(self, token: str, now: float) -> tuple[str, DecryptionKey | None]:
        """Return the signed token inside *token*, or itself, and the key that opened it."""
        if self._encryption is None or token.count(".") != 4:
            return token, None
        return self._encryption.open(token, now)

    def _check_bindings(self, verified: Verified, incoming: Incoming) -> NeedBody | None:
        rules, trace = self._rules, incoming.trace
        if rules.key_by == "header":
            if trace is not None:
                trace.note("key claim", f"{rules.key_claim} is {rules.key_header}")
            if verified.claims.get(rules.key_claim) != verified.signer.key.kid:
                raise AuthError(
                    "invalid_binding", detail=f"{rules.key_claim} is not {rules.key_header}"
                )
        return rules.binding.check(verified.claims, incoming)

    def _verify(self, token: str, incoming: Incoming, now: float, standing: bool) -> Verified:
        rules, trace = self._rules, incoming.trace
        if trace is not None and self._encryption is not None:
            trace.note("encryption", "required" if self._encryption.required else "optional")
        signed, opener = (token, None) if self._encryption is None else self._open(token, now)
        if opener is None and self._encryption is not None and self._encryption.required:
            raise AuthError("malformed_credentials", detail="not encrypted")
        jws = parse(signed, rules.max_credential)
        claims = claims_of(jws)
        if trace is not None:
            trace.note("typ", f"none, or {' or '.join(sorted(rules.typ))}")
        if not rules.fits(jws.header):
            raise AuthError("malformed_credentials", detail="typ is that of another kind of token")
        if rules.types_first:
            if trace is not None:
                trace.note("claims", "types and units, before the signature")
            rules.claims.read(claims)
        key = signing_key(rules, self._keys, jws, incoming, now)
        signer = self._judge.signer(key)
        if opener is None and len(self._keys) == 1:  # then no `kid` is needed to know the key
            self._understand(jws.signing_input.partition(b".")[0], signer)
        return self._judge.judge(jws.signing_input, claims, signer, opener, now, standing, trace)

    def _understand(self, head: bytes, signer: Signer) -> None:
        """Remember that *head*, the first part of a token, is in order and tells of *signer*."""
        if signer.usual:
            if len(self._heads) >= KNOWN_HEADS:
                self._heads.clear()
            self._heads[head] = signer

    def _verify_usual(self, token: bytes, now: float) -> Verified | None:
        """
        Do what `_verify` does, for a token whose first part is known or names a key; None for all
        that it must look at.

        An unknown key and a wrong one cost the same here too.
        """
        head, _, rest = token.partition(b".")
        body, dot, signature = rest.partition(b".")
        if not dot or len(token) > self._usual_bytes or not now > 0:
            return None
        rules, signer = self._rules, self._heads.get(head)
        found = (signer.key, True) if signer else named_key(rules, self._keys, head, now)
        if found is None:
            return None
        key, counts = found
        try:
            claims = strict_json.loads(base64url.decode(body))
            raw_signature = base64url.decode(signature)
        except ValueError:
            return None
        if not isinstance(claims, dict):
            return None
        if rules.types_first:
            rules.claims.read(claims)
        signed = token[: -len(signature) - 1]
        good = key.verify(signed, raw_signature)
        if not (good and counts):
            cause = "bad_signature" if counts else "unknown_kid"
            raise AuthError("invalid_credentials", cause=cause)
        if signer is None:
            signer = self._judge.signer(key)
            self._understand(head, signer)
        return self._judge.judge(signed, claims, signer, None, now, standing=False, trace=None)

    def policies(self, principal: Principal, now: float) -> tuple[Policy, ...]:
        """What applies to the holder of this token; see `Scheme.policies`."""
        key = self._keys.get(principal.key_id or "", now)
        if key is None:
            raise AuthError("invalid_credentials", cause="unknown_kid", detail="key not active")
        return self._judge.policies(key, principal.claims if self._rules.narrowing.kinds else {})
