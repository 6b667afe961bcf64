"""Shared fixtures. Time is always an argument: no test reads the clock to decide anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from rpcguard.verifier import Verifier

# No deadline: a busy machine must not fail a property. No example database: runs leave no files.
settings.register_profile("rpcguard", deadline=None, database=None)
settings.load_profile("rpcguard")

NOW = 1_760_000_000.0


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Callable[..., Verifier]]:
    """Return a maker of verifiers from registry text, at the fixed time `NOW`, unwatched."""
    from rpcguard.verifier import Verifier

    with ExitStack() as stack:

        def make(registry: str, *, now: float = NOW, **options: Any) -> Verifier:
            path = tmp_path / "registry.yaml"
            path.write_text(registry, encoding="utf-8")
            plain: dict[str, Any] = {"clock": lambda: now, "environ": {}, "watch": False}
            return stack.enter_context(closing(Verifier.from_yaml(path, **plain | options)))

        yield make
