"""What `connect` does beyond the conformance suite: subprotocols, reconnection, headers, TLS."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from client.recorder import Told, recording
from client.registry import API_KEY, SECRET, WALLET
from client.shims import WHOAMI
from client.site import Site
from rpcguard import client
from rpcguard.client import Wallet
from rpcguard.client.keeper import SignInError
from rpcguard.client.websockets import Auth, connect

SIGNATURE = client.nodius(WALLET)


def uri_of(site: Site, path: str = "/ws/solana") -> str:
    return f"ws://127.0.0.1:{site.port}{path}"


async def whoami(websocket) -> dict[str, str]:
    await websocket.send(WHOAMI.decode())
    return json.loads(await websocket.recv())["result"]


@pytest.mark.parametrize("offered", [None, ["jsonrpc"]])
def test_a_session_token_is_offered_as_a_subprotocol(site: Site, wallet: Wallet, offered):
    credentials = client.nodius(wallet, "session")

    async def scene() -> tuple[dict[str, str], str, str | None]:
        connecting = connect(uri_of(site), credentials, subprotocol=True, subprotocols=offered)
        async with connecting as websocket:
            sent = websocket.request.headers
            assert "Authorization" not in sent
            return (
                await whoami(websocket),
                sent["Sec-WebSocket-Protocol"],
                websocket.subprotocol,
            )

    caller, sent, chosen = asyncio.run(scene())
    assert caller == {"subject": wallet.pubkey, "project": "solana", "scheme": "session"}
    assert sent.split(", ")[: len(offered or ())] == (offered or [])
    assert sent.split(", ")[-1].startswith("auth.ey")
    assert chosen in sent.split(", ")


def test_a_reconnection_is_proved_anew(site: Site):
    async def scene() -> list[str]:
        nonces = []
        async for websocket in connect(uri_of(site), SIGNATURE):
            nonces.append(websocket.request.headers["X-Nonce"])
            assert (await whoami(websocket))["scheme"] == "signature"
            await websocket.close()
            if len(nonces) == 3:
                return nonces
        raise AssertionError

    assert len(set(asyncio.run(scene()))) == 3


def test_one_connect_serves_again(site: Site, wallet: Wallet):
    async def scene() -> None:
        auth = Auth(uri_of(site), client.nodius(wallet, "session"))
        for _ in range(2):
            websocket = await connect(uri_of(site), auth)
            assert (await whoami(websocket))["subject"] == wallet.pubkey
            await websocket.close()
        await auth.logout()

    asyncio.run(scene())
    assert site.seen["/auth/verify"] == site.seen["/auth/logout"] == 1


@pytest.mark.parametrize("headers", [{"X-Mine": "1", "authorization": "Bearer old"}, []])
def test_headers_of_the_users_own_go_along_and_give_way(site: Site, headers):
    async def scene() -> list[tuple[str, str]]:
        uri = uri_of(site, "/ws/bsc")
        credentials = client.meganode(SECRET)
        async with connect(uri, credentials, additional_headers=headers) as websocket:
            assert (await whoami(websocket))["project"] == "bsc"
            return list(websocket.request.headers.raw_items())

    sent = asyncio.run(scene())
    assert len([name for name, _ in sent if name.lower() == "authorization"]) == 1
    assert ("X-Mine", "1") in sent or not headers


def test_an_api_key_is_not_moved_to_a_subprotocol_from_another_header(site: Site):
    async def scene() -> str:
        uri = uri_of(site, "/ws/solana-2026")
        credentials = client.api_key(API_KEY, "X-Api-Key")
        async with connect(uri, credentials, subprotocol=True) as websocket:
            return (await whoami(websocket))["scheme"]

    assert asyncio.run(scene()) == "api_key"


def test_a_refusal_that_nothing_can_help_is_raised(site: Site):
    async def scene() -> None:
        await connect(uri_of(site), client.meganode(SECRET))

    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(scene())
    assert caught.value.response.status_code == 401


def test_a_sign_in_uses_the_tls_settings_of_the_connection(certificate):
    """Over TLS on one port: the recorder cannot speak WebSocket, so the handshake is refused."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    credentials = client.nodius(Wallet.generate(), "session")

    async def scene(uri: str, context: ssl.SSLContext | None) -> None:
        await connect(uri, credentials, ssl=context)

    with recording(server) as recorder:
        recorder.tell = lambda _: Told(404)
        uri = recorder.url.replace("https", "wss")
        with pytest.raises(SignInError) as caught:
            asyncio.run(scene(uri, trusting))
        assert caught.value.status == 404
        with pytest.raises(ssl.SSLCertVerificationError):
            asyncio.run(scene(uri, None))
    assert recorder.paths == ["/auth/challenge"]


def test_a_handshake_covers_no_frames_but_the_connection_is_that_of_the_library():
    """Against the library's own server: nothing else about the connection has changed."""

    async def echo(websocket) -> None:
        async for message in websocket:
            await websocket.send(message)

    async def scene() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            connecting = connect(f"ws://127.0.0.1:{port}/", SIGNATURE, max_size=10, origin=None)
            async with connecting as websocket:
                await websocket.send("short")
                assert await websocket.recv() == "short"
                await websocket.send("longer than ten")
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()

    asyncio.run(scene())
