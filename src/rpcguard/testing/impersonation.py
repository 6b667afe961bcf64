"""
`as_principal`: requests of a test are somebody's, without a credential.

What guards it: it is refused outside a running test; it ends with its block; only requests from
this machine are let in, all others meet the real guard; and a guard that is narrowed to schemes or
a project lets in nobody whom it would never have let in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

from rpcguard.principal import Principal

if TYPE_CHECKING:  # it loads the adapters' machinery, which a registry builder does without
    from rpcguard.contrib._http import Source

_PYTEST = frozenset({"_pytest.runner"})
_UNITTEST = frozenset({"unittest.case", "unittest.async_case"})
_FRAMEWORKS = {"fastapi": "FastAPI", "flask": "Flask", "aiohttp": "Application"}


@contextmanager
def as_principal(app: Any, principal: Principal) -> Iterator[None]:
    """
    Let every request to *app* from this machine be *principal*'s, until the block ends.

    It counts for WebSockets, their messages and mounted applications too. Handlers get the
    principal where they always do. A route that is open stays open; the body is not read by the
    guard, and nothing is counted.

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
    found = list(_sources_of(app)(app))
    if not found:
        raise RuntimeError("this application is not guarded by rpcguard: there is nothing to pass")
    with import_module("rpcguard.testing._stand_in").standing_in(found, principal):
        yield


def _in_a_test() -> bool:
    # The variable is inherited by what a test starts, and anybody can set it: pytest must run here
    if "PYTEST_CURRENT_TEST" in os.environ:
        stacks = sys._current_frames().values()  # noqa: SLF001 - a test may use threads
        if any(_runs(stack, _PYTEST) for stack in stacks):
            return True
    return _runs(sys._getframe(), _UNITTEST)  # noqa: SLF001 - it leaves no other trace


def _runs(frame: FrameType | None, modules: frozenset[str]) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in modules:
            return True
        frame = frame.f_back
    return False


def _sources_of(app: Any) -> Callable[[Any], Iterator[Source]]:
    for kind in type(app).__mro__:
        framework = kind.__module__.partition(".")[0]
        if _FRAMEWORKS.get(framework) == kind.__name__:
            module = import_module(f"rpcguard.testing._{framework}")
            sources: Callable[[Any], Iterator[Source]] = module.sources
            return sources
    raise TypeError("app must be a FastAPI, Flask or aiohttp application")
