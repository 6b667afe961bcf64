"""Registries for tests, with a ready credential for each project."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rpcguard.backends.memory import MemoryBackend
from rpcguard.client.presets import Credentials
from rpcguard.client.session import SignIn
from rpcguard.client.signing_key import SigningKey
from rpcguard.client.wallet import Wallet
from rpcguard.testing.callers import MAKERS
from rpcguard.testing.clock import FrozenClock
from rpcguard.verifier import Verifier


@dataclass(frozen=True, slots=True)
class Ready:
    """
    The caller of one project.

    Attributes:
        project: Name of the project.
        credentials: What proves its requests; goes to the shims of `rpcguard.client` too.
        subject: Who the verifier takes it for.
        wallet: Its wallet, where it has one: `presets.nodius(ready.wallet, "session")`.
        key: Its key, where it has one, to make tokens of the test's own with `key.mint(claims)`.
    """

    project: str
    credentials: Credentials
    subject: str
    wallet: Wallet | None = None
    key: SigningKey | None = None

    def headers(self, method: str, target: str, body: bytes = b"", *, now: float) -> dict[str, str]:
        """
        Return the headers that authenticate one request.

        Args:
            method: Its method.
            target: Path and query.
            body: Its body.
            now: Unix seconds; the clock of the verifier.

        Raises:
            TypeError: If a session has to be signed in for.
            ValueError: If the request cannot be signed.
        """
        if isinstance(self.credentials, SignIn):
            raise TypeError("a session is asked of the server")
        return self.credentials.headers(method, target, body, now)


class RegistryBuilder:
    """
    Makes registries: one fresh key, wallet or secret for each project.

    Use it as a context manager, or call `close`, so that its verifiers are closed.
    """

    def __init__(self, **settings: Any) -> None:
        """
        Args:
            settings: Members of the registry beside `version` and `projects`, such as `bounds`.
        """
        self._settings = settings
        self._projects: dict[str, Any] = {}
        self._files: dict[str, str] = {}
        self._verifiers: list[Verifier] = []

    def project(self, name: str, preset: str = "bearer", **settings: Any) -> Ready:
        """
        Add a project, and return who may call it.

        Args:
            name: Its name.
            preset: Name of a shipped preset.
            settings: Members of the project as in the YAML file, such as
                ``match={"path": "/v1/"}`` or ``allow={"methods": ["eth_call"]}``; they replace what
                is made.

        Raises:
            ValueError: If there is no such preset.
        """
        if preset not in MAKERS:
            raise ValueError(f"preset must be one of {', '.join(MAKERS)}")
        made = MAKERS[preset](name, settings)
        self._projects[name] = {"preset": preset, **made.members, **settings}
        self._files |= made.files
        return Ready(name, made.credentials, made.subject, made.wallet, made.key)

    def write(self, directory: Path) -> Path:
        """Write `registry.yaml` and its keys into *directory*, and return the path of the first."""
        keys = directory / "keys"
        keys.mkdir(exist_ok=True)
        for name, text in self._files.items():
            file = keys / name
            file.touch(0o600)
            file.write_text(text)
        registry = directory / "registry.yaml"
        document = {"version": 1, **self._settings, "projects": self._projects}
        registry.write_text(json.dumps(document, indent=2))  # JSON is YAML
        return registry

    def verifier(self, clock: Callable[[], float] | None = None) -> Verifier:
        """
        Return a verifier with what is in the registry now, all of it in memory.

        It cannot `reload`: its files are gone. `write` is for tests of that.

        Args:
            clock: Gives Unix seconds; a `FrozenClock` of its own by default.

        Raises:
            ConfigError: If the registry is wrong.
        """
        clock = clock or FrozenClock()
        backend = MemoryBackend(now=clock(), restart_guard=False)
        with tempfile.TemporaryDirectory(prefix="rpcguard-testing-") as scratch:
            path = self.write(Path(scratch))
            made = Verifier.from_yaml(path, backend=backend, clock=clock, environ={}, watch=False)
        self._verifiers.append(made)
        return made

    def close(self) -> None:
        """Close the verifiers. Closing twice is harmless."""
        for verifier in self._verifiers:
            verifier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
