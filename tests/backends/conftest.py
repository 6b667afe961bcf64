"""Fixtures of the backends' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.kinds import DRIVERS, KINDS, Kind, Settle, opened
from rpcguard.backends.base import Backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a store may be made."""
    return tmp_path / "store.db"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def backend(kind: Kind, tmp_path: Path) -> Iterator[Backend]:
    with opened(kind, tmp_path) as backend:
        yield backend


@pytest.fixture(params=DRIVERS)
def settle(request: pytest.FixtureRequest, backend: Backend) -> Settle:
    driver = DRIVERS[request.param]
    return lambda owed, now: driver(backend, owed, now)
