"""A real browser: what it asks of a WebSocket's handshake, and the example's page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contrib.credentials import PUBKEY

from rpcguard import Verifier

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "examples"
REGISTRY = """\
version: 1
backend: sqlite:///state.db
projects:
  solana:
    preset: nodius
    match: {path: /ws/solana}
    wallets: open
    session: {secret: "${file:secret}"}
"""
OPEN = """
const [offered, done] = arguments;
const socket = new WebSocket(`ws://${location.host}/ws/solana`, offered);
const call = {jsonrpc: "2.0", id: 1, method: "rpcguard_whoami"};
socket.onopen = () => socket.send(JSON.stringify(call));
socket.onmessage = (event) => {
  done([socket.protocol, JSON.parse(event.data).result.subject]);
  socket.close();
};
socket.onclose = (event) => done(["closed", event.code]);
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "secret").write_text("a session secret of more than 32 bytes")
    (folder / "secret").chmod(0o600)
    path = folder / "registry.yaml"
    path.write_text(REGISTRY)
    return path


@contextmanager
def _running(name: str, registry: Path) -> Iterator[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}_app.py"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--registry", str(registry)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()


@pytest.mark.parametrize("name", ["fastapi", "flask", "aiohttp"])
@pytest.mark.parametrize("second", [[], ["jsonrpc"]])
@pytest.mark.parametrize("turned", [False, True])
def test_a_browser_connects_with_its_token_as_subprotocol(
    browser: Any, registry: Path, name: str, second: list[str], turned: bool
) -> None:
    with Verifier.from_yaml(registry) as verifier, _running(name, registry) as url:
        token = verifier.issue("solana", PUBKEY)["token"]
        browser.get(f"{url}/healthz")
        offered = [f"auth.{token}", *second]
        found = browser.execute_async_script(OPEN, offered[::-1] if turned else offered)
    # The examples support no other subprotocol
    assert found == [f"auth.{token}", PUBKEY]


@pytest.mark.parametrize("name", ["fastapi", "flask", "aiohttp"])
def test_a_browser_is_refused_without_a_good_token(browser: Any, registry: Path, name: str) -> None:
    with _running(name, registry) as url:
        browser.get(f"{url}/healthz")
        for offered in (["auth.nonsense"], ["jsonrpc"]):
            assert browser.execute_async_script(OPEN, offered) == ["closed", 1006]


def test_the_example_page_signs_in_opens_a_socket_and_logs_out(
    browser: Any, registry: Path
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    def text(name: str) -> str:
        found: str = browser.find_element("id", name).text
        return found

    def shows(name: str, start: str) -> bool:
        wait = WebDriverWait(browser, 20)
        return bool(wait.until(lambda _: text(name).startswith(start), f"{name}: {text(name)}"))

    with _running("fastapi", registry) as url:
        browser.get(f"{url}/page")
        browser.find_element("id", "sign-in").click()
        assert shows("session", "until ")
        browser.find_element("id", "open").click()
        assert shows("socket", "open")
        assert shows("whoami", text("wallet"))
        assert len(text("wallet")) in (43, 44)
        browser.find_element("id", "log-out").click()
        assert shows("refusal", "401 revoked")
        assert shows("session", "none")
        severe = [entry for entry in browser.get_log("browser") if "Content Security" in str(entry)]
    assert severe == []
