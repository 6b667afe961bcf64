"""`py.typed` is a promise: two type checkers read the package as its users' code does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("accepted.py", "refused.py")
STRICT = {
    "typeCheckingMode": "strict",
    "enableTypeIgnoreComments": False,  # those are mypy's
    "reportUnnecessaryTypeIgnoreComment": "error",
}
SECONDS = 300  # until it hangs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project: the two files, and no setting of this repository."""
    for name in FILES:
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(STRICT))
    return tmp_path


def _mypy(project: Path) -> str:
    # --strict has warn_unused_ignores: a wrong use that passes is a complaint too
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    done = subprocess.run(
        [*command, f"--cache-dir={HERE.parents[1] / '.mypy_cache/typed'}", *FILES],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def _pyright(project: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(FILES)
    return [f"{each['file']}: {each['message']}" for each in report["generalDiagnostics"]]


@pytest.mark.timeout(SECONDS + 30)
def test_mypy_accepts_right_uses_and_flags_wrong_ones(project: Path) -> None:
    assert _mypy(project) == ""


@pytest.mark.timeout(SECONDS + 30)
def test_mypy_sees_types_and_not_any(project: Path) -> None:
    (project / "accepted.py").write_text("import rpcguard\nreveal_type(rpcguard.Verifier)\n")
    assert "rpcguard.verifier.Verifier" in _mypy(project)


@pytest.mark.node
@pytest.mark.timeout(SECONDS + 30)
def test_pyright_accepts_right_uses_and_flags_wrong_ones(project: Path) -> None:
    assert _pyright(project) == []
