"""`rpcguard explain`, from its input to the exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rpcguard.authenticator import Authenticator
from rpcguard.backends.open import open_backend
from rpcguard.cli.backend_check import absent
from rpcguard.cli.explain import captured, curl, shown
from rpcguard.cli.explain.captured import Captured, MalformedError
from rpcguard.cli.explain.verdict import Backends, Outcome, judge
from rpcguard.cli.opened import STDIN, RefusalError, answered, read_credential
from rpcguard.registry.compile import Compiled, load

LARGEST = 64 << 20  # bytes of a captured request


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What to explain, and how.

    Attributes:
        request_file: A captured request; "-" for standard input.
        token_file: A token in its place; likewise.
        target: Path and query of the request that carries the token.
        method: Its method.
        headers: Further headers of it.
        body_file: Its body; for a captured request, the body in place of its own.
        project: Name of the project, whatever the target says.
        client: Address of the caller, or None for the captured one.
        plain: The request came over plain HTTP.
        websocket: The request is a handshake.
        now: Unix seconds at which to judge; None for this moment.
        offline: Do not ask the backend.
    """

    request_file: str | None = None
    token_file: str | None = None
    target: str | None = None
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body_file: str | None = None
    project: str | None = None
    client: str | None = None
    plain: bool = False
    websocket: bool = False
    now: float | None = None
    offline: bool = False


def explain(file: Path, asked: Asked, *, as_json: bool) -> int:
    """
    Say what the registry *file* makes of a request and why; the exit code is 0 if it is accepted.

    Raises:
        OSError: If something cannot be read.
    """
    codes = []

    def work() -> dict[str, Any]:
        compiled = load(file, os.environ)
        request = _captured(asked, compiled.authenticator).request()
        clock = time.time()
        now = clock if asked.now is None else asked.now
        with _backends(compiled, file, clock, offline=asked.offline) as backends:
            outcome: Outcome = judge(compiled.authenticator, request, now, backends, asked.project)
        codes.append(0 if outcome.principal is not None else 1)
        return shown.document(outcome, request, now)

    return answered(file, work, shown.show, as_json=as_json) or codes[0]


def _captured(asked: Asked, authenticator: Authenticator) -> Captured:
    if asked.project is not None and asked.project not in authenticator.projects:
        raise RefusalError(f"no project {asked.project!r}")
    if asked.token_file is not None:
        found = _of_token(asked, authenticator)
    else:
        assert asked.request_file is not None
        try:
            found = _parsed(_read(asked.request_file))
        except MalformedError as error:
            raise RefusalError(f"the request cannot be read: {error}") from None
    if asked.body_file is not None:
        found = replace(found, body=_read(asked.body_file))
    if asked.client is not None:
        found = replace(found, client=asked.client)
    if asked.plain:
        found = replace(found, scheme="http")
    return replace(found, websocket=True) if asked.websocket else found


def _of_token(asked: Asked, authenticator: Authenticator) -> Captured:
    assert asked.token_file is not None
    token = read_credential(asked.token_file)
    target = asked.target
    if target is None:
        prefixes = authenticator.projects[asked.project].prefixes if asked.project else ()
        target = next(iter(sorted(prefixes)), "") or "/"
    headers = (("Authorization", f"Bearer {token}"), *asked.headers)
    body = b"" if asked.websocket else None
    return Captured("GET" if asked.websocket else asked.method, target, headers, body)


def _parsed(data: bytes) -> Captured:
    start = data.lstrip()
    if start.startswith((b"{", b"curl")):
        try:
            text = start.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("not UTF-8 text") from None
        return captured.of_json(text) if start.startswith(b"{") else curl.read(text)
    return captured.of_http(start)


def _read(source: str) -> bytes:
    if source == STDIN:
        data = sys.stdin.buffer.read(LARGEST + 1)
    else:
        with Path(source).open("rb") as file:
            data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise RefusalError(f"more than {LARGEST >> 20} MiB")
    return data


@contextmanager
def _backends(compiled: Compiled, file: Path, now: float, *, offline: bool) -> Iterator[Backends]:
    base = file.absolute().parent
    why = "offline" if offline else absent(compiled.backend, base)
    if why:
        yield Backends(None, now, why)
        return
    with closing(open_backend(compiled.backend, now=now, base=base)) as backend:
        yield Backends(backend, now)
