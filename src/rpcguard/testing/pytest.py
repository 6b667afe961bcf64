"""Fixtures, for `pytest_plugins = ["rpcguard.testing.pytest"]`; nothing loads them by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rpcguard.testing.clock import FrozenClock
from rpcguard.testing.registry import RegistryBuilder


@pytest.fixture
def rpcguard_clock() -> FrozenClock:
    """A clock that stands still until the test advances it."""
    return FrozenClock()


@pytest.fixture
def rpcguard_registry() -> Iterator[RegistryBuilder]:
    """An empty registry; the verifiers that it gives are closed after the test."""
    with RegistryBuilder() as builder:
        yield builder
