"""A real nginx with the shipped configuration, in front of what the shipped unit runs."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator

import base58
import pytest
from backends.redis_servers import until
from contrib import credentials as cred
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from deployment.site import HOST, Site, application, nginx, site, unix_request

pytestmark = pytest.mark.nginx

CALL = b'{"jsonrpc":"2.0","id":7,"method":"rpcguard_whoami"}'
MAX_BODY = 5 * 1024 * 1024  # bytes
SERVERS = {"uvicorn": (), "gunicorn": ("rpcguard.service.d/gunicorn.conf",)}


@pytest.fixture(scope="module", params=SERVERS)
def made(request: pytest.FixtureRequest) -> Iterator[Site]:
    """nginx, and two workers of a server behind it that share a SQLite file."""
    with site() as made, application(made, *SERVERS[request.param]), nginx(made):
        yield made


def _signed(made: Site, target: str, *, signed: str | None = None) -> tuple[int, bytes]:
    headers = cred.nodius(CALL, target=signed or target)
    answer = made.request("POST", target, headers, CALL)
    return answer.status, answer.body


def test_a_wallet_signs_the_public_path_and_the_application_sees_the_one_without_prefix(
    made: Site,
) -> None:
    status, body = _signed(made, "/rpc/solana?commitment=final")
    assert (status, json.loads(body)["result"]["project"]) == (200, "solana")
    status, body = _signed(made, "/rpc/solana", signed="/solana")
    assert (status, json.loads(body)["error"]["data"]["reason"]) == (401, "invalid_binding")


@pytest.mark.parametrize("target", ["/rpc/solana/a%20b", "/rpc/solana/%C3%BC?q=a%2Fb&c=%7E"])
def test_the_target_arrives_as_it_was_sent(made: Site, target: str) -> None:
    assert _signed(made, target)[0] == 200


@pytest.mark.parametrize(
    "target",
    [
        *("/rpc//v1/", "/rpc/v1/../v1/", "/rpc/v1/%2e%2e/v1/", "/rpc/%76%31/", "/rpc/v1/a%2Fb"),
        "/rpc/../rpc/v1/",
    ],
)
def test_a_target_that_could_be_read_in_two_ways_is_refused(made: Site, target: str) -> None:
    answer = made.request("POST", target, cred.meganode(), CALL)
    assert (answer.status, answer.reason) == (400, "invalid_target")


@pytest.mark.parametrize("target", ["/x/../rpc/v1/", "/%72pc/v1/", "//rpc/v1/", "/./rpc/v1/"])
def test_a_prefix_that_is_there_only_after_decoding_is_none(made: Site, target: str) -> None:
    answer = made.request("POST", target, cred.meganode(), CALL)
    assert (answer.status, answer.one("content-type")) == (400, "text/html")


@pytest.mark.parametrize("target", ["/v1/", "/", "/healthz", "/rpc", "/rpcx/v1/"])
def test_nothing_is_reached_outside_the_prefix(made: Site, target: str) -> None:
    assert made.request("POST", target, cred.meganode(), CALL).status == 404


FORGED = [
    [],
    [("X-Forwarded-For", "127.0.0.2")],
    [("X-Forwarded-For", "127.0.0.2, 127.0.0.2"), ("X-Forwarded-For", "127.0.0.2")],
    [("X_Forwarded_For", "127.0.0.2")],
    [("Forwarded", "for=127.0.0.2"), ("X-Real-IP", "127.0.0.2")],
]


@pytest.mark.parametrize("forged", FORGED)
def test_the_clients_address_is_the_one_nginx_sees(
    made: Site, forged: list[tuple[str, str]]
) -> None:
    headers = [*cred.meganode(), *forged]
    answer = made.request("POST", "/rpc/office", headers, CALL)
    assert (answer.status, answer.reason) == (403, "forbidden_ip")
    assert made.request("POST", "/rpc/office", headers, CALL, source="127.0.0.2").status == 200


def test_https_is_what_nginx_says_of_its_own_connection(made: Site) -> None:
    headers = [*cred.meganode(), ("X-Forwarded-Proto", "http")]
    assert made.request("POST", "/rpc/v1/", headers, CALL).status == 200
    answer = unix_request(made.unix, "POST", "/v1/", cred.meganode(), CALL)
    assert (answer.status, answer.reason) == (403, "https_required")


def test_a_credential_and_a_body_as_large_as_rpcguard_takes_pass(made: Site) -> None:
    headers = cred.meganode(pad="x" * 6025)
    assert 8150 < len(headers[0][1]) < 8192
    assert made.request("POST", "/rpc/v1/", headers, CALL).status == 200
    body = CALL + b" " * (MAX_BODY - len(CALL))
    signed = cred.nodius(body, target="/rpc/solana")
    assert made.request("POST", "/rpc/solana", signed, body).status == 200


def test_a_larger_body_is_refused_by_nginx_in_the_words_of_rpcguard(made: Site) -> None:
    headers = cred.nodius(b"", target="/rpc/solana")
    answer = made.request("POST", "/rpc/solana", headers, b" " * (MAX_BODY + 1))
    forwarded = [("X-Forwarded-Proto", "https"), ("Content-Length", str(MAX_BODY + 1))]
    direct = unix_request(made.unix, "POST", "/solana", [*headers, *forwarded], b"")
    expected = direct.json
    del expected["error"]["data"]["project"]  # which nginx does not know
    assert (answer.status, answer.json) == (413, expected)
    assert answer.one("content-type") == direct.one("content-type")


def test_a_signature_works_once_in_all_workers(made: Site) -> None:
    statuses: list[int] = []

    def race(headers: cred.Headers) -> None:
        statuses.append(made.request("POST", "/rpc/solana", headers, CALL).status)

    for _ in range(12):
        headers = cred.nodius(CALL, target="/rpc/solana")
        threads = [threading.Thread(target=race, args=(headers,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert Counter(statuses) == {200: 12, 401: 60}


def _sign_in(made: Site) -> str:
    body = json.dumps({"pubkey": cred.PUBKEY}).encode()
    json_type = [("Content-Type", "application/json")]
    challenge = made.request("POST", "/rpc/auth/challenge", json_type, body).json["challenge"]
    signature = base58.b58encode(cred.WALLET.sign(challenge.encode()).signature).decode()
    body = json.dumps({"pubkey": cred.PUBKEY, "signature": signature}).encode()
    token: str = made.request("POST", "/rpc/auth/verify", json_type, body).json["token"]
    return token


def test_a_websocket_is_guarded_at_its_handshake_and_open_afterwards(made: Site) -> None:
    url = f"wss://127.0.0.1:{made.port}/rpc/ws/v1/"
    options = {"ssl": made.trusting(), "server_hostname": HOST, "proxy": None}
    headers = dict(cred.meganode())
    with connect(url, additional_headers=headers, **options) as socket:
        for _ in range(2):
            socket.send(CALL.decode())
            assert json.loads(socket.recv(60))["result"]["project"] == "bsc"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"Authorization": "Bearer x.y.z"}, **options)
    assert refused.value.response.status_code == 401


def test_a_browsers_session_token_passes_as_the_subprotocol(made: Site) -> None:
    url = f"wss://127.0.0.1:{made.port}/rpc/ws/solana"
    options = {"ssl": made.trusting(), "server_hostname": HOST, "proxy": None}
    offered = f"auth.{_sign_in(made)}"
    with connect(url, subprotocols=[offered], **options) as socket:
        assert socket.subprotocol == offered
        socket.send(CALL.decode())
        assert json.loads(socket.recv(60))["result"]["scheme"] == "session"


def _secrets(made: Site) -> list[str]:
    """Send every kind of credential, accepted and refused; return what must be in no log."""
    token = _sign_in(made)
    bearer = cred.meganode()[0][1].split()[1]
    wallet = dict(cred.nodius(CALL, target="/rpc/solana"))
    missing = "f" * 32  # a key that is not known
    made.request("POST", f"/rpc/v1/{cred.API_KEY}", body=CALL)
    made.request("POST", f"/rpc/v1/{missing}", body=CALL)
    made.request("POST", f"/rpc/v1/{cred.API_KEY}/../x", body=CALL)
    made.request("POST", f"/outside/{cred.API_KEY}", body=CALL)
    made.request("POST", "/rpc/v1/", [("Authorization", f"Bearer {bearer}")], CALL)
    made.request("POST", "/rpc/v1/", [("Authorization", f"Bearer {bearer}x")], CALL)
    made.request("POST", "/rpc/v1/", [("Authorization", f"Bearer {bearer}{'x' * 20_000}")])
    made.request("POST", f"/rpc/v1/{cred.API_KEY}", body=b" " * 7 * 1024 * 1024)
    made.request("POST", "/rpc/solana", wallet.items(), CALL)
    made.request("GET", "/rpc/ws/solana", [("Sec-WebSocket-Protocol", f"auth.{token}")])
    return [token, bearer, wallet["X-Signature"], cred.API_KEY, missing]


def test_no_log_holds_a_credential(made: Site) -> None:
    secrets = _secrets(made)
    log = made.path("/var/log/nginx/rpcguard.log")
    until(lambda: log.read_text().count(" POST ") >= 10, "nginx has logged")
    written = made.written()
    assert not [secret for secret in secrets if secret in written]


def test_no_log_holds_a_credential_when_nothing_answers_behind_nginx() -> None:
    with site() as made, nginx(made):
        headers = cred.meganode()
        assert made.request("POST", f"/rpc/v1/{cred.API_KEY}", headers, CALL).status == 502
        log = made.path("/var/log/nginx/rpcguard.log")
        until(lambda: " POST 502 502 " in log.read_text(), "nginx has logged")
        written = made.written()
        assert cred.API_KEY not in written
        assert headers[0][1] not in written
