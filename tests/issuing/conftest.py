"""Fixtures of the tests of what rpcguard issues: sites on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from minting import NOW

from issuing.site import Site
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend


@pytest.fixture(params=["memory", "sqlite"])
def backend_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the path of the SQLite file."""
    return tmp_path / "store.db"


@pytest.fixture
def make(backend_kind: str, store: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a maker of sites: the processes of one service, which share one backend."""
    with ExitStack() as stack:
        shared: list[Backend] = []

        def make(text: str, **options: Any) -> Site:
            if backend_kind == "sqlite":
                backend: Any = f"sqlite:///{store}"
            else:
                if not shared:
                    shared.append(open_backend("memory://", now=NOW, base=tmp_path))
                backend = shared[0]
            directory = tmp_path / f"site-{len(list(tmp_path.glob('site-*')))}"
            directory.mkdir()
            site = Site(directory, text, backend, **options)
            stack.enter_context(closing(site.verifier))
            return site

        yield make


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a maker of a site in memory, for what no backend has a part in."""
    with ExitStack() as stack:

        def alone(text: str, **options: Any) -> Site:
            site = Site(tmp_path, text, "memory://", **options)
            stack.enter_context(closing(site.verifier))
            return site

        yield alone
