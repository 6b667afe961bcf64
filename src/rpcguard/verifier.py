"""
The drivers: they read the clock, ask the pure half, read the body if it must be read, ask the
backend in one round trip, and give a `Principal` or raise an `AuthError`.

`verify` and `averify` differ by `await` alone. One request is judged by one generation of the
registry throughout; a reload swaps the next generation in between two requests.

Longer than other modules because the public API stands here in one place, with its documentation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

from rpcguard import audit
from rpcguard import owed as names
from rpcguard.authenticator import Authenticator
from rpcguard.backends.base import Backend
from rpcguard.backends.memory import MemoryBackend
from rpcguard.backends.open import open_backend, open_client
from rpcguard.ending import end_of_family, revoked_key
from rpcguard.errors import AuthError, BackendError
from rpcguard.issuing import ROUTES, Desk
from rpcguard.limiter import Limiter
from rpcguard.measured import MeasuredBackend
from rpcguard.observer import Observer, together
from rpcguard.owed import Answer, Revocation
from rpcguard.own_threads import NoThreadError, OwnThreads
from rpcguard.pending import Pending
from rpcguard.principal import Principal
from rpcguard.registry.live import LiveRegistry
from rpcguard.request import Request
from rpcguard.steps import PLAIN, Asked, BodyWanted, Counting

_audited = audit.listening
_OK = Answer.OK  # found faster here than in its class


class Verifier:
    """
    Authenticates requests by one registry and one backend. Thread-safe; one per application.

    Use it as a context manager, or call `close` when the application ends.

    Attributes:
        at_once: The backend never waits, so that an event loop may call `known`.
    """

    def __init_subclass__(cls) -> None:
        """Ask a subclass that judges otherwise for every request: no short way goes past it."""
        super().__init_subclass__()
        if cls.verify is not Verifier.verify or cls.averify is not Verifier.averify:
            cls.known, cls.aknown = _unknown, _aunknown  # type: ignore[method-assign]

    def __init__(
        self,
        live: LiveRegistry,
        backend: Backend,
        clock: Callable[[], float],
        limiter: Limiter | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Take the parts as they are; `from_yaml` is the usual way."""
        self._live = live
        self._backend = backend if observer is None else MeasuredBackend(backend, observer)
        self._observer = observer
        self._heard = observer is not None
        self.at_once = type(backend) is MemoryBackend
        self._clock = clock
        self._limiter = limiter or Limiter(None, observer=observer)
        self._threads = OwnThreads("issuing")

    @classmethod
    def from_yaml(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | Any = None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] | None = None,
        watch: bool = True,
        observers: Iterable[Observer] = (),
    ) -> Self:
        """
        Load a registry and open its backend.

        Args:
            path: The registry's YAML file.
            backend: URL, backend, or ready client of redis-py that replaces the registry's
                `backend`.
            clock: Gives Unix seconds; read once per request.
            environ: Where `${env:NAME}` looks; the process environment by default.
            watch: Reload by itself, within a second, when the file or a `${file:}` of it changes.
            observers: Told of every verdict and of what it took; see `rpcguard.observer`.

        Raises:
            ConfigError: If anything is wrong with the registry or the backend's URL.
            TypeError: If one of *observers* cannot be called.
        """
        observer = together(observers)
        live = LiveRegistry(path, environ, observer)
        if backend is None:
            backend = live.compiled.backend
        limiter = None
        if isinstance(backend, str):
            url, base = backend, live.path.parent
            backend = open_backend(url, now=clock(), base=base)
            limiter = Limiter(url, base, observer)
        elif not hasattr(backend, "settle"):
            backend = open_client(backend, now=clock())
        if watch:
            live.watch()
        return cls(live, backend, clock, limiter, observer)

    @property
    def registry(self) -> Authenticator:
        """The current generation, with its `projects` and `bounds`."""
        return self._live.compiled.authenticator

    def verify(
        self,
        request: Request,
        read_body: Callable[[int], bytes] | None = None,
        *,
        project: str | None = None,
        schemes: Collection[str] | None = None,
        standing: bool = False,
        frames: bool = False,
    ) -> Principal:
        """
        Return who is calling.

        Args:
            request: The request; with `body=None` the body is read only if it is needed.
            read_body: Returns the whole body; called at most once, with the limit in bytes, above
                which it raises `AuthError("body_too_large")`.
            project: Name of the project to use whatever the target says.
            schemes: The only kinds of credential to take.
            standing: Ask whether the credential of a connection that was accepted still stands:
                it need not be fresh and spends nothing.
            frames: Of a WebSocket: each message will be given to `check_message`. Without it the
                handshake is refused where methods or addresses are restricted.

        Raises:
            AuthError: If the request is refused, for whatever reason.
        """
        now, authenticator = self._clock(), self._live.compiled.authenticator
        fields = None
        if authenticator.short_ways and schemes is None and not (standing or self._heard):
            fields = request.bearer_fields()
        if fields is not None:
            try:  # this class, since a subclass's own may ask here
                principal = Verifier.known(self, request.target, *fields, project, now)
            finally:
                fields = None  # no traceback that shows variables shows the token
            if principal is not None:
                return principal
        started = time.perf_counter()
        asked = PLAIN
        if standing or frames or project is not None or schemes is not None:
            asked = Asked(project, schemes, standing, True, frames)
        judged = request
        try:
            step = authenticator.authenticate(judged, now, asked)
            while not isinstance(step, Pending):  # seldom: a count or the body comes first
                if isinstance(step, Counting):
                    self._limiter.spend(step.charges, step.project.dress)
                    asked = asked._replace(counted=True)
                else:
                    with _Reading(step):
                        body = read_body(step.limit) if read_body else None
                        judged = step.given(request, body)
                        if step.kept is not None:
                            asked = asked._replace(kept=step.kept)
                step = authenticator.authenticate(judged, now, asked)
            if step.charges and step.owed.nonce is not None:  # a refusal must not cost the nonce
                self._limiter.spend(step.take_charges(), step.dress)
            try:
                owes = step.owed.nonce or step.owed  # a nonce's truth is told in C
                answer = self._backend.settle(step.owed, now) if owes else None
            except BackendError as error:
                raise step.unavailable(str(error)) from error
            principal = step.conclude(answer)
            if step.charges:
                self._limiter.spend(step.take_charges(), step.dress)
        except AuthError as error:
            kind = "recheck" if standing else ""
            audit.request_judged(
                authenticator, request, project, error, started, self._observer, kind
            )
            raise
        if not standing and (self._heard or _audited()):  # a recheck is news only if it refuses
            audit.request_judged(
                authenticator, request, project, principal, started, self._observer
            )
        return principal

    async def averify(
        self,
        request: Request,
        read_body: Callable[[int], Awaitable[bytes]] | None = None,
        *,
        project: str | None = None,
        schemes: Collection[str] | None = None,
        standing: bool = False,
        frames: bool = False,
    ) -> Principal:
        """`verify` for a running event loop; see there."""
        now, authenticator = self._clock(), self._live.compiled.authenticator
        fields = None
        if authenticator.short_ways and schemes is None and not (standing or self._heard):
            fields = request.bearer_fields()
        if fields is not None:
            try:
                principal = await Verifier.aknown(self, request.target, *fields, project, now)
            finally:
                fields = None
            if principal is not None:
                return principal
        started = time.perf_counter()
        asked = PLAIN
        if standing or frames or project is not None or schemes is not None:
            asked = Asked(project, schemes, standing, True, frames)
        judged = request
        try:
            step = authenticator.authenticate(judged, now, asked)
            while not isinstance(step, Pending):  # seldom: a count or the body comes first
                if isinstance(step, Counting):
                    await self._limiter.aspend(step.charges, step.project.dress)
                    asked = asked._replace(counted=True)
                else:
                    with _Reading(step):
                        body = await read_body(step.limit) if read_body else None
                        judged = step.given(request, body)
                        if step.kept is not None:
                            asked = asked._replace(kept=step.kept)
                step = authenticator.authenticate(judged, now, asked)
            if step.charges and step.owed.nonce is not None:  # a refusal must not cost the nonce
                await self._limiter.aspend(step.take_charges(), step.dress)
            try:
                owes = step.owed.nonce or step.owed  # a nonce's truth is told in C
                answer = await self._backend.asettle(step.owed, now) if owes else None
            except BackendError as error:
                raise step.unavailable(str(error)) from error
            principal = step.conclude(answer)
            if step.charges:
                await self._limiter.aspend(step.take_charges(), step.dress)
        except AuthError as error:
            kind = "recheck" if standing else ""
            audit.request_judged(
                authenticator, request, project, error, started, self._observer, kind
            )
            raise
        if not standing and (self._heard or _audited()):  # a recheck is news only if it refuses
            audit.request_judged(
                authenticator, request, project, principal, started, self._observer
            )
        return principal

    def known(
        self,
        target: str,
        host: str,
        authorization: bytes,
        project: str | None = None,
        now: float | None = None,
    ) -> Principal | None:
        """
        Return who is calling, for the usual request, in a fraction of the time that `verify` takes;
        None for any other: ask `verify`, which gives the same answer to all.

        The usual request is no WebSocket, has a target that was asked for before, and needs nothing
        but its bearer token. An adapter that asks here first need not make a `Request`.

        Args:
            target: The raw request target; see `Request`.
            host: The value of `Host`. Do not ask where the request has it never or twice.
            authorization: The value of `Authorization`, likewise.
            project: Name of the project to use whatever the target says.
            now: Unix seconds; the clock's by default.

        Raises:
            AuthError: What `verify` would raise.
        """
        if self._heard or _audited():
            return None  # `verify` tells what it did
        if now is None:
            now = self._clock()
        judge = self._live.compiled.authenticator
        if not judge.short_ways:
            return None
        # The token's `name_of`, in place: its call would take longer than the look-up
        asked = (project, target, host, blake2b(authorization).digest())
        left = judge.seen.younger.get(asked) or judge.learn(asked, authorization, now)
        del authorization  # as in `verify`
        if left is None:
            return None
        begin, end, owed, principal, step = left
        if not begin <= now < end:
            return None
        try:
            answer = self._backend.settle(owed, now) if owed.revocable else _OK
        except BackendError as error:
            raise step.unavailable(str(error)) from error
        return principal if answer is _OK else step.conclude(answer)

    async def aknown(
        self,
        target: str,
        host: str,
        authorization: bytes,
        project: str | None = None,
        now: float | None = None,
    ) -> Principal | None:
        """`known` for a running event loop; see there. Where `at_once`, `known` serves it too."""
        if self._heard or _audited():
            return None
        if now is None:
            now = self._clock()
        judge = self._live.compiled.authenticator
        if not judge.short_ways:
            return None
        asked = (project, target, host, blake2b(authorization).digest())
        left = judge.seen.younger.get(asked) or judge.learn(asked, authorization, now)
        del authorization  # as in `verify`
        if left is None:
            return None
        begin, end, owed, principal, step = left
        if not begin <= now < end:
            return None
        try:
            answer = await self._backend.asettle(owed, now) if owed.revocable else _OK
        except BackendError as error:
            raise step.unavailable(str(error)) from error
        return principal if answer is _OK else step.conclude(answer)

    def check_message(self, principal: Principal, text: bytes | str) -> None:
        """
        Judge one message of a WebSocket whose handshake was let in with `frames=True`, as a request
        is judged: by the methods and addresses that its caller may use now, and by every limit.

        Args:
            principal: Who opened the WebSocket.
            text: The message.

        Raises:
            AuthError: If the message is refused.
        """
        started = time.perf_counter()
        try:
            counting = self.registry.message(principal, text, self._clock())
            self._limiter.spend(counting.charges, counting.project.dress)
        except AuthError as error:
            audit.message_judged(principal, error, started, self._observer)
            raise
        audit.message_judged(principal, None, started, self._observer)

    def acheck_message(self, principal: Principal, text: bytes | str) -> Awaitable[None]:
        """
        `check_message` for a running event loop; see there. To be awaited: the counting waits for
        it. The policy does not, so that a forgotten `await` lets nothing forbidden through.
        """
        started = time.perf_counter()
        try:
            counting = self.registry.message(principal, text, self._clock())
        except AuthError as error:
            audit.message_judged(principal, error, started, self._observer)
            raise
        return self._acount(principal, counting, started)

    async def _acount(self, principal: Principal, counting: Counting, started: float) -> None:
        try:
            await self._limiter.aspend(counting.charges, counting.project.dress)
        except AuthError as error:
            audit.message_judged(principal, error, started, self._observer)
            raise
        audit.message_judged(principal, None, started, self._observer)

    def matching(self, request: Request) -> str | None:
        """Return the name of the project that *request*'s target matches; None for none."""
        return self.registry.matching(request)

    def wants_body(self, request: Request, *, project: str | None = None) -> bool:
        """Return whether *request*'s kind of credential or the policy needs its body. No crypto."""
        return self._live.compiled.authenticator.wants_body(request, project=project)

    def revoke(
        self,
        project: str,
        *,
        subject: str | None = None,
        key: str | None = None,
        session: str | None = None,
        token: str | None = None,
        jti: str | None = None,
        expires_at: float | None = None,
    ) -> None:
        """
        Revoke for *project*, in every process that shares the backend, from the next request on.

        Args:
            project: Name of the project.
            subject: Refuse what was issued to this subject until now, by this process's clock, and
                its API key whatever the clock that issued it.
            key: Refuse everything that the key of this id proves; a wallet's public key with all
                that was issued to it.
            session: Refuse every token with this `sid`.
            token: Refuse this JWT, whatever its spelling.
            jti: Refuse the JWT with this `jti`; name its *key* too, which is not revoked then.
            expires_at: Unix seconds until which it can matter; None keeps it as long as that can be
                told (the end of a token, of a session), else for good.

        Raises:
            LookupError: If there is no such project.
            ValueError: If nothing is named to revoke.
            AuthError: If *token* is none of the project's.
            BackendError: If it could not be recorded.
        """
        found_project = self.registry.projects.get(project)
        if found_project is None:
            raise LookupError(f"no project {project!r}")
        now = self._clock()
        found = []
        if token is not None:
            of_token = found_project.token_revocation(token, now)
            found.append(replace(of_token, expires_at=expires_at or of_token.expires_at))
        if jti is not None:
            if key is None:
                raise ValueError("jti names a token only together with its key")
            found.append(Revocation(names.digest("jti", project, key, jti), None, expires_at))
        elif key is not None:
            found.append(Revocation(names.key_name(project, key), None, expires_at))
        if session is not None:
            end = expires_at
            if end is None and found_project.sessions is not None:
                end = end_of_family(found_project.sessions, self._backend, session, now)
            found.append(Revocation(names.session_name(project, session), None, end))
        if subject is not None:
            name, where = names.subject_name(project, subject), names.bucket(project, subject)
            found.append(Revocation(name, now, expires_at, where))
            found += revoked_key(self._backend, project, subject, expires_at, now)
        if not found:
            raise ValueError("name a subject, a key, a session, a token or a jti to revoke")
        self._backend.revoke(found, now)

    def issue(
        self, project: str, subject: str, claims: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """
        Return a new session for *subject*, for an application's own login.

        Args:
            project: Name of a project with a `session`.
            subject: Who it is for.
            claims: Further claims of the token.

        Returns:
            `token` and `expiresAt` (Unix seconds); where refresh is on, `refreshToken` and
            `refreshExpiresAt` too.

        Raises:
            LookupError: If there is no such project, or it has no `session`.
            ValueError: If *claims* names a claim that rpcguard sets.
            AuthError: `rate_limited`, if *subject* holds as many refresh tokens as it may, or
                `backend_unavailable`, if the project does or has no active secret.
            BackendError: If the backend could not record the refresh token.
        """
        desk = self._desk(project)
        if desk.project.sessions is None:
            raise LookupError(f"no project {project!r} with a session")
        return desk.session(subject, claims or {})

    def new_api_key(self, project: str, subject: str, expires_at: float | None = None) -> str:
        """
        Return a new API key of *subject*, in place of the previous one, which ends at once.

        Args:
            project: Name of the project.
            subject: Whose key it is: a wallet's base58 key.
            expires_at: Unix seconds at which it ends, or None.

        Raises:
            LookupError: If there is no such project, or it issues no keys.
            AuthError: `rate_limited`, if *subject* holds as many records as it may and has no key
                yet, or `backend_unavailable`, if the project does.
            BackendError: If the backend could not record it.
        """
        return self._desk(project).new_key(subject, expires_at)

    def drop_api_key(self, project: str, subject: str) -> bool:
        """
        End the API key of *subject* at once; return whether there was one.

        Args:
            project: Name of the project.
            subject: Whose key it is: a wallet's base58 key.

        Raises:
            LookupError: If there is no such project, or it issues no keys.
            BackendError: If it could not be recorded.
        """
        desk = self._desk(project)
        if desk.project.key_issuer is None:
            raise LookupError(f"project {project!r} issues no API keys")
        where = names.bucket(project, subject)
        return self._backend.drop(where, names.api_key_slot(project, subject), desk.now)

    def serve(self, route: str, request: Request, project: str | None = None) -> dict[str, Any]:
        """
        Answer one of the routes that issue credentials; it may block.

        Args:
            route: A key of `rpcguard.issuing.ROUTES`, such as "/auth/verify".
            request: The request, its body read.
            project: Name of the project; it may be left out where exactly one has a `session`.

        Raises:
            AuthError: If the request is refused, in the project's own form.
        """
        started = time.perf_counter()
        desk = self._open_desk(route, request, project, started)
        found = desk.project
        judged = partial(
            audit.request_judged,
            desk.authenticator,
            request,
            found.name,
            observer=self._observer,
            kind=route,
        )
        try:
            counting = desk.authenticator.callers.count(found, request)
            self._limiter.spend(counting.charges, found.dress)
            answer = ROUTES[route](desk, request)
        except AuthError as error:
            judged(desk.refused(error), started)
            raise
        except BackendError as error:
            refusal = desk.refused(AuthError("backend_unavailable", detail=str(error)))
            judged(refusal, started)
            raise refusal from error
        judged(desk.caller, started)
        return answer

    async def aserve(
        self, route: str, request: Request, project: str | None = None
    ) -> dict[str, Any]:
        """
        `serve` for a running event loop; see there. It waits in threads of its own, at most the
        `issuing_timeout` of the registry's bounds: who gets no answer in time, or finds too many
        waiting, is refused as `backend_unavailable`. What was begun then is done nevertheless.
        """
        started = time.perf_counter()
        desk = self._open_desk(route, request, project, started)
        found, patience = desk.project, desk.authenticator.bounds.issuing_timeout
        try:
            return await self._threads.run(patience, self.serve, route, request, project)
        except BackendError as error:
            refusal = found.dress(AuthError("backend_unavailable", detail=str(error)))
            if isinstance(error, NoThreadError):  # else `serve` records what it does
                audit.request_judged(
                    desk.authenticator, request, found.name, refusal, started, self._observer, route
                )
            raise refusal from error

    def _open_desk(self, route: str, request: Request, project: str | None, started: float) -> Desk:
        try:
            return self._desk(project)
        except LookupError as error:  # a reload took the session away
            gone = AuthError("no_project", detail=str(error))
            audit.request_judged(
                self.registry, request, project, gone, started, self._observer, route
            )
            raise gone from None

    def _desk(self, project: str | None) -> Desk:
        authenticator = self._live.compiled.authenticator
        found = authenticator.issuing_project(project)
        return Desk(authenticator, found, self._backend, self._clock())

    def reload(self) -> None:
        """
        Read the registry again now and use it from the next request on.

        The backend is not reopened: another `backend` takes effect at the next start.

        Raises:
            ConfigError: If the file is wrong; the last good registry stays in use.
        """
        self._live.reload()

    def close(self) -> None:
        """Stop watching and close the backend. Closing twice is harmless."""
        self._live.stop()
        self._threads.close()
        self._limiter.close()
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


def _unknown(*_: object, **__: object) -> None:
    return None


async def _aunknown(*_: object, **__: object) -> None:
    return None
