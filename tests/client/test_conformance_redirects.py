"""
Credentials follow no redirect to another host, scheme or port, in any library; a redirect that
stays with the endpoint is proved anew.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate

import httpx
import httpx2
import pytest
import requests

import rpcguard.client.httpx
import rpcguard.client.httpx2
from client.recorder import Recorder, Told, recording
from client.registry import API_KEY, SECRET, WALLET, key
from client.shims import EVERY, LIBRARIES, Shim, opened
from client.site import Site
from rpcguard import client
from rpcguard.client.keeper import SignInError

CREDENTIALS = [
    client.nodius(WALLET),
    client.meganode(SECRET),
    client.api_key(API_KEY, "X-Api-Key"),
    client.allthatnode(key("ES256")),
]
OURS = {
    *("authorization", "x-pubkey", "x-signature", "x-timestamp", "x-nonce", "x-api-key"),
    *("x-auth-version", "x-http-method", "x-http-path", "x-auth-key", "sec-websocket-protocol"),
}

every_shim = pytest.mark.parametrize("shim", EVERY, ids=lambda shim: shim.name)
every_library = pytest.mark.parametrize("shim", LIBRARIES, ids=lambda shim: shim.name)


def leaked(recorder: Recorder) -> set[str]:
    """Return the headers of ours that came to *recorder*."""
    return {name for asked in recorder.asked for name in asked.headers} & OURS


def moving(where: str, status: int = 307):
    return lambda asked: Told(status, headers={"Location": where})


@every_shim
@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_port_gets_none(recorder, elsewhere, shim: type[Shim], credentials, status):
    scheme = "ws" if shim.name == "websockets" else "http"
    recorder.tell = moving(f"{scheme}://127.0.0.1:{elsewhere.port}/taken", status)
    with opened(shim, recorder.url, credentials) as library:
        library.call("/solana")
    assert OURS & set(recorder.asked[0].headers)
    assert elsewhere.paths == ["/taken"]
    assert not leaked(elsewhere)


@every_shim
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_another_host_gets_none(recorder, shim: type[Shim], credentials):
    scheme = "ws" if shim.name == "websockets" else "http"
    other = f"{scheme}://localhost:{recorder.port}/taken"
    recorder.tell = lambda asked: (
        Told() if asked.path == "/taken" else Told(307, headers={"Location": other})
    )
    with opened(shim, recorder.url, credentials) as library:
        library.call("/solana")
    first, second = recorder.asked
    assert OURS & set(first.headers)
    assert not OURS & set(second.headers)


@pytest.fixture
def behind_tls(certificate) -> Iterator[Recorder]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with recording(context) as recorder:
        yield recorder


@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_another_scheme_gets_none(recorder, behind_tls, certificate, credentials):
    recorder.tell = moving(f"{behind_tls.url}/taken")
    context = ssl.create_default_context(cafile=str(certificate))
    for library, module in (
        (httpx, rpcguard.client.httpx),
        (httpx2, rpcguard.client.httpx2),
    ):
        auth = module.Auth(recorder.url, credentials)
        with library.Client(auth=auth, verify=context, follow_redirects=True) as caller:
            assert caller.post(f"{recorder.url}/solana").status_code == 200
    with requests.Session() as session:
        session.auth = rpcguard.client.requests.Auth(recorder.url, credentials, session=session)
        session.trust_env = False  # a bundle that the environment names would come first
        session.verify = str(certificate)
        assert session.post(f"{recorder.url}/solana").status_code == 200
    assert behind_tls.paths == ["/taken"] * 3
    assert not leaked(behind_tls)


@pytest.mark.parametrize(
    ("library", "module"), [(httpx, rpcguard.client.httpx), (httpx2, rpcguard.client.httpx2)]
)
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_an_upgrade_to_https_on_the_usual_ports_takes_none_along(library, module, credentials):
    """httpx keeps `Authorization` there; the ports are why this has no real server."""
    seen = []

    def answer(request):
        seen.append((str(request.url), OURS & set(request.headers)))
        moved = {"location": "https://node.example/solana"}
        return library.Response(307, headers=moved) if len(seen) == 1 else library.Response(200)

    auth = module.Auth("http://node.example", credentials)
    transport = library.MockTransport(answer)
    with library.Client(auth=auth, transport=transport, follow_redirects=True) as caller:
        response = caller.post("http://node.example/solana", content=b"{}")
    assert response.status_code == 200
    assert [url for url, _ in seen] == ["http://node.example/solana", "https://node.example/solana"]
    assert seen[0][1]
    assert not seen[1][1]


@pytest.mark.parametrize(
    ("library", "module"), [(httpx, rpcguard.client.httpx), (httpx2, rpcguard.client.httpx2)]
)
def test_a_redirect_that_is_not_followed_holds_none(library, module, recorder):
    recorder.tell = moving("http://127.0.0.1:1/taken")
    auth = module.Auth(recorder.url, CREDENTIALS[0])
    with library.Client(auth=auth) as caller:
        response = caller.post(f"{recorder.url}/solana")
    assert not OURS & set(response.next_request.headers)
    assert not OURS & set(response.request.headers)


@pytest.mark.parametrize(
    ("library", "module"), [(httpx, rpcguard.client.httpx), (httpx2, rpcguard.client.httpx2)]
)
def test_a_library_that_would_send_them_along_is_found_out(
    monkeypatch, library, module, recorder, elsewhere
):
    """As a later version of the library could, that works redirects out in another way."""
    monkeypatch.setattr("rpcguard.client._httpx_flow._Leg._forget", lambda _: None)
    recorder.tell = moving(f"{elsewhere.url}/taken")
    auth = module.Auth(recorder.url, CREDENTIALS[0])
    with (
        library.Client(auth=auth, follow_redirects=True) as caller,
        pytest.raises(RuntimeError, match="along redirects"),
    ):
        caller.post(f"{recorder.url}/solana")


@every_shim
@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("version", ["signature", "signature-v2", "session"])
def test_a_redirect_within_the_endpoint_is_proved_anew(
    wallet, site: Site, shim: type[Shim], status, version
):
    with opened(shim, site.url, client.nodius(wallet, version)) as library:
        got = library.call(f"/moved/{status}/solana")
    assert (got.status, got.caller[0]) == (200, wallet.pubkey)


@every_library
@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_turns_into_a_get_is_signed_as_one(site: Site, shim, status):
    with opened(shim, site.url, client.nodius(WALLET)) as library:
        got = library.call(f"/moved/{status}/solana")
    assert got.status == 200
    assert got.document["error"]["code"] == -32700  # no body, and the node was reached


@every_shim
def test_two_redirects_within_the_endpoint_are_followed(site: Site, shim):
    with opened(shim, site.url, client.nodius(WALLET)) as library:
        got = library.call("/moved/307/moved/308/solana")
    assert got.caller == (WALLET.pubkey, "solana", "signature")


@pytest.mark.parametrize(
    ("library", "module"), [(httpx, rpcguard.client.httpx), (httpx2, rpcguard.client.httpx2)]
)
def test_a_chain_of_places_that_each_want_a_proof_is_proved_four_times(library, module, recorder):
    def tell(asked):
        if not OURS & set(asked.headers):
            return Told(401)
        return moving(f"{recorder.url}/{int(asked.path[1:]) + 1}")(asked)

    recorder.tell = tell
    auth = module.Auth(recorder.url, client.nodius(WALLET, "signature-v2"))
    with library.Client(auth=auth, follow_redirects=True) as caller:
        assert caller.post(f"{recorder.url}/0", content=b"{}").status_code == 401
    proved = [asked.path for asked in recorder.asked if OURS & set(asked.headers)]
    assert proved == ["/0", "/1", "/2", "/3", "/4"]
    assert [path for path in recorder.paths if path not in proved] == ["/5"]
    assert len(recorder.paths) == 1 + 2 * 4 + 1


@every_shim
@pytest.mark.parametrize("route", ["/auth/challenge", "/auth/verify"])
@pytest.mark.parametrize("status", [302, 307])
def test_a_sign_in_follows_no_redirect(wallet, recorder, elsewhere, shim, route, status):
    challenge = {"challenge": "nodius:challenge:00112233445566778899aabbccddeeff:1760000000"}
    recorder.tell = lambda asked: (
        moving(f"{elsewhere.url}{route}", status)(asked)
        if asked.path == route
        else Told(200, challenge)
    )
    with (
        opened(shim, recorder.url, client.nodius(wallet, "session")) as library,
        pytest.raises(SignInError),
    ):
        library.call("/solana")
    assert elsewhere.asked == []


@every_library
def test_a_streamed_body_is_not_sent_again_after_a_redirect(site: Site, shim, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"{}")
    with opened(shim, site.url, client.meganode(SECRET)) as library, path.open("rb") as file:
        if shim.name in ("requests", "aiohttp"):
            got = library.send("/moved/307/bsc", data=file)
        else:
            got = library.send("/moved/307/bsc", files={"file": file})
    assert got.status == (200 if shim.name == "aiohttp" else 401)
    assert site.seen["/bsc"] == 1


@every_shim
@pytest.mark.parametrize("version", ["signature-v2", "session"])
def test_what_another_host_answers_teaches_nothing(wallet, recorder, elsewhere, shim, version):
    scheme = "ws" if shim.name == "websockets" else "http"
    challenge = {"challenge": "nodius:challenge:00112233445566778899aabbccddeeff:1760000000"}
    session = {"token": "t", "expiresAt": 2_000_000_000}
    answers = {"/auth/challenge": challenge, "/auth/verify": session}
    there = f"{scheme}://127.0.0.1:{elsewhere.port}/"
    recorder.tell = lambda asked: (
        Told(200, answers[asked.path])
        if asked.path in answers
        else Told(307, headers={"Location": there})
    )
    late = formatdate(time.time() + 600, usegmt=True)
    refused = {"error": {"code": -32001, "data": {"reason": "expired"}}}
    elsewhere.tell = lambda _: Told(401, refused, {"Date": late})
    with opened(shim, recorder.url, client.nodius(wallet, version)) as library:
        assert library.call("/solana").status == 401
    assert len(recorder.asked) == (3 if version == "session" else 1)
    assert len(elsewhere.asked) == 1


@every_shim
def test_a_redirect_that_comes_back_from_another_host_is_not_signed(recorder, elsewhere, shim):
    scheme = "ws" if shim.name == "websockets" else "http"
    there = f"{scheme}://127.0.0.1:{elsewhere.port}/"
    back = f"{scheme}://127.0.0.1:{recorder.port}/account/api-key"
    recorder.tell = lambda asked: (
        Told(401) if asked.path == "/account/api-key" else Told(307, headers={"Location": there})
    )
    elsewhere.tell = lambda _: Told(307, headers={"Location": back})
    with opened(shim, recorder.url, client.nodius(WALLET)) as library:
        assert library.call("/solana").status == 401
    assert not leaked(elsewhere)
    signed = [asked.path for asked in recorder.asked if OURS & set(asked.headers)]
    # aiohttp asks for each request anew, and does not say what came before it
    known = "/account/api-key" if "aiohttp" in shim.name or shim.name == "web3 async" else None
    assert [path.removeprefix("/ws") for path in signed if path != known] == ["/solana"]
