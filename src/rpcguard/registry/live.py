"""The registry in use: loaded, watched, and swapped between two requests."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rpcguard.errors import ConfigError
from rpcguard.observer import Loaded, LookedUp, Observer
from rpcguard.registry.compile import Compiled, load
from rpcguard.registry.watcher import Watcher

_log = logging.getLogger("rpcguard")


class LiveRegistry:
    """
    One registry file.

    Attributes:
        compiled: The current generation; read it once per request.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        environ: Mapping[str, str] | None,
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            path: The YAML file.
            environ: Where `${env:NAME}` looks; the process environment by default.
            observer: Told of each load, and of look-ups in the caches of tokens; or None.

        Raises:
            ConfigError: If anything is wrong with the registry.
        """
        self.path = Path(path).absolute()  # a later chdir must not move it
        self._environ = os.environ if environ is None else environ
        self._observer = observer
        self._generation = 0
        self.compiled = self._load()
        for warning in self.compiled.warnings:
            _log.warning("%s", warning)
        self._watcher = Watcher(self._files, self._reload_quietly)

    def watch(self) -> None:
        """Reload by itself when the file, or a file that it names, changes; until `stop`."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching. Stopping twice is harmless."""
        self._watcher.stop()

    def reload(self) -> Compiled:
        """
        Read the file now, use it from the next request on, and return it.

        Raises:
            ConfigError: If the file is wrong; the last good generation stays in use.
        """
        with self._watcher.polling:  # else who read an older file could be the last to set it
            self.compiled = self._load()
            return self.compiled

    def _load(self) -> Compiled:
        observer = self._observer
        if observer is None:
            return load(self.path, self._environ)
        try:
            compiled = load(self.path, self._environ)
        except Exception:
            observer(Loaded(self._generation, successful=False))
            raise
        for name, project in compiled.authenticator.projects.items():
            project.watch_lookups(partial(_tell_lookup, observer, name))
        self._generation += 1
        observer(Loaded(self._generation, successful=True))
        return compiled

    def _reload_quietly(self) -> None:
        try:
            self.reload()
        except ConfigError as error:
            self.compiled = self.compiled.waiting_for(error.files)
            _log.error("registry not reloaded, the last good one stays in use:\n%s", error)
        else:
            _log.info("registry reloaded: %s", self.path)

    def _files(self) -> tuple[str, ...]:
        return self.compiled.files


def _tell_lookup(observer: Observer, project: str, found: bool) -> None:
    observer(LookedUp(project, found))
