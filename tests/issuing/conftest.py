"""Fixtures of the tests of what rpcguard issues: sites on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from backends.kinds import SHARED_STORES, STORES, Kind
from minting import NOW

from issuing.site import Site
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend


@pytest.fixture(params=STORES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the path of a SQLite file, for tests that look into it."""
    return tmp_path / "store.db"


@pytest.fixture(params=SHARED_STORES, ids=lambda kind: kind.name)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a backend that several processes can share."""
    return request.param.url(tmp_path)


@pytest.fixture
def make(kind: Kind, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a maker of sites: the processes of one service, which share one backend."""
    with ExitStack() as stack:
        shared: list[Backend] = []

        def make(text: str, **options: Any) -> Site:
            backend: Any = kind.url(tmp_path)
            if not kind.shared:  # else each has a connection of its own
                if not shared:
                    shared.append(open_backend(backend, now=NOW, base=tmp_path))
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
