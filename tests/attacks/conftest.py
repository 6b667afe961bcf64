"""Sites that a test makes, and one that a module shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from contrib.credentials import SECRETS, write_registry
from contrib.servers import Served, serve

from attacks.site import Site, registry


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a maker of sites from registry text."""
    with ExitStack() as stack:

        def make(text: str | None = None, **options: Any) -> Site:
            folder = tmp_path / f"site-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            site = Site(folder, registry() if text is None else text, **options)
            stack.enter_context(closing(site.verifier))
            return site

        yield make


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site with every project, for attacks that leave nothing behind."""
    site = Site(tmp_path_factory.mktemp("site"), registry())
    with closing(site.verifier):
        yield site


@pytest.fixture(scope="session", params=["uvicorn", "uvicorn-whole", "werkzeug", "aiohttp"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A real server in front of each adapter, with the registry of `contrib.credentials`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        path = write_registry(tmp_path_factory.mktemp("served"))
        with serve(request.param, path) as served:
            yield served
