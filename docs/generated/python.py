"""The Python API: what autodoc is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pkgutil import iter_modules

import rpcguard.contrib

# Names of a module, where they are not all that it defines or its `__all__`.
_NAMES = {
    "rpcguard": "Verifier Request Principal protect"
    " AuthError BackendError ConfigError RpcGuardError",
    "rpcguard.audit": "JsonFormatter",
    "rpcguard.backends.base": "Backend",
    "rpcguard.client.aiohttp": "Auth",
    "rpcguard.client.httpx": "Auth",
    "rpcguard.client.httpx2": "Auth",
    "rpcguard.client.requests": "Auth",
    "rpcguard.client.signers": "ApiKeySigner BearerSigner OrderSigner WalletSigner",
    "rpcguard.client.web3": "HTTPProvider AsyncHTTPProvider",
    "rpcguard.client.websockets": "Auth connect",
    "rpcguard.contrib.flask": "RPCGuard",  # `protect` is in `rpcguard`
    "rpcguard.errors": "Problem",
    "rpcguard.observer": "Observer Judged Consulted LookedUp Loaded",
    "rpcguard.observers.otel": "observer",
    "rpcguard.observers.prometheus": "observer",
    "rpcguard.owed": "Owed Nonce Record Revocation Answer Verdict",
}
# What autodoc cannot look at: a proxy that stands for nothing outside of a request.
_PROXIES = {
    "rpcguard.contrib.flask": """
.. py:data:: current_principal
   :type: Principal

   The caller of the request that is being handled; `RuntimeError` where `protect` let none in.
"""
}
_OF_OTHERS = ("rpcguard", "rpcguard.client", "rpcguard.testing")  # these define nothing themselves


def python() -> str:
    """Return a section for each public module."""
    return "\n".join(map(_section, _modules()))


def _modules() -> Iterator[str]:
    """Yield the public modules, those of users first."""
    yield from ("rpcguard", "rpcguard.errors")
    for found in iter_modules(rpcguard.contrib.__path__, "rpcguard.contrib."):
        if not found.name.startswith("rpcguard.contrib._"):
            yield found.name
    yield "rpcguard.audit"
    yield from sorted(name for name in _NAMES if name.startswith("rpcguard.observer"))
    yield from ("rpcguard.client", *sorted(name for name in _NAMES if ".client." in name))
    yield from ("rpcguard.testing", "rpcguard.backends.base", "rpcguard.owed")


def _section(module: str) -> str:
    lines = ["```{eval-rst}", f".. automodule:: {module}"]
    lines.append(f"   :members: {', '.join(_NAMES.get(module, '').split())}".rstrip())
    if module in _OF_OTHERS:
        lines.append("   :imported-members:")
    lines += _PROXIES.get(module, "").splitlines()
    return "\n".join([f"## {module}", "", *lines, "```", ""])
