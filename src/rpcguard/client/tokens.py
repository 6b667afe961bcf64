"""
The claims that each provider's document asks for, minted.

Times are Unix seconds, lifetimes seconds. `now` is rounded down, so that `iat` is never ahead of
the clock that gave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpcguard.client.signing_key import SigningKey

HOUR = 3600
NBF_MARGIN = 30  # seconds; servers grant `nbf` no leeway, and no two clocks agree to the second


def meganode(key: SigningKey, now: float, *, lifetime: int = HOUR) -> str:
    """
    Return a token for preset `meganode`: HS256 over `iat` and `exp`.

    Source: NodeReal MegaNode, "JWT Authentication Reference"; one hour is its recommendation.
    """
    issued = int(now)
    return key.mint({"iat": issued, "exp": issued + lifetime})


def meganode_rs256(
    key: SigningKey, now: float, *, lifetime: int = HOUR, audience: str = "nodereal.io"
) -> str:
    """Return a token for preset `meganode-rs256`; *lifetime* may be 24 hours at most."""
    issued = int(now)
    return key.mint({"iat": issued, "exp": issued + lifetime, "aud": audience})


def allthatnode(
    key: SigningKey, now: float, *, lifetime: int = HOUR, audience: str | None = None
) -> str:
    """
    Return a token for preset `allthatnode`; the key needs the `kid` of its registered public key.

    The claims are optional in that protocol. `exp` is set all the same, for a token without it
    lives as long as its key; `nbf` is half a minute back; `aud` only when an *audience* is given.

    Source: All That Node, "By JSON Web Token (JWT)".
    """
    issued = int(now)
    claims: dict[str, Any] = {"nbf": issued - NBF_MARGIN, "exp": issued + lifetime}
    if audience is not None:
        claims["aud"] = audience
    return key.mint(claims)


def bearer(key: SigningKey, now: float, claims: Mapping[str, Any], *, lifetime: int = HOUR) -> str:
    """Return a token for preset `bearer`: *claims* (such as `sub`, `iss`, `aud`), `iat`, `exp`."""
    issued = int(now)
    return key.mint({"iat": issued, "exp": issued + lifetime, **claims})


def engine_api(key: SigningKey, now: float) -> str:
    """
    Return a token for preset `engine-api`: HS256 over `iat` alone, good for a minute either way.

    Source: execution-apis, `src/engine/authentication.md`.
    """
    return key.mint({"iat": int(now)})
