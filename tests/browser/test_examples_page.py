"""The examples in a real browser: their sockets, and the page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contrib.credentials import PUBKEY
from selenium.webdriver.support.ui import WebDriverWait

from rpcguard import Verifier

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[2] / "examples"
REGISTRY = """\
version: 1
backend: sqlite:///state.db?timeout=10s
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
def _running(name: str, registry: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}_app.py"), "--port", "0", *options]
    with subprocess.Popen(
        [*command, "--registry", str(registry)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()


@pytest.mark.parametrize("name", ["fastapi", "flask", "aiohttp"])
def test_a_browser_connects_to_the_example_with_its_token_as_subprotocol(
    browser: Any, registry: Path, name: str
) -> None:
    with Verifier.from_yaml(registry) as verifier, _running(name, registry) as url:
        token = verifier.issue("solana", PUBKEY)["token"]
        browser.get(f"{url}/healthz")
        for offered in ([f"auth.{token}"], ["jsonrpc", f"auth.{token}"]):
            # The examples support no other subprotocol
            assert browser.execute_async_script(OPEN, offered) == [f"auth.{token}", PUBKEY]


class Page:
    """The example's page in the browser."""

    def __init__(self, browser: Any, url: str, query: str = "") -> None:
        self._browser = browser
        browser.get_log("browser")  # what earlier tests left there
        browser.get(f"{url}/page{query}")

    def click(self, name: str) -> None:
        """Press a button, as soon as it may be pressed."""
        button = self._browser.find_element("id", name)
        WebDriverWait(self._browser, 60).until(lambda _: button.is_enabled(), name)
        button.click()

    def text(self, name: str) -> str:
        """Return what a field shows."""
        found: str = self._browser.find_element("id", name).text
        return found

    def shows(self, name: str, start: str) -> bool:
        """Wait until a field shows *start*."""
        wait = WebDriverWait(self._browser, 60)
        begins = lambda _: self.text(name).startswith(start)  # noqa: E731
        return bool(wait.until(begins, f"{name}: {self.text(name)}"))

    def enabled(self) -> list[str]:
        """Return the buttons that may be pressed."""
        buttons = self._browser.find_elements("tag name", "button")
        return [each.get_attribute("id") for each in buttons if each.is_enabled()]


def test_the_page_signs_in_opens_a_socket_logs_out_and_sees_the_socket_closed(
    browser: Any, registry: Path
) -> None:
    with _running("fastapi", registry, "--recheck", "0.5") as url:
        page = Page(browser, url)
        assert page.enabled() == ["sign-in"]
        page.click("sign-in")
        assert page.shows("session", "until ")
        assert len(page.text("wallet")) in (43, 44)
        page.click("open")
        assert page.shows("socket", "open")
        assert page.shows("whoami", page.text("wallet"))
        page.click("log-out")
        assert page.shows("refusal", "refused: 401 revoked")
        assert page.shows("session", "none")
        assert page.shows("socket", "closed with 1008")
        assert page.enabled() == ["sign-in"]
        wallet = page.text("wallet")
        page.click("sign-in")  # with another key
        assert page.shows("session", "until ")
        assert page.text("wallet") != wallet
        assert page.text("problem") == ""
        kept = "return [localStorage.length, sessionStorage.length, document.cookie]"
        assert browser.execute_script(kept) == [0, 0, ""]
        violations = [
            each for each in browser.get_log("browser") if "Content Security" in str(each)
        ]
    assert violations == []


def test_the_page_says_what_went_wrong(browser: Any, registry: Path) -> None:
    with _running("fastapi", registry) as url:
        page = Page(browser, url, "?socket=/ws/nowhere")
        page.click("sign-in")
        page.click("open")
        assert page.shows("socket", "closed with 1006")
        assert page.text("problem") == ""
    page.click("log-out")  # the server is gone
    assert page.shows("problem", "Failed to fetch")
    assert page.enabled() == ["open", "log-out"]


@pytest.mark.parametrize("behind", ["@127.0.0.1:1/", ".example/"])
def test_the_page_gives_the_token_to_no_other_host(
    browser: Any, registry: Path, behind: str
) -> None:
    with _running("fastapi", registry) as url:
        page = Page(browser, url, f"?socket={behind}")
        page.click("sign-in")
        page.click("open")
        assert page.shows("socket", "open")
        assert page.shows("whoami", page.text("wallet"))


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_the_window(browser: Any, registry: Path, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 1000}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        with _running("fastapi", registry) as url:
            page = Page(browser, url)
            page.click("sign-in")
            assert page.shows("session", "until ")
            wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
