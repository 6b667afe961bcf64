"""Where Flask applications keep what `as_principal` stands in for."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

from rpcguard.contrib._http import Source
from rpcguard.contrib.flask import _EXTENSION


def sources(app: Flask) -> Iterator[Source]:
    """Yield the source of *app*."""
    if _EXTENSION in app.extensions:
        yield app.extensions[_EXTENSION]
