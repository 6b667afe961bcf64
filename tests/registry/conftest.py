"""Registries written to a directory of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpcguard.registry.merge import Examined, examine


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of files into the test's directory; secrets get mode 0600."""

    def write(name: str, content: str | bytes, mode: int = 0o600) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def look_at(write: Callable[..., Path]) -> Callable[..., Examined]:
    """Return what is found in a registry with this text."""

    def look_at(text: str | bytes, **environ: str) -> Examined:
        return examine(write("registry.yaml", text), environ)

    return look_at


@pytest.fixture
def project(look_at: Callable[..., Examined]) -> Callable[..., Any]:
    """Return the model of the one project `p` whose lines are given; fail if there is a problem."""

    def project(lines: str, preset: str = "bearer", **environ: str) -> Any:
        found = look_at(registry(lines, preset), **environ)
        assert found.problems == ()
        assert found.registry is not None
        return found.registry.projects["p"]

    return project


@pytest.fixture
def complaints(look_at: Callable[..., Examined]) -> Callable[..., list[str]]:
    """Return what is wrong with the one project `p`: `key: message` without its prefix, each."""

    def complaints(lines: str, preset: str = "bearer", **environ: str) -> list[str]:
        found = look_at(registry(lines, preset), **environ)
        return [f"{p.key.removeprefix('projects.p.')}: {p.message}" for p in found.problems]

    return complaints


def registry(lines: str, preset: str) -> str:
    """Return a registry with the one project `p`."""
    return "version: 1\nprojects:\n  p:\n    preset: " + "\n    ".join(
        [preset, *lines.splitlines()]
    )
