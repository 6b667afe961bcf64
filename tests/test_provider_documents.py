"""
Clients that follow the providers' documents to the letter, with the tools that these name: openssl,
curl, and JavaScript's own arithmetic (its results are recorded here).
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import base58
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from minting import NOW, SECRET, Wallet, key_digest, segment

from rpcguard import AuthError, Request, Verifier

ROOT = Path(__file__).parents[1]
RSA_KID = "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c"
EC_KID = "7c1e5a90-15aa-11ee-a1d8-0a58538e0d0c"
API_KEY = "nod_abc123"
PROJECT = "2a8428f5a79b09aadff75a745397cf6d2f59d51e"


pytestmark = [pytest.mark.openssl, pytest.mark.curl]


def run(command: str, directory: Path) -> bytes:
    """Run a shell line of a document; it must succeed."""
    done = subprocess.run(
        ["/bin/sh", "-ec", command], cwd=directory, capture_output=True, check=True, timeout=60
    )
    return done.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `rsa` and `ec`, each with the files of All That Node's step 1."""
    root = tmp_path_factory.mktemp("keys")
    for name in ("rsa", "ec"):
        (root / name).mkdir()
    run("openssl genrsa -out private.pem 2048", root / "rsa")
    run("openssl rsa -in private.pem -outform PEM -pubout -out public.pem", root / "rsa")
    run("openssl ecparam -name prime256v1 -genkey -noout -out privtemp.pem", root / "ec")
    run("openssl pkcs8 -in privtemp.pem -topk8 -nocrypt -out private.pem", root / "ec")
    run("openssl ec -in private.pem -pubout -out public.pem", root / "ec")
    return root


REGISTRY = f"""
version: 1
backend: memory://?restart_guard=off
projects:
  evm:
    preset: allthatnode
    id: {PROJECT}
    match: {{path: [/evm, /ws/evm]}}
    audience_suffix: AllThatNode.com
    keys:
      - {{kid: {RSA_KID}, name: rsa, public_key: "${{file:rsa/public.pem}}"}}
      - {{kid: {EC_KID}, name: ec, public_key: "${{file:ec/public.pem}}"}}
  nodius:
    preset: nodius
    wallets: open
    api_keys: [{{id: bot, digest: "{key_digest(API_KEY)}"}}]
  bsc:
    preset: meganode
    match: {{path: [/v1/, /ws/v1/]}}
    secrets: [{{id: a, secret: "{SECRET}"}}]
  payouts:
    preset: oppiwallet
    match: {{path: /path/to/endpoint}}
    keys: [{{auth_key: YOUR_AUTH_KEY, enc_key: "{SECRET}"}}]
    digest_fields: {{/path/to/endpoint: [currency, amount, orderId]}}
"""


@pytest.fixture(scope="module")
def registry(keys: Path) -> Path:
    path = keys / "registry.yaml"
    path.write_text(REGISTRY, encoding="utf-8")
    return path


@pytest.fixture
def verifier(registry: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(registry, clock=lambda: NOW, environ={}, watch=False) as opened:
        yield opened


def signed(keys: Path, name: str, claims: dict[str, object]) -> str:
    """Return a JWT signed by `openssl dgst`, as the document's steps 3.1 to 3.3 say."""
    alg, kid = ("RS256", RSA_KID) if name == "rsa" else ("ES256", EC_KID)
    text = f"{segment({'alg': alg, 'typ': 'JWT', 'kid': kid})}.{segment(claims)}"
    (keys / name / "signing_input").write_text(text, encoding="ascii")
    signature = run("openssl dgst -sha256 -sign private.pem signing_input", keys / name)
    if name == "ec":  # JWS wants the two numbers side by side (RFC 7518 section 3.4)
        signature = b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(signature))
    return f"{text}.{segment(signature)}"


# --- All That Node ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rsa", "ec"])
def test_a_token_signed_by_openssl_is_accepted(verifier, keys, name):
    claims = {"exp": NOW + 60, "nbf": NOW - 60, "aud": "https://evm.AllThatNode.com"}
    headers = [("Authorization", f"Bearer  {signed(keys, name, claims)}")]
    principal = verifier.verify(Request("POST", "/evm", headers, b"{}"))
    assert principal.name == name


def test_a_der_signature_is_not_that_of_a_jwt(verifier, keys):
    head, _, _ = signed(keys, "ec", {}).rpartition(".")
    der = run("openssl dgst -sha256 -sign private.pem signing_input", keys / "ec")
    headers = [("Authorization", f"Bearer {head}.{segment(der)}")]
    with pytest.raises(AuthError) as caught:
        verifier.verify(Request("POST", "/evm", headers, b"{}"))
    assert caught.value.message == "invalid JWT token (signature verification failed)"


def test_the_documents_dates(registry, keys):
    """`exp` 1719511840 and `nbf` 1687834195, and a clock between and around them."""
    claims = {"exp": 1719511840, "nbf": 1687834195}
    headers = [("Authorization", f"Bearer {signed(keys, 'rsa', claims)}")]
    for now, message in [
        (1687834194, "invalid JWT token (not reached nbf)"),
        (1687834195, None),
        (1719511839, None),
        (1719511840, "invalid JWT token (expired token)"),
    ]:
        with Verifier.from_yaml(registry, clock=lambda now=now: now, watch=False) as opened:
            try:
                opened.verify(Request("POST", "/evm", headers, b"{}"))
            except AuthError as error:
                assert error.message == message
            else:
                assert message is None


# --- MegaNode -------------------------------------------------------------------------------------


def test_the_documents_python(verifier):
    def generate_meganode_jwt(secret: str, expires_in: int = 3600) -> str:
        payload = {"iat": NOW, "exp": NOW + expires_in}
        return jwt.encode(payload, secret, algorithm="HS256")

    headers = [("Authorization", f"Bearer {generate_meganode_jwt(SECRET)}")]
    assert verifier.verify(Request("POST", "/v1/", headers, b"{}")).project == "bsc"


# --- OppiWallet -------------------------------------------------------------------------------------

# crypto.createHash("sha256").update(JSON.stringify(signatureData)).digest("hex") under Node 20
DIGESTS = [
    (("BTC", "0.001", "12345"), "3fb40efb3db0642df5ea9ba01131dd17f21c2c6a8ca59f9c4c7dddb5b14877a2"),
    (("", "", ""), "d211e5458dd3335a8ad30f50ec1282a57784ca137e59ce81991b9d6a6766a883"),
    (
        ("é€", "\U0001f600", "\u2028"),
        "f3f4e3330ffc8467150dfa90c02f7136d8c4ffa5419dbeb4134ab0d2c745650e",
    ),
    (
        ('q"', "back\\slash", "tab\t\u0001\x7f"),
        "a2fe11483f9d612cdf59e2921075b611ee3f2a2d6850278b82acb6acbe1019b3",
    ),
]


@pytest.mark.parametrize(("values", "digest"), DIGESTS)
def test_the_documents_javascript(verifier, values, digest):
    payload = {
        "url": "/path/to/endpoint",
        "iat": NOW * 1000,
        "exp": NOW * 1000 + 60000,
        "key": "YOUR_AUTH_KEY",
        "signature": digest,
    }
    headers = [
        ("Authorization", f"Bearer {jwt.encode(payload, SECRET, algorithm='HS256')}"),
        ("x-auth-key", "YOUR_AUTH_KEY"),
        ("Content-Type", "application/json"),
    ]
    body = json.dumps(dict(zip(("currency", "amount", "orderId"), values, strict=True))).encode()
    principal = verifier.verify(Request("POST", "/path/to/endpoint", headers, body))
    assert principal.subject == "YOUR_AUTH_KEY"


def test_a_digest_without_the_quotes_is_another(verifier):
    assert DIGESTS[0][1] == hashlib.sha256(b'"BTC#0.001#12345"').hexdigest()
    assert DIGESTS[0][1] != hashlib.sha256(b"BTC#0.001#12345").hexdigest()


# --- Nodius ---------------------------------------------------------------------------------------


def test_the_documents_typescript(verifier):
    """tweetnacl's secretKey is seed and public key; its detached signature is Ed25519's."""
    import nacl.bindings

    public, secret = nacl.bindings.crypto_sign_seed_keypair(hashlib.sha256(b"wallet").digest())
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getSlot"}, separators=(",", ":"))
    timestamp, nonce = str(NOW), bytes(range(8)).hex()
    payload = f"{timestamp}:{nonce}:{hashlib.sha256(body.encode()).hexdigest()}"
    signature = nacl.bindings.crypto_sign(payload.encode(), secret)[:64]
    headers = [
        ("X-Pubkey", base58.b58encode(public).decode()),
        ("X-Signature", base58.b58encode(signature).decode()),
        ("X-Timestamp", timestamp),
        ("X-Nonce", nonce),
    ]
    principal = verifier.verify(Request("POST", "/", headers, body.encode()))
    assert principal.subject == base58.b58encode(public).decode()


# --- curl against a server --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(registry: Path) -> Iterator[str]:
    """The URL of the FastAPI example in a process of its own."""
    command = [sys.executable, str(ROOT / "examples" / "fastapi_app.py"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--registry", str(registry)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            word, _, url = process.stdout.readline().strip().partition(" ")
            assert word == "ready"
            yield url
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0


CALL = '{"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}'


def curl(*arguments: str) -> tuple[int, dict[str, object]]:
    """Return status and JSON of what curl got."""
    done = subprocess.run(
        ["curl", "-s", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def post(url: str, *headers: str, data: str = CALL) -> tuple[int, dict[str, object]]:
    """Run the curl command of All That Node's step 4, with *headers*."""
    fields = [part for header in headers for part in ("-H", header)]
    return curl("-X", "POST", "-H", "Content-Type: application/json", *fields, "--data", data, url)


def test_the_documents_curl_with_two_spaces_after_bearer(server, keys):
    token = signed(keys, "rsa", {"exp": int(time.time()) + 60})
    status, answer = post(f"{server}/evm", f"Authorization: Bearer  {token}")
    assert status == 200
    assert answer["id"] == 1
    assert "result" in answer


def test_the_documents_error_examples(server, keys):
    now = int(time.time())
    good = signed(keys, "ec", {})
    unsigned = segment({"alg": "HS256", "kid": EC_KID})
    no_kid = segment({"alg": "ES256"})
    unknown = segment({"alg": "ES256", "kid": "x"})
    _, payload, signature = good.split(".")
    for token, message in [
        (None, "missing JWT token"),
        ("x.y", "invalid JWT token (malformatted token)"),
        (f"{unsigned}.{payload}.{signature}", "invalid JWT token (unsupported algorithm)"),
        (f"{no_kid}.{payload}.{signature}", "invalid JWT token (empty key id)"),
        (f"{unknown}.{payload}.{signature}", "invalid JWT token (empty configuration)"),
        (
            f"{good[:-8]}AAAAAAAA",
            "invalid JWT token (signature verification failed)",
        ),
        (signed(keys, "ec", {"exp": now - 1}), "invalid JWT token (expired token)"),
        (signed(keys, "ec", {"nbf": now + 60}), "invalid JWT token (not reached nbf)"),
    ]:
        headers = [] if token is None else [f"Authorization: Bearer {token}"]
        status, answer = post(f"{server}/evm", *headers)
        assert status == 403
        assert answer == {"code": -32013, "message": message, "project": PROJECT}


def test_the_documents_curl_with_an_api_key(server):
    data = '{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
    status, answer = curl(
        "-X",
        "POST",
        f"{server}/",
        "-H",
        "Content-Type: application/json",
        "-H",
        f"Authorization: Bearer {API_KEY}",
        "-d",
        data,
    )
    assert status == 200
    assert "result" in answer


def test_a_signed_request_by_curl_works_once(server):
    data = '{"jsonrpc":"2.0","id":1,"method":"rpcguard_whoami"}'
    wallet = Wallet(7)
    fields = wallet.v1(data.encode(), timestamp=int(time.time()), nonce="7" * 16)
    headers = [f"{name}: {value}" for name, value in fields]
    status, answer = post(f"{server}/", *headers, data=data)
    assert status == 200
    assert answer["result"]["subject"] == wallet.pubkey
    status, answer = post(f"{server}/", *headers, data=data)
    assert status == 401
    assert answer["error"]["data"]["reason"] == "replayed"


def test_base64_of_openssl_and_ours_agree(keys):
    """`openssl base64 -A | tr '+/' '-_' | tr -d '='`, as scripts write base64url."""
    (keys / "bytes").write_bytes(bytes(range(256)))
    line = "openssl base64 -A -in bytes | tr '+/' '-_' | tr -d '='"
    assert run(line, keys).decode() == segment(bytes(range(256)))
    assert base64.urlsafe_b64decode(segment(bytes(range(256))) + "==") == bytes(range(256))
