"""`as_principal` for Flask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from rpcguard.contrib._http import Source
from rpcguard.contrib.flask import _EXTENSION
from rpcguard.principal import Principal
from rpcguard.testing._stand_in import StandIn
from rpcguard.testing.impersonation import not_guarded


@contextmanager
def override(app: Flask, principal: Principal) -> Iterator[None]:
    """See `as_principal`."""
    real: Source | None = app.extensions.get(_EXTENSION)
    if real is None:
        not_guarded()
    app.extensions[_EXTENSION] = Source(StandIn(real.verifier, principal), real.recheck)
    try:
        yield
    finally:
        app.extensions[_EXTENSION] = real
