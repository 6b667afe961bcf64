"""
Chromium, driven by selenium. Where either is missing the group is left out, and the run says so at
its end; it fails instead when RPCGUARD_REQUIRE names `browser`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]
HERE = Path(__file__).parent


def _missing() -> list[str]:
    programs = ("chromium", "chromedriver")
    missing = [name for name in programs if shutil.which(name) is None]
    if importlib.util.find_spec("selenium") is None:
        missing.append("selenium")
    return missing


def _required() -> bool:
    return "browser" in os.environ.get("RPCGUARD_REQUIRE", "").split(",")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mine = [item for item in items if HERE in item.path.parents]
    for item in mine:
        item.add_marker("browser")
    missing = _missing()
    if not mine or not missing:
        return
    if _required():
        raise pytest.UsageError(f"RPCGUARD_REQUIRE names browser; missing: {', '.join(missing)}")
    items[:] = [item for item in items if item not in mine]
    config.hook.pytest_deselected(items=mine)
    config.pluginmanager.register(_Notice(len(mine), missing), "rpcguard-browser-notice")


class _Notice:
    """Says at the end of the run what was left out."""

    def __init__(self, count: int, missing: list[str]) -> None:
        self._line = f"left out: browser ({count} tests; missing: {', '.join(missing)})"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(self._line)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(str(shutil.which("chromedriver"))))
    driver.set_script_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()
