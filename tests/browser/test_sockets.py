"""What a real browser asks of a WebSocket: the subprotocol of its handshake, and the close code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contrib import websocket_apps as apps
from contrib.credentials import PUBKEY
from contrib.websocket_apps import Served

from rpcguard import Verifier

pytestmark = pytest.mark.browser

SERVERS = {
    "fastapi": "uvicorn-auto",
    "flask": "werkzeug",
    "flask-gunicorn": "gunicorn",
    "aiohttp": "aiohttp",
}
OPEN = """
const [path, offered, done] = arguments;
const socket = new WebSocket(`ws://${location.host}${path}`, offered);
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => {
  done([socket.protocol, JSON.parse(event.data)]);
  socket.close();
};
socket.onclose = (event) => done(["closed", event.code]);
"""
LOG_OUT = """
const [token, done] = arguments;
const socket = new WebSocket(`ws://${location.host}/ws/solana`, ["auth." + token]);
const headers = {Authorization: `Bearer ${token}`};
socket.onopen = () => socket.send("hello");
socket.onmessage = () => fetch("/auth/logout", {method: "POST", headers});
socket.onclose = (event) => done([event.code, event.wasClean]);
"""


@pytest.fixture(scope="module", params=list(SERVERS))
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    registry = apps.write_registry(tmp_path_factory.mktemp("sockets"), PUBKEY)
    name = SERVERS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in apps.SECRETS.items():
            patch.setenv(variable, value)
        with Verifier.from_yaml(registry) as verifier, apps.serve(name, registry) as port:
            yield Served(name, port, verifier, registry)


@pytest.fixture
def page(browser: Any, served: Served) -> Any:
    """The browser, on a page of the server."""
    browser.get(f"http://127.0.0.1:{served.port}/open")
    return browser


@pytest.mark.parametrize(
    ("offered", "selected", "seen"),
    [
        (["TOKEN"], "TOKEN", []),
        (["TOKEN", "jsonrpc"], "jsonrpc", ["jsonrpc"]),
        (["jsonrpc", "TOKEN"], "jsonrpc", ["jsonrpc"]),
        (["TOKEN", "other"], "TOKEN", ["other"]),
        (["other", "TOKEN"], "TOKEN", ["other"]),
        (["other", "TOKEN", "jsonrpc"], "jsonrpc", ["other", "jsonrpc"]),
    ],
)
def test_it_connects_and_the_application_selects_what_it_supports(
    page: Any, served: Served, offered: list[str], selected: str, seen: list[str]
) -> None:
    carrier = f"auth.{served.token()}"
    names = [carrier if name == "TOKEN" else name for name in offered]
    protocol, answer = page.execute_async_script(OPEN, "/ws/solana", names)
    assert protocol == (carrier if selected == "TOKEN" else selected)
    assert answer == [seen, "solana", "session", "hello"]


@pytest.mark.parametrize("offered", [["auth.nonsense"], ["jsonrpc"], ["jsonrpc", "auth.nonsense"]])
def test_it_is_refused_without_a_good_token(page: Any, offered: list[str]) -> None:
    assert page.execute_async_script(OPEN, "/ws/solana", offered) == ["closed", 1006]


def test_it_sees_1008_after_logging_out(page: Any, served: Served) -> None:
    assert page.execute_async_script(LOG_OUT, served.token()) == [1008, True]


def test_it_sees_1008_when_the_token_expires(page: Any, served: Served) -> None:
    script = OPEN.replace("done([socket.protocol, JSON.parse(event.data)]);\n  socket.close();", "")
    refused = closed = ["closed", 1006]
    for seconds in (2, 4, 8, 16):  # it may have ended before a busy machine has opened the socket
        if closed == refused:
            names = [f"auth.{served.brief(seconds)['token']}"]
            closed = page.execute_async_script(script, "/ws/brief", names)
    assert closed == ["closed", 1008]
