"""
What `rpcguard demo` sends and what must come back: one table, protocol by protocol.

What is accepted goes to every framework; refusals go to the frameworks in turn. Longer than other
modules because a table is read in one piece.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial

from rpcguard.cli.demo.case import (
    Accepted,
    Case,
    Make,
    Refused,
    RefusedBare,
    bare,
    bearer,
    fresh,
    minted,
    rpc,
    signed,
)
from rpcguard.cli.demo.forgery import hmac_with_public_key, unsigned
from rpcguard.cli.demo.kit import Kit
from rpcguard.cli.demo.lives import api_key, session
from rpcguard.cli.demo.wire import Shot
from rpcguard.client import order, tokens
from rpcguard.client.signers import OrderSigner, WalletSigner
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet

HOUR = 3600
DAY = 24 * HOUR
OVERSIZED = 5 * 1024 * 1024 + 1  # bytes: one more than the registry's max_body

_STRANGER = SigningKey.from_secret(secrets.token_urlsafe(48))


def cases(kit: Kit) -> list[Case]:
    """Return the whole table, in the order of sending."""
    parts = (
        *(_meganode, _meganode_refused, _meganode_rs256, _allthatnode, _allthatnode_refused),
        *(
            _nodius,
            _nodius_refused,
            session,
            api_key,
            _nodius_2026,
            _oppiwallet,
            _engine_api,
            _bearer,
            _target,
        ),
    )
    return [case for part in parts for case in part(kit)]


def _meganode(kit: Kit) -> list[Case]:
    row = partial(Case, "meganode")
    mint, older = partial(tokens.meganode, kit.bsc), partial(tokens.meganode, kit.bsc_previous)
    caller, previous = Accepted("bsc", "jwt", "current"), Accepted("bsc", "jwt", "previous")
    return [
        row("HS256 token of one hour", fresh("/v1/", mint), caller),
        row("the same on a WebSocket", fresh("/ws/v1/", mint, websocket=True), caller),
        row("token of the previous secret", fresh("/v1/", older), previous),
        row(
            "API key in the URL", bare(f"/v1/{kit.bsc_api_key}"), Accepted("bsc", "api_key", "ops")
        ),
    ]


def _meganode_refused(kit: Kit) -> list[Case]:
    row, key = partial(Case, "meganode"), kit.bsc
    mint, forged = partial(tokens.meganode, key), partial(tokens.meganode, _STRANGER)
    early = minted("/v1/", key, iat=60, exp=HOUR)
    late = minted("/v1/", key, iat=-HOUR, exp=-60)
    wide = minted("/v1/", kit.bsc_hs512, iat=0, exp=HOUR)
    both = fresh(f"/v1/{kit.bsc_api_key}", mint)

    def in_milliseconds(now: float) -> str:
        return key.mint({"iat": int(now), "exp": int(now * 1000)})

    def without_signature(now: float) -> str:
        return unsigned({"iat": int(now), "exp": int(now) + HOUR})

    return [
        row("no credential", bare("/v1/"), Refused("missing_credentials")),
        row("none on a WebSocket", bare("/ws/v1/", websocket=True), Refused("missing_credentials")),
        row(
            "a word for a token",
            fresh("/v1/", lambda _: "sesame"),
            Refused("malformed_credentials"),
        ),
        row("signed with another secret", fresh("/v1/", forged), Refused("invalid_credentials")),
        row("expired a minute ago", late, Refused("expired")),
        row("issued a minute ahead", early, Refused("not_yet_valid")),
        row("exp in milliseconds", fresh("/v1/", in_milliseconds), Refused("invalid_claims")),
        row("alg none", fresh("/v1/", without_signature), Refused("unsupported_algorithm")),
        row("HS512 with the right secret", wide, Refused("unsupported_algorithm")),
        row("token and API key at once", both, Refused("ambiguous_credentials")),
        row("unknown API key", bare("/v1/" + "0" * 32), Refused("invalid_credentials")),
    ]


def _meganode_rs256(kit: Kit) -> list[Case]:
    row, key = partial(Case, "meganode-rs256"), kit.bsc_rs256
    good = fresh("/v2", partial(tokens.meganode_rs256, key))
    foreign = fresh("/v2", partial(tokens.meganode_rs256, key, audience="example.com"))
    long = fresh("/v2", partial(tokens.meganode_rs256, key, lifetime=2 * DAY))
    return [
        row("RS256 token of one hour", good, Accepted("bsc-rs256", "jwt", "bsc-2026")),
        row("token for another audience", foreign, Refused("invalid_audience")),
        row("exp two days ahead", long, Refused("invalid_claims")),
    ]


def _allthatnode(kit: Kit) -> list[Case]:
    row = partial(Case, "allthatnode")
    ci, laptop = kit.evm_ci, kit.evm_laptop
    mint = partial(tokens.allthatnode, ci, audience="evm.AllThatNode.com")
    timeless = minted("/evm", laptop)
    by_ci = Accepted("evm", "jwt", str(ci.kid))
    by_laptop = Accepted("evm", "jwt", str(laptop.kid))
    return [
        row("RS256 token with its kid", fresh("/evm", mint), by_ci),
        row("the same on a WebSocket", fresh("/ws/evm", mint, websocket=True), by_ci),
        row("ES256 token without any claim", timeless, by_laptop),
    ]


def _allthatnode_refused(kit: Kit) -> list[Case]:
    row, key, spare = partial(Case, "allthatnode"), kit.evm_ci, kit.evm_spare

    def refused(why: str) -> RefusedBare:
        return RefusedBare(f"invalid JWT token ({why})")

    def confused(now: float) -> str:
        return hmac_with_public_key(str(key.kid), kit.evm_ci_public, {"exp": int(now) + HOUR})

    impostor = fresh("/evm", partial(tokens.allthatnode, kit.evm_impostor))
    unregistered = fresh("/evm", partial(tokens.allthatnode, spare))
    nameless = fresh("/evm", partial(tokens.allthatnode, kit.evm_nameless))
    foreign = fresh("/evm", partial(tokens.allthatnode, key, audience="evilallthatnode.com"))
    late, early = minted("/evm", key, exp=-60), minted("/evm", key, nbf=60)
    return [
        row("no token", bare("/evm"), RefusedBare("missing JWT token")),
        row("two parts of a token", fresh("/evm", lambda _: "a.b"), refused("malformatted token")),
        row(
            "HS256, public key as secret", fresh("/evm", confused), refused("unsupported algorithm")
        ),
        row("no kid", nameless, refused("empty key id")),
        row("kid of an unregistered key", unregistered, refused("empty configuration")),
        row("another key under this kid", impostor, refused("signature verification failed")),
        row("expired a minute ago", late, refused("expired token")),
        row("valid in a minute", early, refused("not reached nbf")),
        row("audience evilallthatnode.com", foreign, refused("invalid audience")),
    ]


def _nodius(kit: Kit) -> list[Case]:
    row, caller = partial(Case, "nodius"), Accepted("solana", "signature", kit.wallet.pubkey)
    v1, v2 = WalletSigner(kit.wallet, 1), WalletSigner(kit.wallet, 2)
    newcomer = Wallet.generate()
    newly = Accepted("solana", "signature", newcomer.pubkey)
    return [
        row("wallet signature, v1", signed("/solana", v1), caller),
        row("wallet signature, v2", signed("/solana?cluster=main", v2), caller),
        row("a wallet never seen before", signed("/solana", WalletSigner(newcomer, 1)), newly),
    ]


def _nodius_refused(kit: Kit) -> list[Case]:
    row = partial(Case, "nodius")
    v1, v2 = WalletSigner(kit.wallet, 1), WalletSigner(kit.wallet, 2)
    good = signed("/solana", v1)

    def changed(now: float) -> Shot:
        return replace(good(now), body=rpc("sendTransaction"))

    def moved(now: float) -> Shot:
        return replace(signed("/solana", v2)(now), target="/solana/admin")

    def partly(now: float) -> Shot:
        return replace(good(now), headers=good(now).headers[:3])

    def version_3(now: float) -> Shot:
        return replace(good(now), headers=(*good(now).headers, ("X-Auth-Version", "3")))

    def compressed(now: float) -> Shot:
        return replace(good(now), headers=(*good(now).headers, ("Content-Encoding", "gzip")))

    large, replayed = signed("/solana", v1, b" " * OVERSIZED), Refused("replayed")
    return [
        row("the same request again", good, replayed, "here"),
        row("and again elsewhere", good, replayed, "elsewhere"),
        row("signed a minute ago", signed("/solana", v1, ahead=-60), Refused("expired")),
        row("signed a minute ahead", signed("/solana", v1, ahead=60), Refused("not_yet_valid")),
        row("body changed after signing", changed, Refused("invalid_credentials")),
        row("v2 signature for another path", moved, Refused("invalid_binding")),
        row("one of four headers missing", partly, Refused("malformed_credentials")),
        row("X-Auth-Version: 3", version_3, Refused("unsupported_algorithm")),
        row("body over 5 MiB", large, Refused("body_too_large")),
        row("Content-Encoding: gzip", compressed, Refused("unsupported_encoding")),
    ]


def _nodius_2026(kit: Kit) -> list[Case]:
    row = partial(Case, "nodius-2026")
    caller = Accepted("solana-2026", "signature", kit.listed_wallet.pubkey)
    good = signed("/solana-2026?x=1", WalletSigner(kit.listed_wallet, 2026))
    old = signed("/solana-2026", WalletSigner(kit.listed_wallet, 2))
    stranger = signed("/solana-2026", WalletSigner(kit.wallet, 2026))
    return [
        row("signature of a listed wallet", good, caller),
        row("a wallet that is not listed", stranger, Refused("not_listed")),
        row("payload of the old protocol", old, Refused("invalid_credentials")),
        row("the same request again", good, Refused("replayed"), "here"),
    ]


def _oppiwallet(kit: Kit) -> list[Case]:
    row, target = partial(Case, "oppiwallet"), "/payouts/withdraw"
    signer = OrderSigner(kit.auth_key, kit.enc_key, kit.digest_fields)

    def good(now: float) -> Shot:
        return signed(target, signer, withdrawal("0.001"))(now)

    def dearer(now: float) -> Shot:
        return replace(good(now), body=withdrawal("1000"))

    def renamed(now: float) -> Shot:
        return replace(good(now), headers=(*good(now).headers[:1], ("X-Auth-Key", "merchant-2")))

    def elsewhere(now: float) -> Shot:
        return replace(good(now), target="/payouts/refund")

    def in_seconds(now: float) -> Shot:
        digest = order.order_digest("BTC", "0.001", "1")
        token = order.oppiwallet(kit.enc_key, kit.auth_key, target, digest, now / 1000)
        shot = bearer(target, token, body=withdrawal("0.001"))
        return replace(shot, headers=(*shot.headers, ("X-Auth-Key", kit.auth_key)))

    replayed = Refused("replayed")
    return [
        row("token bound to path and order", good, Accepted("payouts", "jwt", kit.auth_key)),
        row("the same request again", good, replayed, "here"),
        row("and again elsewhere", good, replayed, "elsewhere"),
        row("amount changed later", dearer, Refused("invalid_binding")),
        row("sent to another path", elsewhere, Refused("invalid_binding")),
        row("another x-auth-key", renamed, Refused("invalid_credentials")),
        row("times in seconds", in_seconds, Refused("invalid_claims")),
    ]


def withdrawal(amount: str) -> bytes:
    """Return the body of one withdrawal, with an order id of its own."""
    members = {"currency": "BTC", "amount": amount, "orderId": secrets.token_hex(4)}
    return rpc("rpcguard_whoami", **members)


def _engine_api(kit: Kit) -> list[Case]:
    row, key = partial(Case, "engine-api"), kit.engine
    mint, caller = partial(tokens.engine_api, key), Accepted("engine", "jwt", "consensus")
    return [
        row("token with iat alone", fresh("/engine", mint), caller),
        row("the same on a WebSocket", fresh("/ws/engine", mint, websocket=True), caller),
        row("iat two minutes ago", minted("/engine", key, iat=-120), Refused("expired")),
        row("iat two minutes ahead", minted("/engine", key, iat=120), Refused("not_yet_valid")),
    ]


def _bearer(kit: Kit) -> list[Case]:
    row, key, own = partial(Case, "bearer"), kit.bots, kit.bots_claims
    caller = Accepted("bots", "jwt", own["sub"])

    def token(**changes: str) -> Make:
        return minted("/bots", key, {**own, **changes}, iat=0, exp=HOUR)

    def sending(now: float) -> Shot:
        return replace(token()(now), body=rpc("eth_sendRawTransaction"))

    early = minted("/bots", key, own, iat=0, nbf=60, exp=HOUR)
    eternal = minted("/bots", key, own, iat=0)
    return [
        row("EdDSA token of one hour", token(), caller),
        row("another audience", token(aud="cats"), Refused("invalid_audience")),
        row("another issuer", token(iss="https://evil.example"), Refused("invalid_claims")),
        row("no exp", eternal, Refused("invalid_claims")),
        row("valid in a minute", early, Refused("not_yet_valid")),
        row("a method not in the policy", sending, Refused("forbidden_method")),
    ]


def _target(kit: Kit) -> list[Case]:
    row, mint = partial(Case, "any"), partial(tokens.meganode, kit.bsc)
    return [
        row("good token, no project there", fresh("/nowhere", mint), Refused("no_project")),
        row(
            "good token, path with %2e%2e",
            fresh("/v1/%2e%2e/bots", mint),
            Refused("invalid_target"),
        ),
    ]
