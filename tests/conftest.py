"""Shared fixtures. Time is always an argument: no test reads the clock to decide anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from rpcguard.verifier import Verifier

# No deadline, and nothing is too slow: a busy machine must not fail a property. No example database:
# runs leave no files.
settings.register_profile(
    "rpcguard", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rpcguard")

NOW = 1_760_000_000.0

# Programs that a machine may lack, by the name of the group of tests that needs them. A group is
# left out, and named at the end, where its program is absent; absence is a failure where the
# environment variable RPCGUARD_REQUIRE names the group.
PROGRAMS = {
    "browser": ("chromium", "chromedriver"),
    "curl": ("curl",),
    "nginx": ("nginx",),
    "node": ("node", "npm"),
    "openssl": ("openssl",),
    "prometheus": ("prometheus", "promtool"),
    "systemd": ("systemd-analyze",),
}
_left_out: dict[str, int] = {}


def pytest_configure(config: pytest.Config) -> None:
    for group, programs in PROGRAMS.items():
        config.addinivalue_line("markers", f"{group}: needs {' and '.join(programs)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    required = os.environ.get("RPCGUARD_REQUIRE", "").split(",")
    for group, programs in PROGRAMS.items():
        if all(map(shutil.which, programs)):
            continue
        group_items = [item for item in items if item.get_closest_marker(group)]
        if group_items and group in required:
            raise pytest.UsageError(f"RPCGUARD_REQUIRE names {group}: install {programs}")
        _left_out[group] = len(group_items)
        config.hook.pytest_deselected(items=group_items)
        items[:] = [item for item in items if item not in group_items]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for group, count in _left_out.items():
        if count:
            needs = " and ".join(PROGRAMS[group])
            terminalreporter.line(f"left out: {count} tests of group {group}, which needs {needs}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that skips itself is a test that did not run: there is no reason for one here."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Callable[..., Verifier]]:
    """Return a maker of verifiers from registry text, at the fixed time `NOW`, unwatched."""
    from rpcguard.verifier import Verifier

    with ExitStack() as stack:

        def make(registry: str, *, now: float = NOW, **options: Any) -> Verifier:
            path = tmp_path / "registry.yaml"
            path.write_text(registry, encoding="utf-8")
            plain: dict[str, Any] = {"clock": lambda: now, "environ": {}, "watch": False}
            return stack.enter_context(closing(Verifier.from_yaml(path, **plain | options)))

        yield make
