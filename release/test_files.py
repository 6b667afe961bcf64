"""What is in the wheel and in the sdist: all of the package, nothing of the workplace."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import rpcguard

ROOT = Path(__file__).parents[1]
EXAMPLES = "_command_line.py _jsonrpc.py aiohttp_app.py fastapi_app.py flask_app.py page.html"


def _tracked() -> set[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def test_the_wheel_holds_the_package_and_the_examples_that_the_demo_runs(wheel: Path) -> None:
    names = {each for each in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in each}
    source = {name.removeprefix("src/") for name in _tracked() if name.startswith("src/")}
    assert names == source | {f"rpcguard/_examples/{name}" for name in EXAMPLES.split()}
    assert {"rpcguard/py.typed", "rpcguard/backends/lua/settle.lua"} <= names


def test_the_sdist_holds_what_is_tracked_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {each.name.partition("/")[2] for each in archive if each.isfile()}
    assert names == {n for n in _tracked() if not n.startswith(".ci/")} | {"PKG-INFO"}


def test_the_metadata_says_what_pyproject_says(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == rpcguard.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_changelog_has_a_section_of_this_version_or_of_what_is_to_come() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]" or headings[0].startswith(
        f"## [{rpcguard.__version__}] - "
    )
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {line[4:] for line in text.splitlines() if line.startswith("### ")} <= known
