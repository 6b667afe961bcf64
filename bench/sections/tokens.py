"""`Verifier.verify` of a JWT, never seen and seen, against PyJWT, joserfc and Authlib."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joserfc.jwt
import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from bench.material import ALGORITHMS, AUDIENCE, Keys, bearer, verifier, write_registry
from bench.run import Figures, Run
from bench.timing import Candidate, each, medians, series
from rpcguard import Request, Verifier

with warnings.catch_warnings(record=True):  # "use joserfc instead": both are measured
    from authlib.jose import ECKey as AuthlibEC
    from authlib.jose import JsonWebToken
    from authlib.jose import OctKey as AuthlibOct
    from authlib.jose import RSAKey as AuthlibRSA

Decode = Callable[[str], Any]


def measure(run: Run) -> Figures:
    """Return, by algorithm, microseconds and the ratios to each peer, cold and hot."""
    keys = Keys()
    with verifier(write_registry(run.folder("tokens"), keys)) as guard:
        figures: Figures = {}
        for algorithm in ALGORITHMS:
            figures |= _compare(run, keys, guard, algorithm)
        return figures


def _compare(run: Run, keys: Keys, guard: Verifier, algorithm: str) -> Figures:
    items = run.count(100)
    key = keys.public(algorithm)
    peers = {name: loaded(key, algorithm) for name, loaded in _PEERS.items()}
    fresh = _fresh(keys, algorithm, items)
    tokens = next(fresh)
    for decode in peers.values():  # that they check what they should
        _refuses_forgeries(decode, tokens[0])
    hot = [bearer(token) for token in tokens]

    def seen() -> Sequence[Request]:
        for request in hot:
            guard.verify(request)
        return hot

    candidates: dict[str, Candidate] = {
        "cold": each(guard.verify, lambda: [bearer(token) for token in next(fresh)], items),
        "hot": each(guard.verify, seen, items),
        **{name: each(decode, lambda: tokens, items) for name, decode in peers.items()},
    }
    taken = medians(series(candidates, run.rounds))
    low = algorithm.lower()
    figures = {f"{name}_{low}_us": value for name, value in taken.items()}
    for state in ("hot", "cold"):
        figures |= {f"{state}_{low}_vs_{peer}": taken[state] / taken[peer] for peer in peers}
    return figures


def _fresh(keys: Keys, algorithm: str, items: int) -> Iterator[Sequence[str]]:
    """Give lists of tokens that nobody has seen."""
    numbers = itertools.count()
    while True:
        yield [keys.token(algorithm, next(numbers)) for _ in range(items)]


def _refuses_forgeries(decode: Decode, token: str) -> None:
    head, _, signature = token.rpartition(".")
    forged = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    decode(token)
    try:
        decode(forged)
    except Exception:  # noqa: BLE001 - each library has its own
        return
    raise AssertionError("a peer accepted a forged signature: it is not used rightly")


def _pyjwt(key: Any, algorithm: str) -> Decode:
    return lambda token: jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE)


def _joserfc(key: Any, algorithm: str) -> Decode:
    kinds: dict[str, Any] = {"HS256": OctKey, "RS256": RSAKey, "ES256": ECKey}
    loaded = kinds[algorithm].import_key(key)
    claims = joserfc.jwt.JWTClaimsRegistry(
        exp={"essential": True}, aud={"essential": True, "value": AUDIENCE}
    )

    def decode(token: str) -> Any:
        found = joserfc.jwt.decode(token, loaded, algorithms=[algorithm])
        claims.validate(found.claims)
        return found

    return decode


def _authlib(key: Any, algorithm: str) -> Decode:
    kinds = {"HS256": AuthlibOct, "RS256": AuthlibRSA, "ES256": AuthlibEC}
    reader, loaded = JsonWebToken([algorithm]), kinds[algorithm].import_key(key)
    options = {"exp": {"essential": True}, "aud": {"essential": True, "value": AUDIENCE}}

    def decode(token: str) -> Any:
        found = reader.decode(token, loaded, claims_options=options)
        found.validate()
        return found

    return decode


_PEERS = {"pyjwt": _pyjwt, "joserfc": _joserfc, "authlib": _authlib}
