"""
rpcguard authenticates requests to RPC endpoints inside FastAPI, Flask and aiohttp applications.

Importing it loads no framework, no Redis client, no YAML and no CLI: a name loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rpcguard.contrib.flask import protect as protect
    from rpcguard.errors import AuthError as AuthError
    from rpcguard.errors import BackendError as BackendError
    from rpcguard.errors import ConfigError as ConfigError
    from rpcguard.errors import RpcGuardError as RpcGuardError
    from rpcguard.principal import Principal as Principal
    from rpcguard.request import Request as Request
    from rpcguard.verifier import Verifier as Verifier

__version__ = "0.1.0"

_HOMES = {
    "AuthError": "rpcguard.errors",
    "BackendError": "rpcguard.errors",
    "ConfigError": "rpcguard.errors",
    "Principal": "rpcguard.principal",
    "Request": "rpcguard.request",
    "RpcGuardError": "rpcguard.errors",
    "Verifier": "rpcguard.verifier",
    "protect": "rpcguard.contrib.flask",
}

__all__ = [
    "AuthError",
    "BackendError",
    "ConfigError",
    "Principal",
    "Request",
    "RpcGuardError",
    "Verifier",
]  # without `protect`, which needs Flask: `from rpcguard import *` must work without it


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rpcguard' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if name != "protect" or error.name not in ("flask", "werkzeug"):
            raise
        raise ImportError('rpcguard.protect needs Flask: pip install "rpcguard[flask]"') from None
    globals()[name] = value
    return value
