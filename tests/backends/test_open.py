"""The URL in the registry, and what it opens."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from backends.kinds import START, owe
from rpcguard.backends.memory import MemoryBackend
from rpcguard.backends.open import open_backend
from rpcguard.backends.sqlite import SqliteBackend
from rpcguard.errors import ConfigError
from rpcguard.owed import Answer


@pytest.mark.parametrize(
    ("url", "before_the_start"),
    [
        ("memory://", Answer.FORGOTTEN),
        ("memory://?restart_guard=on", Answer.FORGOTTEN),
        ("memory://?restart_guard=off", Answer.OK),
        ("MEMORY://", Answer.FORGOTTEN),
    ],
)
def test_memory(url: str, before_the_start: Answer, tmp_path: Path) -> None:
    backend = open_backend(url, now=START, base=tmp_path)
    assert isinstance(backend, MemoryBackend)
    assert backend.settle(owe("n", issued_at=START - 1), START) is before_the_start


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///x.db", "base/x.db"),
        ("sqlite:///sub/x.db", "base/sub/x.db"),
        ("sqlite:///../x.db", "x.db"),
        ("sqlite:////{tmp}/x.db", "x.db"),
        ("sqlite:///a%20b%23%3F%25.db", "base/a b#?%.db"),
        ("sqlite:///x.db?timeout=10ms", "base/x.db"),
        ("sqlite:///x.db?timeout=10s", "base/x.db"),
        ("sqlite:///x.db?timeout=10000ms", "base/x.db"),
    ],
)
def test_sqlite(url: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "base/sub").mkdir(parents=True)
    url = url.replace("/{tmp}", str(tmp_path))
    with closing(open_backend(url, now=START, base=tmp_path / "base")) as backend:
        assert isinstance(backend, SqliteBackend)
        assert backend.settle(owe("n"), START) is Answer.OK
        assert (tmp_path / file).is_file()


def test_the_timeout_is_in_seconds(tmp_path: Path) -> None:
    for url, seconds in (("x", 0.25), ("x?timeout=40ms", 0.04), ("x?timeout=2s", 2.0)):
        with closing(open_backend(f"sqlite:///{url}", now=START, base=tmp_path)) as backend:
            assert isinstance(backend, SqliteBackend)
            assert backend._timeout == seconds


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:/x",
        f"memory://user:{PASSWORD}@host",
        f"memory:///{PASSWORD}",
        f"memory://#{PASSWORD}",
        f"memory://?{PASSWORD}=1",
        "memory://?timeout=250ms",
        f"memory://?restart_guard={PASSWORD}",
        "memory://?restart_guard=",
        "memory://?restart_guard",
        "memory://?restart_guard=off&restart_guard=off",
        "memory://?&",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a%00b",
        f"sqlite://user:{PASSWORD}@host/x.db",
        "sqlite://x.db",
        f"sqlite:///x.db#{PASSWORD}",
        f"sqlite:///x.db?password={PASSWORD}",
        "sqlite:///x.db?timeout=250",
        "sqlite:///x.db?timeout=0.25s",
        "sqlite:///x.db?timeout=9ms",
        "sqlite:///x.db?timeout=11s",
        "sqlite:///x.db?timeout=10001ms",
        "sqlite:///x.db?timeout=-1s",
        "sqlite:///x.db?timeout=1e3ms",
        "sqlite:///x.db?timeout=١s",
        "sqlite:///x.db?timeout=250ms&timeout=250ms",
        f"mysql://user:{PASSWORD}@host/db",
        f"{PASSWORD}",
        f"//user:{PASSWORD}@[::1",
        f"sqlite://user:{PASSWORD}@[bad/x.db",
    ],
)
def test_a_wrong_url_is_an_error_that_does_not_quote_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(url, now=START, base=tmp_path)
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).startswith("backend: ")
    assert list(tmp_path.iterdir()) == []
