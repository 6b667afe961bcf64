"""The guarded servers of the conformance suite, one per framework."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client.recorder import Recorder, recording
from client.site import FRAMEWORKS, Site, running


@pytest.fixture(scope="session", params=FRAMEWORKS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with running(request.param, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="session", params=FRAMEWORKS)
def served_rotating(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with running(request.param, tmp_path_factory.mktemp("rotating"), "rotating") as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    """Each framework's server in turn, with sessions that are not refreshed; its counts at 0."""
    served.seen.clear()
    return served


@pytest.fixture
def rotating(served_rotating: Site) -> Site:
    """Likewise, with refresh tokens."""
    served_rotating.seen.clear()
    return served_rotating


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
def elsewhere() -> Iterator[Recorder]:
    """Another origin."""
    with recording() as recorder:
        yield recorder
