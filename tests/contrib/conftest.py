"""The suite's registry and its running servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.credentials import write_registry
from contrib.servers import Served, serve


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the suite's registry."""
    return write_registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="session", params=["uvicorn", "werkzeug", "gunicorn", "aiohttp"])
def server(request: pytest.FixtureRequest, registry: Path) -> Iterator[Served]:
    """Each server in turn, started once."""
    with serve(request.param, registry) as served:
        yield served
