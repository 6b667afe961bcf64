"""The npm packages of the providers' documents, installed once per set of versions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPTS = ("package.json", "documents.mjs", "clients.mjs", "server.mjs")


@pytest.fixture(scope="session")
def scripts() -> Path:
    """
    The folder of the scripts, with what they import.

    It is kept in the user's cache, by the digest of the scripts and the versions in package.json.
    """
    contents = {name: (HERE / name).read_bytes() for name in SCRIPTS}
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rpcguard-tests"
    folder = cache / digest
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache))
        for name, content in contents.items():
            (made / name).write_bytes(content)
        flags = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            ["npm", "install", *flags],
            cwd=made,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        try:
            made.rename(folder)
        except OSError:  # another run was faster
            shutil.rmtree(made)
    return folder
