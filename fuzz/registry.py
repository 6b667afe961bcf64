"""
Fuzzes the loader of registries: `python fuzz/registry.py`, or `make fuzz`.

Whatever the file holds, loading it gives a compiled registry or a `ConfigError`, whose text holds
no literal secret of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

with atheris.instrument_imports(include=["rpcguard"]):
    from attacks.site import projects, registry

    from rpcguard.errors import ConfigError
    from rpcguard.registry.compile import load

from _run import run

FOLDER = tempfile.TemporaryDirectory()
PATH = Path(FOLDER.name, "registry.yaml")
MARK = "s3cr3t-that-must-not-show-0123456789abcdef"
ROOT = Path(__file__).parents[1]


def one_input(raw: bytes) -> None:
    """Load one file."""
    PATH.write_bytes(raw)
    try:
        compiled = load(PATH, {"A": MARK})
    except ConfigError as error:
        told = str(error)
    else:
        told = " ".join(map(str, compiled.warnings)) + repr(compiled)
    assert MARK not in told


def seeds() -> list[bytes]:
    """Return registries that load, whole and project by project, and the shipped presets."""
    found = [registry(name).encode() for name in projects()]
    found += [path.read_bytes() for path in sorted((ROOT / "src/rpcguard/presets").glob("*.yaml"))]
    found.append((ROOT / "src/rpcguard/cli/registry.yaml").read_bytes())
    found.append(
        f'version: 1\nprojects:\n  a:\n    preset: meganode\n    secrets: [{{id: a, secret: "{MARK}"}}]\n'.encode()
    )
    found.append(
        b'version: 1\nprojects:\n  a: {preset: meganode, secrets: [{id: a, secret: "${env:A}"}]}\n'
    )
    found.append(b"a: &a [1]\nb: *a\n<<: *a\n--- x\n!!python/name:x\n? k\n: v\n")
    return found


if __name__ == "__main__":
    run(one_input, seeds(), 8192)
