"""The short form of the benchmarks: every section works, and gives the figures it should."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import plot, report
from bench.bounds import BOUNDS

ROOT = Path(__file__).parent.parent.parent

# As they were asked for. What a guard adds is a difference, which in so few rounds may come out at
# less than nothing; every other figure is more than nothing.
RATIOS = {
    "hot_hs256_vs_pyjwt",
    "hot_rs256_vs_pyjwt",
    "hot_es256_vs_pyjwt",
    "cold_hs256_vs_pyjwt",
    "cold_rs256_vs_pyjwt",
    "cold_es256_vs_pyjwt",
    "wallet_memory_vs_nacl",
    "wallet_sqlite_vs_nacl",
    "redis_settle_vs_set",
    "redis_settle16_vs_set16",
    "unguarded_vs_guarded_rps_fastapi",
    "unguarded_vs_guarded_rps_flask",
    "unguarded_vs_guarded_rps_aiohttp",
    "verify_100k_keys_vs_10",
    "settle_1m_nonces_vs_0_memory",
    "settle_1m_nonces_vs_0_sqlite",
    "settle_1m_nonces_vs_0_redis",
    "load_10k_keys_vs_yaml",
    "import_vs_pyjwt",
    "first_verify_vs_pyjwt",
}
DIFFERENCES = {
    "fastapi_added_hot_hs256_vs_tutorial",
    "flask_added_hot_rs256_vs_flask_jwt_extended",
    "aiohttp_added_hot_hs256_vs_aiohttp_jwt",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks, unwatched by the coverage of these tests."""
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=890, check=False
    )


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    results = tmp_path_factory.mktemp("short") / "results.json"
    done = run("--short", "--results", str(results))
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text())


pytestmark = pytest.mark.timeout(900)  # some 60 s, and four times that on a busy machine


def test_the_short_form_gives_every_figure_that_has_a_bound(figures: dict[str, float]) -> None:
    assert figures.keys() >= RATIOS | DIFFERENCES
    assert [name for name, value in figures.items() if not math.isfinite(value)] == []
    assert [name for name in RATIOS if figures[name] <= 0] == []
    assert not [name for name, value in figures.items() if "_added_" not in name and value < 0]


def test_the_page_shows_every_figure_that_has_a_bound(
    figures: dict[str, float], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"by hand\n{report.BEGIN}\nold\n{report.END}\nby hand too\n")

    report.write(page, figures)

    text = page.read_text()
    assert text.startswith("by hand\n")
    assert text.endswith("\nby hand too\n")
    assert "\nold\n" not in text
    assert [bound.name for bound in BOUNDS if f"| `{bound.name}` |" not in text] == []


def test_the_plot_shows_rpcguard_and_every_peer(figures: dict[str, float]) -> None:
    texts = {element.text for element in ET.fromstring(plot.svg(figures)).iter()}

    assert {"rpcguard, token seen", "PyJWT", "joserfc", "Authlib", "FastAPI's tutorial"} <= texts
    assert {"fastapi-users", "authx", "Flask-JWT-Extended", "Flask-HTTPAuth"} <= texts
    assert {"aiohttp-jwt", "a middleware with PyJWT"} <= texts


def test_every_figure_that_was_asked_for_has_a_bound_and_no_other() -> None:
    assert sorted(bound.name for bound in BOUNDS) == sorted(RATIOS | DIFFERENCES)


def test_a_section_alone_writes_no_results_of_the_project(tmp_path: Path) -> None:
    kept = {path: path.read_bytes() for path in _written()}
    results = tmp_path / "results.json"

    done = run("--short", "--only", "limits", "--results", str(results))

    assert done.returncode == 0, done.stderr
    assert json.loads(results.read_text()).keys() >= {"limit_hmac_us", "limit_redis_set_us"}
    assert {path: path.read_bytes() for path in _written()} == kept


def _written() -> list[Path]:
    paths = (ROOT / "bench" / "results.json", *(ROOT / "docs").glob("performance.*"))
    return [path for path in paths if path.exists()]
