"""A registry with a project for each preset, and the credentials that it accepts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from minting import private_key, public_pem

from rpcguard import client
from rpcguard.client import Credentials, SigningKey, Wallet
from rpcguard.client.private_key import Private

SECRET = "a-shared-secret-of-more-than-32-bytes"
HEX = "0x" + "5a" * 32
WALLET = Wallet(bytes(range(32)))
ORDER = b'{"currency": "BTC", "amount": "0.001", "orderId": "1"}'
FIELDS = {"/payouts/withdraw": ["currency", "amount", "orderId"]}
API_KEY = "0123456789abcdef"
DIGEST = hashlib.sha256(API_KEY.encode()).hexdigest()
CLAIMS = {"iss": "https://id.example.com", "aud": "bots", "sub": "bot-7"}
HS = SigningKey.from_secret(SECRET, kid="s1")

REGISTRY = """\
version: 1
backend: %(backend)s
projects:
  bsc:
    preset: meganode
    match: {path: [/bsc, /ws/bsc]}
    secrets: [{id: a, secret: "${file:secret}"}]
    api_keys: [{id: ops, digest: "sha256:%(digest)s"}]
  rs:
    preset: meganode-rs256
    match: {path: [/rs, /ws/rs]}
    keys: [{kid: k1, public_key: "${file:RS256.pem}"}]
  evm:
    preset: allthatnode
    match: {path: [/evm, /ws/evm]}
    audience_suffix: allthatnode.com
    keys: [{kid: k1, public_key: "${file:ES256.pem}"}]
  solana:
    preset: nodius
    match: {path: [/solana, /ws/solana]}
    wallets: open
    session: {secret: "${file:secret}", refresh: %(refresh)s}
  solana-2026:
    preset: nodius-2026
    match: {path: [/solana-2026, /ws/solana-2026]}
    wallets: open
    api_keys: [{id: ops, digest: "sha256:%(digest)s"}]
  payouts:
    preset: oppiwallet
    match: {path: /payouts}
    keys: [{auth_key: merchant-1, enc_key: "${file:secret}"}]
    digest_fields: {/payouts/withdraw: [currency, amount, orderId]}
  engine:
    preset: engine-api
    match: {path: [/engine, /ws/engine]}
    secrets: [{id: jwt, secret: "${file:jwt.hex}"}]
  bots:
    preset: bearer
    match: {path: [/bots, /ws/bots]}
    issuer: https://id.example.com
    audience: bots
    keys: [{kid: k1, alg: EdDSA, public_key: "${file:EdDSA.pem}"}]
  once:
    preset: bearer
    match: {path: [/once, /ws/once]}
    single_use: true
    keys: [{kid: s1, alg: HS256, secret: "${file:secret}"}]
"""


def key(alg: str, kid: str | None = "k1") -> SigningKey:
    """Return the private key that the registry knows for *alg*."""
    material: Private = private_key(alg)
    return SigningKey(material, alg, kid)


def write(folder: Path, backend: str = "memory://", refresh: str = "off") -> Path:
    """Write the registry and the files that it names."""
    files = {"secret": SECRET, "jwt.hex": HEX}
    files |= {f"{alg}.pem": public_pem(alg) for alg in ("RS256", "ES256", "EdDSA")}
    for name, content in files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    path = folder / "registry.yaml"
    path.write_text(REGISTRY % {"backend": backend, "refresh": refresh, "digest": DIGEST})
    return path


# (credentials, target), for the calls of any library
CASES: list[tuple[Credentials, str]] = [
    (client.meganode(SECRET), "/bsc"),
    (client.meganode(SECRET.encode()), "/bsc"),
    (client.meganode(SigningKey.from_secret(SECRET), lifetime=60), "/bsc"),
    (client.meganode_rs256(key("RS256")), "/rs"),
    (client.allthatnode(key("ES256"), audience="evm.allthatnode.com"), "/evm"),
    (client.nodius(WALLET), "/solana?a=%20b"),
    (client.nodius(WALLET, "signature"), "/solana"),
    (client.nodius(WALLET, "signature-v2"), "/solana"),
    (client.nodius_2026(WALLET), "/solana-2026?a=b"),
    (client.api_key(API_KEY, "X-Api-Key"), "/solana-2026"),
    (client.engine_api(HEX), "/engine"),
    (client.engine_api(SigningKey.from_hex(HEX)), "/engine"),
    (client.bearer(key("EdDSA"), CLAIMS), "/bots"),
    (client.bearer(HS, {"sub": "bot"}, single_use=True), "/once"),
]
WITHDRAWAL: tuple[Credentials, str] = (
    client.oppiwallet("merchant-1", SECRET, FIELDS),
    "/payouts/withdraw",
)
SESSION: tuple[Credentials, str] = (client.nodius(WALLET, "session"), "/solana")
