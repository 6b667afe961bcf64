"""The suite's registry and its running servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.credentials import SECRETS, write_registry
from contrib.servers import Served, serve


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The path of the suite's registry; its secrets are in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield write_registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture(
    scope="session", params=["uvicorn", "uvicorn-whole", "werkzeug", "gunicorn", "aiohttp"]
)
def server(request: pytest.FixtureRequest, registry: Path) -> Iterator[Served]:
    """Each server in turn, started once."""
    with serve(request.param, registry) as served:
        yield served
