"""What a JWT proves after its signature has verified, and for how long that is certain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rpcguard import owed
from rpcguard.keys import Key
from rpcguard.pending import Pending
from rpcguard.policy import Policy
from rpcguard.principal import Principal, make_principal
from rpcguard.schemes.base import Proof
from rpcguard.schemes.claims import Times
from rpcguard.schemes.jwt_rules import JwtRules
from rpcguard.trace import Trace

if TYPE_CHECKING:
    from rpcguard.schemes.jwe import DecryptionKey

KNOWN_SIGNERS = 1024  # keys of a project whose names are not worked out again

# What is left of a request with a token that nothing else binds: from when until when, in Unix
# seconds, only the backend is to be asked; what; who is calling if it has no objection; and what
# makes a refusal of its answer. One serves all requests with the token: nothing is charged, so
# nobody changes it.
Left = tuple[float, float, owed.Owed, Principal, Pending]


def name_of(token: bytes) -> bytes:
    """
    Return the name of a bearer *token* in caches, which so hold none that anybody could use: the
    digest of the whole `Authorization`, so that a request's can be looked for as it is.

    BLAKE2b is as safe as SHA-256, and OpenSSL's layers around that take longer to pass through,
    among all the other work of a server, than BLAKE2b does (1.4 us of a request).
    """
    return hashlib.blake2b(b"Bearer " + token).digest()


class Signer(NamedTuple):
    """
    A key, and what all its tokens share.

    Attributes:
        key: The key.
        key_name: The name by which all that it proves can be revoked.
        name_of_jti: Gives the name of its token with a `jti`.
        lasting: It counts whatever the time and the request.
        unrestricted: No policy comes with it, nor with what it signs.
    """

    key: Key
    key_name: bytes
    name_of_jti: Callable[[str | bytes], bytes]
    lasting: bool
    unrestricted: bool

    @property
    def usual(self) -> bool:
        """Whether nothing is to be looked at, of most requests, but what it has signed."""
        return self.lasting and self.unrestricted


class Verified:
    """
    A token whose signature and unchanging claims are good.

    Attributes:
        opener: The key that has opened it, where it was encrypted.
        signer: The key that has signed it.
        claims: Its claims.
        times: Their times.
        principal: Who shows it.
        owed: What the backend must say.
        policies: Policies of the key, and what the claims narrow.
        surely: From when until when, in Unix seconds, all that is left of a request that nothing
            else binds is to ask the backend; None if more is left of every request.
        left: The same, and what to ask; None before the first such request.
    """

    __slots__ = (
        *("claims", "left", "opener", "owed", "policies", "principal", "signer", "surely", "times"),
    )

    def __init__(
        self,
        opener: DecryptionKey | None,
        signer: Signer,
        claims: Mapping[str, Any],
        times: Times,
        principal: Principal,
        questions: owed.Owed,
        policies: tuple[Policy, ...],
        surely: tuple[float, float] | None,
    ) -> None:
        """Take the parts; see the class."""
        self.opener = opener
        self.signer = signer
        self.claims = claims
        self.times = times
        self.principal = principal
        self.owed = questions
        self.policies = policies
        self.surely = surely
        self.left: Left | None = None

    @property
    def proof(self) -> Proof:
        """What it proves."""
        return Proof(self.principal, self.owed, self.policies)


class Judge:
    """What one project makes of claims that one of its keys has signed."""

    def __init__(self, rules: JwtRules, scheme: str) -> None:
        """
        Args:
            rules: How tokens are read.
            scheme: What principals get as their scheme.
        """
        self._rules = rules
        self._scheme = scheme
        self._bound = bool(rules.binding.claims) or rules.single_use
        self._name_unnamed = owed.namer("jws", rules.project)  # tokens without `jti`
        self._signers: dict[str, Signer] = {}

    def signer(self, key: Key) -> Signer:
        """Return what all tokens of *key* share."""
        found = self._signers.get(key.kid)
        if found is None:
            if len(self._signers) >= KNOWN_SIGNERS:
                self._signers.clear()
            found = self._signers[key.kid] = self._read_signer(key)
        return found

    def _read_signer(self, key: Key) -> Signer:
        rules = self._rules
        return Signer(
            key,
            owed.key_name(rules.project, key.kid),
            owed.namer("jti", rules.project, key.kid),
            not key.dated and rules.key_by != "header",
            key.allow is None and not rules.narrowing.kinds,
        )

    def name(self, signed: bytes, claims: Mapping[str, Any], signer: Signer) -> bytes:
        """Return the name of the token *signed*, without its signature, that has *claims*."""
        jti = claims.get("jti")
        if jti:
            return signer.name_of_jti(jti)
        return self._name_unnamed(hashlib.sha256(signed).digest())

    def judge(
        self,
        signed: bytes,
        claims: Mapping[str, Any],
        signer: Signer,
        opener: DecryptionKey | None,
        now: float,
        standing: bool,
        trace: Trace | None,
    ) -> Verified:
        """
        Return what the token *signed* proves.

        Args:
            signed: The token without its signature.
            claims: What it claims.
            signer: The key whose signature it has.
            opener: The key that has opened it, where it was encrypted.
            now: Unix seconds.
            standing: See `Scheme.prove`.
            trace: Is told what is checked.

        Raises:
            AuthError: If the claims are not good.
        """
        rules, wanted, key = self._rules, self._rules.claims, signer.key
        if trace is not None:
            trace.note("claims", f"required: {', '.join(wanted.required) or 'none'}")
        times = wanted.read(claims)
        begin, end = wanted.surely(times)
        if trace is not None or not begin <= now < end:
            wanted.check_times(times, now, standing=standing, trace=trace)
        wanted.check_identity(claims, times, trace)
        subject: str = claims.get(rules.subject_claim) or key.kid
        name = self.name(signed, claims, signer)
        policies = () if signer.unrestricted else self.policies(key, claims)
        bound = self._bound or policies or opener is not None or not signer.lasting
        who = make_principal(
            subject, rules.project, self._scheme, key.name, key.kid, times.exp, claims
        )
        revocable: tuple[bytes, ...] = ()
        if rules.revocable:
            revocable = (name, owed.subject_name(rules.project, subject), signer.key_name)
            if rules.subject_is_key:
                revocable += (owed.key_name(rules.project, subject),)
            if claims.get("sid"):
                revocable += (owed.session_name(rules.project, claims["sid"]),)
        nonce = self._nonce(name, times) if rules.single_use else None
        questions = owed.make_owed(
            (rules.project, subject, times.iat or 0.0, revocable, nonce, None, None, None)
        )
        return Verified(
            opener, signer, claims, times, who, questions, policies, None if bound else (begin, end)
        )

    def _nonce(self, name: bytes, times: Times) -> owed.Nonce | None:
        rules = self._rules
        if times.exp is None:
            return None
        ends = times.exp + rules.claims.leeway + rules.skew
        return owed.Nonce(name, ends, rules.project_limit, rules.subject_limit)

    def policies(self, key: Key, claims: Mapping[str, Any]) -> tuple[Policy, ...]:
        """Return the policies that come with *key* and its *claims*; see `Scheme.policies`."""
        own = (key.allow,) if key.allow is not None else ()
        return (*own, *self._rules.narrowing.read(claims))
