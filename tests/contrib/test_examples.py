"""The example applications, run as their users run them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrib import credentials as cred
from contrib.servers import EXAMPLES, example_app
from contrib.wire import TIMEOUT, handshake, request, websocket
from rpcguard import Verifier

NAMES = ["fastapi_app", "flask_app", "aiohttp_app"]
SESSIONS = """\
version: 1
backend: sqlite:///state.db?timeout=10s
projects:
  solana:
    preset: nodius
    match: {path: /ws/solana}
    wallets: open
    session: {secret: "${file:secret}"}
"""


@pytest.fixture(scope="module", params=NAMES)
def example(request: pytest.FixtureRequest, registry: Path) -> Iterator[int]:
    with example_app(request.param, registry) as (_, port):
        yield port


def _call(method: str, request_id: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method}).encode()


@pytest.mark.parametrize("target", ["/v1/", "/v1/any/where", f"/v1/{cred.API_KEY}", "/ws/v1/x/y"])
def test_every_path_answers_json_rpc(example: int, target: str) -> None:
    headers = [] if cred.API_KEY in target else cred.meganode()
    answer = request(example, "POST", target, headers, _call("eth_blockNumber"))
    assert answer.status == 200
    assert answer.one("content-type").startswith("application/json")
    assert answer.json["id"] == 1
    assert answer.json["result"].startswith("0x")


def test_it_says_who_calls(example: int) -> None:
    body = _call("rpcguard_whoami", "me")
    answer = request(example, "POST", "/solana", cred.nodius(body), body)
    assert answer.json == {
        "jsonrpc": "2.0",
        "id": "me",
        "result": {"subject": cred.PUBKEY, "project": "solana", "scheme": "signature"},
    }


def test_a_batch_is_answered_as_a_batch(example: int) -> None:
    calls = [json.loads(_call(name, name)) for name in ("getSlot", "nothing")]
    calls.append({"jsonrpc": "2.0", "method": "getSlot"})
    answer = request(example, "POST", "/v1/", cred.meganode(), json.dumps(calls).encode())
    assert [each["id"] for each in answer.json] == ["getSlot", "nothing"]
    assert isinstance(answer.json[0]["result"], int)
    assert answer.json[1]["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", -32700), (b"\xff", -32700), (b"[]", -32600), (b"1", -32600)]
)
def test_malformed_requests_have_their_codes(example: int, body: bytes, code: int) -> None:
    answer = request(example, "POST", "/v1/", cred.meganode(), body)
    assert answer.json["error"]["code"] == code


def test_a_notification_has_no_answer(example: int) -> None:
    body = b'{"jsonrpc":"2.0","method":"getSlot"}'
    answer = request(example, "POST", "/v1/", cred.meganode(), body)
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "target", ["/", "/v1/", "/docs", "/openapi.json", "/static/x", "/healthz/"]
)
def test_every_method_of_every_path_is_guarded(example: int, method: str, target: str) -> None:
    assert request(example, method, target).status in (401, 403)


@pytest.mark.parametrize("target", ["//v1/", "/v1//x", "/v1/../evm", "/v1/%2e%2e/evm", "/%761/"])
def test_targets_that_could_be_read_in_two_ways_are_refused(example: int, target: str) -> None:
    answer = request(example, "POST", target, cred.meganode(), _call("getSlot"))
    assert (answer.status, answer.reason) == (400, "invalid_target")


def test_a_credential_as_long_as_may_be_is_read(example: int) -> None:
    token = cred.meganode(pad="x" * 5900)[0][1]
    assert 7900 < len(token) < 8192
    answer = request(example, "POST", "/v1/", [("Authorization", token)], _call("getSlot"))
    assert answer.status == 200
    long = [("Authorization", "Bearer " + "x" * 9000)]
    answer = request(example, "POST", "/v1/", long, _call("getSlot"))
    assert (answer.status, answer.reason) == (401, "malformed_credentials")


def test_healthz_is_open(example: int) -> None:
    answer = request(example, "GET", "/healthz", body=None)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_healthz_is_open_for_nothing_else(example: int, method: str) -> None:
    assert request(example, method, "/healthz", body=b"{}").status in (401, 403, 405)


def test_a_forwarded_address_is_not_the_peer(example: int) -> None:
    headers = [*cred.meganode(), ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]
    assert request(example, "POST", "/v1/", headers, _call("getSlot")).status == 200


def test_the_websocket_answers_the_same_methods(example: int) -> None:
    with websocket(example, "/ws/v1/", cred.meganode()) as (socket, answer):
        assert answer.status == 101
        assert socket.call(_call("getSlot").decode())["result"] > 0
        whoami = socket.call(_call("rpcguard_whoami").decode())["result"]
        assert (whoami["project"], whoami["scheme"]) == ("bsc", "jwt")
        assert socket.call("{")["error"]["code"] == -32700


def test_a_binary_frame_does_not_end_the_websocket(example: int) -> None:
    with websocket(example, "/ws/v1/", cred.meganode()) as (socket, _):
        notification = '{"jsonrpc": "2.0", "method": "getSlot", "params": []}'
        socket.send(notification, binary=True)
        assert socket.call(_call("getSlot").decode())["result"] > 0


def test_the_websocket_is_refused_before_it_is_accepted(example: int) -> None:
    assert handshake(example, "/ws/v1/").status == 401
    assert handshake(example, "/ws/evm").status == 403
    assert handshake(example, "/ws/solana", cred.nodius(b"x")).reason == "invalid_credentials"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told_to(name: str, number: signal.Signals, registry: Path) -> None:
    with example_app(name, registry) as (process, port):
        with websocket(port, "/ws/v1/", cred.meganode()) as (_, answer):
            assert answer.status == 101
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("name", NAMES)
def test_it_stops_with_a_websocket_open(name: str, registry: Path) -> None:
    with (
        example_app(name, registry) as (process, port),
        websocket(port, "/ws/v1/", cred.meganode()) as (_, answer),
    ):
        assert answer.status == 101
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert "Traceback" not in err


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_registry_is_told_and_nothing_else_happens(name: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text("version: 1\nprojects:\n  a: {preset: meganode, nonsense: 1}\n")
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--port", "0"]
    done = subprocess.run(
        [*command, "--registry", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_access_log_has_requests_and_no_keys(name: str, registry: Path) -> None:
    with example_app(name, registry, "--access-log") as (process, port):
        for key in (cred.API_KEY, "bad0bad1bad2bad3bad4bad5bad6bad7"):
            request(port, "POST", f"/v1/{key}?seen=1", [("X-Api-Key", key)], _call("getSlot"))
            with websocket(port, f"/ws/v1/{key}?seen=2") as (socket, answer):
                if answer.status == 101:
                    assert socket.call(_call("getSlot").decode())["result"] > 0
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT)
    written = out + err
    assert "/v1/***?seen=1" in written
    assert "/ws/v1/***?seen=2" in written
    assert cred.API_KEY not in written
    assert "bad0" not in written


@pytest.mark.parametrize("name", NAMES)
def test_a_socket_is_closed_at_the_recheck_after_logging_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a session secret of more than 32 bytes")
    (tmp_path / "secret").chmod(0o600)
    registry = tmp_path / "registry.yaml"
    registry.write_text(SESSIONS)
    with (
        Verifier.from_yaml(registry, watch=False) as verifier,
        example_app(name, registry, "--recheck", "0.2") as (_, port),
    ):
        headers = [("Authorization", f"Bearer {verifier.issue('solana', cred.PUBKEY)['token']}")]
        with websocket(port, "/ws/solana", headers) as (socket, answer):
            assert answer.status == 101
            assert request(port, "POST", "/auth/logout", headers).json == {"revoked": True}
            assert socket.receive() == 1008


def test_the_files_of_an_application_that_is_guarded_as_a_whole(
    registry: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.txt").write_text("a report")
    options = ("--at", "/v1/files", "--files", str(tmp_path))
    with example_app("files_app", registry, *options) as (_, port):
        assert request(port, "GET", "/healthz").status == 200
        for target in ("/v1/files/report.txt", "/v1/files/none.txt", "/v1/"):
            assert request(port, "GET", target).reason == "missing_credentials"
        for _ in range(2):
            assert request(port, "GET", "/v1/files/none.txt", cred.meganode()).status == 404
            answer = request(port, "GET", "/v1/files/report.txt", cred.meganode())
            assert answer.body == b"a report"
        body = _call("rpcguard_whoami")
        answer = request(port, "POST", "/v1/", cred.meganode(), body)
        assert answer.json["result"]["project"] == "bsc"
        notice = json.dumps({"jsonrpc": "2.0", "method": "getSlot"}).encode()
        assert request(port, "POST", "/v1/", cred.meganode(), notice).status == 204
