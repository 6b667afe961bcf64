"""Which key has signed a JWT: the one that it names, or one of the secrets that are active now."""

from __future__ import annotations

from rpcguard.errors import AuthError
from rpcguard.keys import Key, KeyRing
from rpcguard.schemes.base import Incoming
from rpcguard.schemes.jws import Jws, read_header
from rpcguard.schemes.jwt_rules import JwtRules

# How a key is found, in words.
_CHOICES = {
    "kid": "named by kid",
    "secret": "every active secret, or the one that kid names",
    "header": "named by a header",
}
MAX_SECRETS = 8  # HMACs tried for one token without `kid`


def signing_key(rules: JwtRules, keys: KeyRing, jws: Jws, incoming: Incoming, now: float) -> Key:
    """
    Return the key of *keys* whose signature *jws* carries.

    Args:
        rules: How tokens are read.
        keys: What verifies them.
        jws: The token.
        incoming: The request, whose header may name the key, and whose trace is told.
        now: Unix seconds.

    Raises:
        AuthError: `unsupported_algorithm` or `invalid_credentials`.
    """
    algorithm, trace = jws.header.get("alg"), incoming.trace
    if trace is not None:
        trace.note("algorithm", f"one of {', '.join(sorted(rules.algorithms))}")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise AuthError("unsupported_algorithm")
    if trace is not None:
        trace.note("key", _CHOICES[rules.key_by])
    known = _candidates(rules, keys, jws, incoming, now)
    fitting = [key for key in known if key.alg == algorithm]
    if trace is not None and fitting:
        names = " or ".join(key.kid for key in fitting)
        trace.note("signature", f"{algorithm}, by {names}")
    for key in fitting:
        if key.verify(jws.signing_input, jws.signature):
            if trace is not None and len(fitting) > 1:
                trace.found(f"it is {key.kid}")
            return key
    if known and not fitting:
        raise AuthError("unsupported_algorithm", detail="alg is not that of the key")
    if not known:
        # An unknown key costs what a wrong one costs: a stranger learns no ids by the clock.
        decoy = keys.decoy(algorithm)
        if decoy is not None:
            decoy.verify(jws.signing_input, jws.signature)
        raise AuthError("invalid_credentials", cause="unknown_kid")
    raise AuthError("invalid_credentials", cause="bad_signature")


def named_key(rules: JwtRules, keys: KeyRing, head: bytes, now: float) -> tuple[Key, bool] | None:
    """
    Return what `signing_key` would try for a token that begins with *head*, and whether it counts:
    if not, it is spent in the place of a key that nobody has. None where there is more to it.

    Args:
        rules: How tokens are read.
        keys: What verifies them.
        head: The first part of the token.
        now: Unix seconds.
    """
    try:
        header = read_header(head.decode("ascii"))
    except (ValueError, AuthError):
        return None
    algorithm, kid = header.get("alg"), header.get("kid")
    if (
        not isinstance(algorithm, str)
        or algorithm not in rules.algorithms
        or not rules.fits(header)
    ):
        return None
    if not kid or rules.key_by == "header":
        return None
    key = keys.get(kid, now)
    if key is None:
        decoy = keys.decoy(algorithm)
        return None if decoy is None else (decoy, False)
    return (key, True) if key.alg == algorithm else None


def _candidates(
    rules: JwtRules, keys: KeyRing, jws: Jws, incoming: Incoming, now: float
) -> list[Key]:
    if rules.key_by == "header":
        kid = incoming.single(rules.key_header)
    elif "kid" in jws.header:
        kid = jws.header["kid"]
    elif rules.key_by == "secret":
        return keys.active(now)[:MAX_SECRETS]
    else:
        kid = ""
    if not kid:
        raise AuthError("invalid_credentials", cause="no_kid", detail="no key id")
    key = keys.get(kid, now)
    return [] if key is None else [key]
