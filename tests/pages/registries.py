"""YAML that a page shows, loaded by the real loader; a part of a registry gets the rest."""

from __future__ import annotations

import re
import secrets
import textwrap
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from rpcguard import Verifier

# What a project of each preset needs beside what a page shows of it.
_NEEDED = {"bearer": ("keys", 'keys: [{kid: a, alg: HS256, secret: "${env:PAGE_SECRET}"}]')}


def whole(text: str, preset: str) -> str:
    """Return the registry that *text* is, or is a part of: its projects, or members of one."""
    if re.search(r"^version:", text, re.MULTILINE):
        return text
    if re.search(r"^projects:", text, re.MULTILINE):
        return f"version: 1\n{text}"
    member, line = _NEEDED.get(preset, ("", ""))
    if member and not re.search(rf"^({member}|secrets):", text, re.MULTILINE):
        text += f"{line}\n"
    return f"version: 1\nprojects:\n  page:\n    preset: {preset}\n{textwrap.indent(text, '    ')}"


def load(text: str, directory: Path, environ: Mapping[str, str]) -> None:
    """
    Load the registry *text* as if it stood in *directory*; variables that are unset are made up.

    Raises:
        ConfigError: If anything is wrong with it.
    """
    names = re.findall(r"\$\{env:(\w+)\}", text)
    made_up = {name: secrets.token_hex(32) for name in names}
    path = directory / ".page.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        verifier = Verifier.from_yaml(
            path, backend="memory://", environ=made_up | dict(environ), watch=False
        )
        with closing(verifier):
            pass
    finally:
        path.unlink()
