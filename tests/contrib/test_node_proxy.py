"""examples/node_proxy.py, between a caller and a server that plays the node, all on sockets."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from contrib.servers import EXAMPLES, aio, example_app
from contrib.wire import TIMEOUT, connection, head, request, websocket
from rpcguard.testing import Ready, RegistryBuilder

BLOCK = {"jsonrpc": "2.0", "id": 7, "result": "0x1312d00"}
BIG = "x" * (3 * 1024 * 1024)


@dataclass
class Node:
    """Plays geth: answers JSON-RPC at `/` and over WebSockets, and keeps what it was sent."""

    seen: list[tuple[dict[str, str], bytes | str]] = field(default_factory=list)
    left: queue.Queue[int | None] = field(default_factory=queue.Queue)
    cut: threading.Event = field(default_factory=threading.Event)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/", self.http)
        app.router.add_get("/", self.socket)
        return app

    async def http(self, asked: web.Request) -> web.StreamResponse:
        body = await asked.read()
        self.seen.append((dict(asked.headers), body))
        method = json.loads(body)["method"] if body.startswith(b"{") else "batch"
        match method:
            case "moved":
                raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")
            case "busy":
                return web.json_response({"error": "busy"}, status=503)
            case "big":
                return web.json_response({"jsonrpc": "2.0", "id": 7, "result": BIG})
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(asked)
                await response.write(b"{")
                # with the end right behind it, the proxy's client library would drop it
                await asyncio.to_thread(self.cut.wait, TIMEOUT)
                assert asked.transport is not None
                asked.transport.abort()
                return response
        return web.json_response(BLOCK)

    async def socket(self, asked: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(asked)
        async for message in response:
            if message.type is WSMsgType.TEXT:
                self.seen.append((dict(asked.headers), message.data))
                if "hang_up" in message.data:
                    await response.close()
                    break
                await response.send_str(json.dumps(BLOCK))
                if "eth_subscribe" in message.data:
                    await response.send_str('{"jsonrpc":"2.0","method":"eth_subscription"}')
        self.left.put(response.close_code)
        return response


@dataclass
class Site:
    port: int
    node: Node
    caller: Ready
    elsewhere: Ready

    def post(self, body: bytes, caller: Ready | None = None, target: str = "/evm/x?y=1") -> Any:
        caller = caller or self.caller
        headers = caller.headers("POST", target, body, now=time.time())
        return request(self.port, "POST", target, [*headers.items(), ("Cookie", "c=1")], body)

    def handshake(self, target: str = "/ws/evm") -> list[tuple[str, str]]:
        return list(self.caller.headers("GET", target, b"", now=time.time()).items())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    node, builder = Node(), RegistryBuilder(backend="memory://?restart_guard=off")
    caller = builder.project(
        "evm",
        match={"path": ["/evm", "/ws/evm"]},
        allow={"methods": ["eth_*", "moved", "busy", "big", "cut", "hang_up"]},
    )
    elsewhere = builder.project("down", match={"path": ["/down", "/ws/down"]})
    registry = builder.write(tmp_path)
    with aio(node.app) as there:
        urls = [f"evm=http://127.0.0.1:{there}/", f"evm=ws://127.0.0.1:{there}/"]
        urls += ["down=http://127.0.0.1:1/", "down=ws://127.0.0.1:1/"]
        options = [word for url in urls for word in ("--node", url)]
        with example_app("node_proxy", registry, *options) as (_, port):
            yield Site(port, node, caller, elsewhere)


def _call(method: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method}).encode()


def test_the_node_gets_the_bytes_that_were_judged_and_nothing_else_of_the_caller(site: Site):
    body = b' {"jsonrpc" :"2.0","id":7, "method":"eth_blockNumber"}\n'
    answer = site.post(body)
    assert (answer.status, answer.json) == (200, BLOCK)
    assert answer.one("content-type") == "application/json"
    ((headers, got),) = site.node.seen
    assert got == body
    assert {"Authorization", "Cookie"}.isdisjoint(headers)
    assert not [value for value in headers.values() if "/evm" in value]


def test_nothing_that_is_refused_reaches_the_node(site: Site):
    batch = b"[" + _call("eth_blockNumber") + b"," + _call("debug_setHead") + b"]"
    assert request(site.port, "POST", "/evm", [], _call("eth_call")).reason == "missing_credentials"
    assert site.post(_call("debug_setHead")).reason == "forbidden_method"
    assert site.post(batch).reason == "forbidden_method"
    assert site.post(b'{"method":"eth_call","method":"debug_setHead"}').reason == "invalid_body"
    assert site.post(_call("eth_call"), site.elsewhere).status == 401
    assert site.node.seen == []


def test_the_node_s_own_status_and_large_answers_come_through(site: Site):
    busy = site.post(_call("busy"))
    assert (busy.status, busy.json) == (503, {"error": "busy"})
    assert site.post(_call("big")).json["result"] == BIG


def test_a_redirect_of_the_node_is_not_followed_and_leads_the_caller_nowhere(site: Site):
    answer = site.post(_call("moved"))
    assert answer.status == 307
    assert answer.all("location") == []
    assert len(site.node.seen) == 1


def test_an_answer_that_the_node_cuts_off_does_not_end_like_a_whole_one(site: Site):
    body = _call("cut")
    headers = site.caller.headers("POST", "/evm", body, now=time.time())
    fields = [*headers.items(), ("Content-Length", str(len(body)))]
    with connection(site.port) as sock:
        sock.sendall(head("POST", "/evm", fields) + body)
        with sock.makefile("rb") as stream:
            seen = b"".join(iter(stream.readline, b"\r\n")) + stream.read(1)
            site.node.cut.set()
            rest = stream.read()
    assert b"\r\nContent-Length: 1000\r\n" in seen
    assert (seen[-1:], rest) == (b"{", b"")


def test_a_node_that_is_down_is_a_502(site: Site):
    answer = site.post(_call("eth_call"), site.elsewhere, "/down")
    assert (answer.status, answer.json["error"]["code"]) == (502, -32603)
    headers = site.elsewhere.headers("GET", "/ws/down", b"", now=time.time())
    with websocket(site.port, "/ws/down", headers.items()) as (_, answer):
        assert answer.status == 502


def test_messages_are_judged_one_by_one_and_subscriptions_come_back(site: Site):
    with websocket(site.port, "/ws/evm", site.handshake()) as (socket, answer):
        assert answer.status == 101
        socket.send(_call("eth_subscribe").decode())
        assert json.loads(socket.receive()) == BLOCK
        assert json.loads(socket.receive())["method"] == "eth_subscription"
        socket.send(_call("debug_setHead").decode())
        refused = json.loads(socket.receive())
        assert refused["id"] == 7
        assert refused["error"]["data"]["reason"] == "forbidden_method"
        socket.send(_call("eth_blockNumber").decode())
        assert json.loads(socket.receive()) == BLOCK
    assert [text for _, text in site.node.seen] == [
        _call("eth_subscribe").decode(),
        _call("eth_blockNumber").decode(),
    ]
    assert "Authorization" not in site.node.seen[0][0]


def test_a_handshake_that_is_refused_does_not_reach_the_node(site: Site):
    with websocket(site.port, "/ws/evm") as (_, answer):
        assert answer.status == 401
    assert site.node.left.empty()


def test_when_one_side_hangs_up_the_other_is_told(site: Site):
    with websocket(site.port, "/ws/evm", site.handshake()) as (socket, _):
        socket.send(_call("hang_up").decode())
        assert socket.receive() == 1013
    with websocket(site.port, "/ws/evm", site.handshake()) as (socket, _):
        socket.send(_call("eth_call").decode())
        socket.receive()
    site.node.left.get(timeout=TIMEOUT)
    site.node.left.get(timeout=TIMEOUT)


@pytest.mark.parametrize("node", ["evn=http://127.0.0.1:1/", "evm", "evm=file:///etc/passwd"])
def test_a_node_of_no_project_or_no_url_does_not_start(tmp_path: Path, node: str):
    builder = RegistryBuilder(backend="memory://")
    builder.project("evm")
    registry = builder.write(tmp_path)
    command = [sys.executable, str(EXAMPLES / "node_proxy.py"), "--registry", str(registry)]
    done = subprocess.run([*command, "--node", node], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "not a project of" in done.stderr
