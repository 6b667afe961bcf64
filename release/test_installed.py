"""The wheel in new environments: each extra alone, the whole with its demo and its types."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TYPED = ROOT / "tests" / "typed"

VERIFY = """
import pathlib, sys, rpcguard
pathlib.Path("registry.yaml").write_text(
    'version: 1\\nbackend: memory://\\nprojects: {a: {preset: meganode, %s secrets:'
    ' [{id: a, secret: "${env:SECRET}"}]}}\\n'
)
from rpcguard import AuthError, Request, Verifier
with Verifier.from_yaml("registry.yaml", environ={"SECRET": "x" * 32}) as verifier:
    try:
        verifier.verify(Request("POST", "/", [], b""))
    except AuthError as error:
        assert error.reason == "missing_credentials"
"""
JWE = 'encryption: {keys: [{kid: a, alg: dir, secret: \\"${env:SECRET}\\"}]},'

# What needs an extra: the package that the extra brings, the code, and what is said without it.
NEEDS = {
    "fastapi": ("fastapi", "import rpcguard.contrib.fastapi", "No module named 'fastapi'"),
    "flask": ("flask", "import rpcguard; rpcguard.protect", 'pip install "rpcguard[flask]"'),
    "aiohttp": ("aiohttp", "import rpcguard.contrib.aiohttp", "No module named 'aiohttp'"),
    "redis": (
        "redis",
        VERIFY.replace("memory://", "redis://127.0.0.1:1?timeout=50ms") % "",
        "install rpcguard[redis]",
    ),
    "limits": ("limits", VERIFY % "limits: {per_ip: 5/second},", "install rpcguard[limits]"),
    "client": ("httpx", "import rpcguard.client.httpx", "No module named 'httpx'"),
    "cli": (
        "typer",
        (
            "import sys; sys.argv = ['rpcguard', '--help']; import runpy; "
            "runpy.run_module('rpcguard', run_name='__main__')"
        ),
        'pip install "rpcguard[cli]"',
    ),
    "jwe": ("joserfc", VERIFY % JWE, "install rpcguard[jwe]"),
    "prometheus": (
        "prometheus_client",
        "import rpcguard.observers.prometheus",
        "No module named 'prometheus_client'",
    ),
    "otel": (
        "opentelemetry",
        "import rpcguard.observers.otel",
        "No module named 'opentelemetry'",
    ),
}
HAS = "import importlib.util as found, sys; sys.exit(found.find_spec(sys.argv[1]) is None)"


def _run(python: Path, code: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # -I: nothing of this checkout, of the environment or of the folder can be imported
    return subprocess.run(
        [python, "-I", "-W", "error::SyntaxWarning", "-c", code, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_each_extra_is_tried_alone(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert set(metadata.get_all("Provides-Extra", [])) == {*NEEDS, "all"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("extra", ["", *NEEDS])
def test_an_extra_alone_is_enough_and_what_it_lacks_is_named(
    extra: str, install: Callable[[str], Path], tmp_path: Path
) -> None:
    python = install(extra)
    done = _run(python, VERIFY % "", tmp_path)
    assert done.returncode == 0, done.stderr
    for name, (package, code, complaint) in NEEDS.items():
        # What one extra brings may bring what another needs: FastAPI has OpenTelemetry's API since
        # 0.165, the command line and the client share httpx.
        brought = _run(python, HAS, tmp_path, package).returncode == 0
        assert brought or name != extra
        done = _run(python, code, tmp_path)
        if brought:
            assert done.returncode == 0, (name, done.stderr)
        else:
            assert done.returncode != 0, name
            assert complaint in done.stderr, (name, done.stderr)


@pytest.fixture(scope="module")
def everything(install: Callable[[str], Path]) -> Path:
    return install("all")


@pytest.mark.timeout(300)
def test_the_demo_runs_from_outside_the_checkout(everything: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [everything.with_name("rpcguard"), "demo"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_mypy_reads_the_types_of_the_installed_package(everything: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            f"--cache-dir={tmp_path}",
            f"--python-executable={everything}",
            "accepted.py",
            "refused.py",
        ],
        cwd=TYPED,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
