"""
The drivers: they read the clock, ask the pure half, read the body if it must be read, ask the
backend in one round trip, and give a `Principal` or raise an `AuthError`.

`verify` and `averify` differ by `await` alone. One request is judged by one generation of the
registry throughout; a reload swaps the next generation in between two requests.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rpcguard import owed
from rpcguard.authenticator import Authenticator, BodyWanted
from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.errors import AuthError, BackendError, ConfigError
from rpcguard.owed import Pending, Revocation
from rpcguard.principal import Principal
from rpcguard.registry.compile import Compiled, load
from rpcguard.registry.watcher import Watcher
from rpcguard.request import Request

_log = logging.getLogger("rpcguard")


class Verifier:
    """
    Authenticates requests by one registry and one backend. Thread-safe; one per application.

    Use it as a context manager, or call `close` when the application ends.
    """

    def __init__(
        self,
        path: Path,
        compiled: Compiled,
        backend: Backend,
        clock: Callable[[], float],
        environ: Mapping[str, str],
    ) -> None:
        """Take the parts as they are; `from_yaml` is the usual way."""
        self._path = path
        self._compiled = compiled
        self._backend = backend
        self._clock = clock
        self._environ = environ
        self._watcher: Watcher | None = None

    @classmethod
    def from_yaml(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | None = None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] | None = None,
        watch: bool = True,
    ) -> Self:
        """
        Load a registry and open its backend.

        Args:
            path: The registry's YAML file.
            backend: URL or object that replaces the registry's `backend`.
            clock: Gives Unix seconds; read once per request.
            environ: Where `${env:NAME}` looks; the process environment by default.
            watch: Reload by itself, within a second, when the file or a `${file:}` of it changes.

        Raises:
            ConfigError: If anything is wrong with the registry or the backend's URL.
        """
        path = Path(path).absolute()  # a later chdir must not move it
        environ = os.environ if environ is None else environ
        compiled = load(path, environ)
        for warning in compiled.warnings:
            _log.warning("%s", warning)
        if backend is None:
            backend = compiled.backend
        if isinstance(backend, str):
            backend = open_backend(backend, now=clock(), base=path.parent)
        verifier = cls(path, compiled, backend, clock, environ)
        if watch:
            verifier._watcher = Watcher(verifier._watched, verifier._reload_quietly)
            verifier._watcher.start()
        return verifier

    @property
    def registry(self) -> Authenticator:
        """The current generation: its `projects` and `bounds`."""
        return self._compiled.authenticator

    def verify(
        self,
        request: Request,
        read_body: Callable[[int], bytes] | None = None,
        *,
        project: str | None = None,
        schemes: Collection[str] | None = None,
    ) -> Principal:
        """
        Return who is calling.

        Args:
            request: The request; with `body=None` the body is read only if it is needed.
            read_body: Returns the whole body; called at most once, with the limit in bytes, above
                which it raises `AuthError("body_too_large")`.
            project: Name of the project to use whatever the target says.
            schemes: The only kinds of credential to take.

        Raises:
            AuthError: If the request is refused, for whatever reason.
        """
        now = self._clock()
        authenticate = self._compiled.authenticator.authenticate
        try:
            step = authenticate(request, now, project=project, schemes=schemes)
            if isinstance(step, BodyWanted):
                with _Reading(step):
                    body = read_body(step.limit) if read_body else None
                step = authenticate(request.with_body(body), now, project=project, schemes=schemes)
            pending = _proved(step)
            try:
                answer = self._backend.settle(pending.owed, now) if pending.owed else None
            except BackendError as error:
                raise pending.unavailable(str(error)) from error
            return pending.conclude(answer)
        except AuthError as error:
            _log_refusal(error)
            raise

    async def averify(
        self,
        request: Request,
        read_body: Callable[[int], Awaitable[bytes]] | None = None,
        *,
        project: str | None = None,
        schemes: Collection[str] | None = None,
    ) -> Principal:
        """`verify` for a running event loop; see there."""
        now = self._clock()
        authenticate = self._compiled.authenticator.authenticate
        try:
            step = authenticate(request, now, project=project, schemes=schemes)
            if isinstance(step, BodyWanted):
                with _Reading(step):
                    body = await read_body(step.limit) if read_body else None
                step = authenticate(request.with_body(body), now, project=project, schemes=schemes)
            pending = _proved(step)
            try:
                answer = await self._backend.asettle(pending.owed, now) if pending.owed else None
            except BackendError as error:
                raise pending.unavailable(str(error)) from error
            return pending.conclude(answer)
        except AuthError as error:
            _log_refusal(error)
            raise

    def matching(self, request: Request) -> str | None:
        """Return the name of the project that *request*'s target matches; None for none."""
        return self._compiled.authenticator.matching(request)

    def wants_body(self, request: Request, *, project: str | None = None) -> bool:
        """Return whether *request*'s kind of credential or the policy needs its body. No crypto."""
        return self._compiled.authenticator.wants_body(request, project=project)

    def revoke(
        self,
        project: str,
        *,
        subject: str | None = None,
        key: str | None = None,
        session: str | None = None,
        jti: str | None = None,
        expires_at: float | None = None,
    ) -> None:
        """
        Revoke for *project*, in every process that shares the backend, from the next request on.

        Args:
            project: Name of the project.
            subject: Refuse what was issued to this subject until now.
            key: Refuse everything that the key of this id proves.
            session: Refuse every token with this `sid`.
            jti: Refuse the token with this `jti`; name its *key* too.
            expires_at: Unix seconds until which it can matter; None keeps it for good.

        Raises:
            LookupError: If there is no such project.
            ValueError: If nothing is named to revoke.
            BackendError: If it could not be recorded.
        """
        if project not in self.registry.projects:
            raise LookupError(f"no project {project!r}")
        now = self._clock()
        revocations = []
        if jti is not None:
            if key is None:
                raise ValueError("jti names a token only together with its key")
            revocations.append(Revocation(owed.digest("jti", project, key, jti), None, expires_at))
        elif key is not None:
            revocations.append(Revocation(owed.key_name(project, key), None, expires_at))
        if session is not None:
            revocations.append(Revocation(owed.session_name(project, session), None, expires_at))
        if subject is not None:
            revocations.append(Revocation(owed.subject_name(project, subject), now, expires_at))
        if not revocations:
            raise ValueError("name a subject, a key, a session or a jti to revoke")
        self._backend.revoke(revocations, now)

    def reload(self) -> None:
        """
        Read the registry again now and use it from the next request on.

        The backend is not reopened: another `backend` takes effect at the next start.

        Raises:
            ConfigError: If the file is wrong; the last good registry stays in use.
        """
        self._compiled = load(self._path, self._environ)

    def _reload_quietly(self) -> None:
        try:
            self.reload()
        except ConfigError as error:
            self._compiled = self._compiled.waiting_for(error.files)
            _log.error("registry not reloaded, the last good one stays in use:\n%s", error)
        else:
            _log.info("registry reloaded: %s", self._path)

    def _watched(self) -> tuple[str, ...]:
        return self._compiled.files

    def close(self) -> None:
        """Stop watching and close the backend. Closing twice is harmless."""
        if self._watcher is not None:
            self._watcher.stop()
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Reading:
    """Gives an `AuthError` raised while the body is read the form of the project that asked."""

    __slots__ = ("_step",)

    def __init__(self, step: BodyWanted) -> None:
        self._step = step

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, AuthError):
            self._step.project.dress(error)


def _proved(step: Pending | BodyWanted) -> Pending:
    if isinstance(step, BodyWanted):  # there was no way to read it
        raise step.project.dress(AuthError("invalid_body", detail="the body could not be read"))
    return step


def _log_refusal(error: AuthError) -> None:
    _log.info(
        "refused: project=%s reason=%s cause=%s detail=%s",
        error.project,
        error.reason,
        error.cause,
        error.detail,
    )
