"""Where rpcguard is to arrive: ratios in one run on one machine, and what each may be at most."""

from __future__ import annotations

from dataclasses import dataclass

CLOSE = 0.03  # of the bound, either way: a second run might say the opposite


@dataclass(frozen=True)
class Bound:
    """
    One figure that has a bound.

    Attributes:
        name: In `bench/results.json`.
        at_most: The bound.
        what: What the figure is.
    """

    name: str
    at_most: float
    what: str

    def verdict(self, value: float) -> str:
        """Return `ok`, `close` (within 3 % of the bound, either way) or `miss`."""
        if abs(value - self.at_most) <= CLOSE * self.at_most:
            return "close"
        return "ok" if value < self.at_most else "miss"


def _by_algorithm(state: str, what: str, **bounds: float) -> list[Bound]:
    return [
        Bound(f"{state}_{algorithm}_vs_pyjwt", at_most, what.format(algorithm.upper()))
        for algorithm, at_most in bounds.items()
    ]


BOUNDS: tuple[Bound, ...] = (
    *_by_algorithm(
        "hot", "verify of a token seen before, {} / PyJWT decode of the same token",
        hs256=0.15, rs256=0.09, es256=0.06,
    ),
    *_by_algorithm(
        "cold", "verify of a token never seen, {} / PyJWT decode of the same token",
        hs256=0.50, rs256=0.60, es256=0.80,
    ),
    Bound(
        "wallet_memory_vs_nacl", 1.35,
        "verify of a wallet signature with a fresh nonce / bare PyNaCl verification",
    ),
    Bound("wallet_sqlite_vs_nacl", 1.75, "the same with SQLite"),
    Bound("redis_settle_vs_set", 1.15, "settle on Redis / bare `SET NX PX`, same client"),
    Bound(
        "redis_settle16_vs_set16", 0.50,
        "16 concurrent asyncio settles on Redis / 16 concurrent bare `SET NX PX`",
    ),
    Bound(
        "fastapi_added_hot_hs256_vs_tutorial", 0.25,
        "added to a FastAPI request by `require_rpc_auth` / by the tutorial's dependencies",
    ),
    Bound(
        "flask_added_hot_rs256_vs_flask_jwt_extended", 0.08,
        "added to a Flask request by `protect` / by Flask-JWT-Extended",
    ),
    Bound(
        "aiohttp_added_hot_hs256_vs_aiohttp_jwt", 0.20,
        "added to an aiohttp request by the middleware / by aiohttp-jwt",
    ),
    Bound(
        "unguarded_vs_guarded_rps_fastapi", 1.14,
        "requests per second of FastAPI under load, unguarded / guarded `everywhere`, hot RS256",
    ),
    Bound("unguarded_vs_guarded_rps_flask", 1.08, "the same of Flask"),
    Bound("unguarded_vs_guarded_rps_aiohttp", 1.33, "the same of aiohttp"),
    Bound(
        "verify_100k_keys_vs_10", 1.05,
        "verify of a cold RS256 token with 100 000 keys in the registry / with 10",
    ),
    Bound(
        "settle_1m_nonces_vs_0_memory", 1.2,
        "settle in memory with a million live nonces / with none",
    ),
    Bound("settle_1m_nonces_vs_0_sqlite", 1.5, "the same on SQLite"),
    Bound("settle_1m_nonces_vs_0_redis", 1.1, "the same on Redis"),
    Bound(
        "load_10k_keys_vs_yaml", 2.0,
        "loading a registry of 10 000 RSA public keys / PyYAML's C loader on the same file",
    ),
    Bound("import_vs_pyjwt", 1.0, "`import rpcguard` / `import jwt` with its cryptography"),
    Bound(
        "first_verify_vs_pyjwt", 3.0,
        "fresh process: import, load `examples/registry.yaml`, one verify / import, one decode",
    ),
)  # fmt: skip
