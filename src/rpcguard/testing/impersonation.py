"""
`as_principal`: requests of a test are somebody's, without a credential.

What guards it: it is refused outside a running test; it ends with its block; only requests from
this machine are let in, all others meet the real guard; and a guard that is narrowed to schemes or
a project lets in nobody whom it would never have let in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, NoReturn

from rpcguard.errors import AuthError
from rpcguard.peer import parse_address
from rpcguard.principal import Principal

_RUNNERS = frozenset({"unittest.case", "unittest.async_case"})
_FRAMEWORKS = ("fastapi", "flask", "aiohttp")


@contextmanager
def as_principal(app: Any, principal: Principal) -> Iterator[None]:
    """
    Let every request to *app* from this machine be *principal*'s, until the block ends.

    It counts for WebSockets and mounted applications too. Handlers get the principal where they
    always do. A route that is open stays open; the body is not read by the guard.

    Args:
        app: A FastAPI, Flask or aiohttp application that rpcguard guards.
        principal: Whom its requests come from.

    Raises:
        RuntimeError: Outside a running test of pytest or unittest, or if *app* is not guarded.
        TypeError: If *app* is no such application, or *principal* no `Principal`.
    """
    if not _in_a_test():
        raise RuntimeError("as_principal works inside a running test of pytest or unittest alone")
    if not isinstance(principal, Principal):
        raise TypeError("principal must be a rpcguard.Principal")
    with _override(app)(app, principal):
        yield


def _in_a_test() -> bool:
    if "PYTEST_CURRENT_TEST" in os.environ:
        return True
    frame = sys._getframe()  # noqa: SLF001 - unittest leaves no other trace of a running test
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") in _RUNNERS:
            return True
    return False


def _override(app: Any) -> Callable[[Any, Principal], AbstractContextManager[None]]:
    for kind in type(app).__mro__:
        framework = kind.__module__.partition(".")[0]
        if framework in _FRAMEWORKS and kind.__name__ in ("FastAPI", "Flask", "Application"):
            module = import_module(f"rpcguard.testing._{framework}")
            override: Callable[[Any, Principal], AbstractContextManager[None]] = module.override
            return override
    raise TypeError("app must be a FastAPI, Flask or aiohttp application")


def is_local(peer: str | None) -> bool:
    """
    Return whether a request comes from this machine.

    Args:
        peer: Address of the socket's peer; "testclient" is what Starlette's client says.
    """
    if peer in (None, "unix", "testclient"):
        return True
    address = parse_address(str(peer))
    return address is not None and address.is_loopback


def check(principal: Principal, schemes: Collection[str] | None, project: str | None) -> None:
    """
    Refuse *principal* where a guard narrowed to *schemes* and *project* could not have let it in.

    Raises:
        AuthError: `missing_credentials`.
    """
    if schemes is not None and principal.scheme not in schemes:
        raise AuthError("missing_credentials", detail="as_principal: another scheme")
    if project is not None and principal.project != project:
        raise AuthError("missing_credentials", detail="as_principal: another project")


def not_guarded() -> NoReturn:
    """
    Refuse an application that would let everybody in anyway.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError("this application is not guarded by rpcguard: there is nothing to pass")
