"""
The libraries of the providers' documents, under Node: as clients of our servers, written as the
documents show, and as a server for our clients.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client.registry import FIELDS, SECRET, key
from client.shims import EVERY, LIBRARIES, WHOAMI, document_of, opened
from client.site import FRAMEWORKS, Site, running
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from minting import private_key, public_pem

from rpcguard import client
from rpcguard.client import Wallet

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]  # the packages are installed first

ORDER = b'{"currency": "BTC", "amount": "0.001", "orderId": "1"}'


@pytest.fixture(scope="module", params=FRAMEWORKS)
def site(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Site]:
    with running(request.param, tmp_path_factory.mktemp("site")) as site:
        yield site


def run(scripts: Path, way: str, url: str, body: bytes = WHOAMI, **given: Any) -> dict[str, Any]:
    """Return what the Node client of this *way* got: status, document, protocol."""
    arguments = json.dumps({"way": way, "url": url, "body": body.decode(), **given})
    done = subprocess.run(
        ["node", str(scripts / "clients.mjs"), arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pem(alg: str) -> str:
    made = private_key(alg).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.decode()


@pytest.mark.parametrize(
    ("way", "path", "status"), [("meganode", "/bsc", 200), ("meganode-ws", "/ws/bsc", 101)]
)
def test_jsonwebtoken_and_ws_as_meganode_shows_them(scripts, site, way, path, status):
    got = run(scripts, way, site.url + path, secret=SECRET)
    assert got["status"] == status
    assert got["document"]["result"] == {"subject": "a", "project": "bsc", "scheme": "jwt"}
    got = run(scripts, way, site.url + path, secret=SECRET + "!")
    assert got["status"] == 401


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, None),
        ({"exp": 4_000_000_000, "nbf": 1_687_834_195, "aud": "EVM.AllThatNode.com"}, None),
        ({"exp": 1_719_511_840}, "invalid JWT token (expired token)"),
        ({"nbf": 4_000_000_000}, "invalid JWT token (not reached nbf)"),
        ({"aud": "evilallthatnode.com"}, "invalid JWT token (invalid audience)"),
    ],
)
def test_jsonwebtoken_as_all_that_node_shows_it(scripts, site, payload, message):
    given = {"privateKey": pem("ES256"), "algorithm": "ES256", "kid": "k1", "payload": payload}
    got = run(scripts, "allthatnode", f"{site.url}/evm", **given)
    assert got["status"] == (403 if message else 200)
    assert got["document"].get("message") == message


@pytest.mark.parametrize(
    ("way", "path"), [("nodius", "/solana"), ("nodius-v2", "/solana?cluster=main%20net")]
)
def test_tweetnacl_and_bs58_as_nodius_shows_them(scripts, site, way, path):
    wallet = Wallet.generate()
    got = run(scripts, way, site.url + path, secretKey=wallet.secret_key_base58)
    expected = {"subject": wallet.pubkey, "project": "solana", "scheme": "signature"}
    assert (got["status"], got["document"]["result"]) == (200, expected)


@pytest.mark.parametrize(
    ("way", "path", "status", "scheme"),
    [
        ("nodius-session", "/solana", 200, "session"),
        ("nodius-session-ws", "/ws/solana", 101, "session"),
        ("nodius-session-subprotocol", "/ws/solana", 101, "session"),
        ("nodius-api-key", "/solana", 200, "api_key"),
    ],
)
def test_a_session_and_an_api_key_as_nodius_shows_them(scripts, site, way, path, status, scheme):
    wallet = Wallet.generate()
    got = run(scripts, way, site.url + path, secretKey=wallet.secret_key_base58)
    expected = {"subject": wallet.pubkey, "project": "solana", "scheme": scheme}
    assert (got["status"], got["document"]["result"]) == (status, expected)


def test_jsonwebtoken_as_oppiwallet_shows_it(scripts, site):
    given = {"authKey": "merchant-1", "encKey": SECRET}
    got = run(scripts, "oppiwallet", f"{site.url}/payouts/withdraw", ORDER, **given)
    assert got["status"] == 200
    got = run(scripts, "oppiwallet", f"{site.url}/payouts/refund", ORDER, **given)
    assert got["document"]["error"]["data"]["reason"] == "invalid_binding"


@pytest.fixture(scope="module")
def node(scripts: Path) -> Iterator[str]:
    """The URL of the Node server."""
    config = {
        "secret": SECRET,
        "publicKeys": {"k1": public_pem("ES256"), "r1": public_pem("RS256")},
        "encKey": SECRET,
        "authKey": "merchant-1",
    }
    command = ["node", str(scripts / "server.mjs"), json.dumps(config)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        assert process.stdin is not None
        process.stdin.close()  # tells it to end
        assert process.wait(60) == 0


every_library = pytest.mark.parametrize("shim", LIBRARIES, ids=lambda shim: shim.name)


@every_library
@pytest.mark.parametrize(
    ("credentials", "target", "body", "caller"),
    [
        (client.meganode(SECRET), "/bsc", WHOAMI, "meganode"),
        (client.allthatnode(key("ES256"), audience="evm.AllThatNode.com"), "/evm", b"", "ES256"),
        (
            client.allthatnode(key("RS256", "r1"), audience="evm.allthatnode.com"),
            "/evm",
            b"",
            "RS256",
        ),
        (client.oppiwallet("merchant-1", SECRET, FIELDS), "/payouts/withdraw", ORDER, "merchant-1"),
        (
            client.oppiwallet("merchant-1", SECRET, FIELDS),
            "/payouts/withdraw",
            '{"currency": "é\\"\\u2028", "amount": 1e-7, "orderId": 12345678901}'.encode(),
            "merchant-1",
        ),
    ],
)
def test_jsonwebtoken_verifies_our_tokens(node, shim, credentials, target, body, caller):
    with opened(shim, node, credentials) as library:
        for _ in range(2):
            got = library.call(target, body)
            assert (got.status, got.document) == (200, {"caller": caller})


@every_library
@pytest.mark.parametrize("version", ["signature", "signature-v2", "session"])
def test_tweetnacl_verifies_our_signatures(node, shim, version, wallet):
    with opened(shim, node, client.nodius(wallet, version)) as library:
        for _ in range(3):
            got = library.call("/solana?a=%20b" if version == "signature-v2" else "/solana")
            assert (got.status, got.document) == (200, {"caller": wallet.pubkey})


@pytest.fixture
def wallet() -> Wallet:
    return Wallet.generate()


@pytest.mark.parametrize("version", ["signature", "signature-v2", "session"])
def test_ws_accepts_our_handshakes(node, version, wallet):
    import asyncio

    from rpcguard.client.websockets import connect

    async def ask() -> Any:
        uri = node.replace("http", "ws") + "/solana"
        async with connect(uri, client.nodius(wallet, version)) as websocket:
            return document_of((await websocket.recv()).encode())

    assert asyncio.run(ask()) == {"caller": wallet.pubkey}


def test_our_clock_learns_from_node_too(node, wallet):
    import time

    for shim in (EVERY[0], EVERY[4]):
        credentials = client.nodius(wallet)
        with opened(shim, node, credentials, clock=lambda: time.time() - 900) as library:
            assert library.call("/solana").status == 200
