"""The Python API: what autodoc is asked for."""

from __future__ import annotations

# Module -> names, or "" for its `__all__`.
_MODULES = {
    "rpcguard": "Verifier Request Principal protect"
    " AuthError BackendError ConfigError RpcGuardError",
    "rpcguard.errors": "Problem",
    "rpcguard.contrib.fastapi": "",
    "rpcguard.contrib.flask": "RPCGuard current_principal",
    "rpcguard.contrib.aiohttp": "",
    "rpcguard.contrib.redaction": "",
    "rpcguard.audit": "JsonFormatter",
    "rpcguard.client": "",
    "rpcguard.client.signers": "ApiKeySigner BearerSigner OrderSigner WalletSigner",
    "rpcguard.client.httpx": "Auth",
    "rpcguard.client.httpx2": "Auth",
    "rpcguard.client.requests": "Auth",
    "rpcguard.client.aiohttp": "Auth",
    "rpcguard.client.web3": "HTTPProvider AsyncHTTPProvider",
    "rpcguard.client.websockets": "Auth connect",
    "rpcguard.testing": "",
    "rpcguard.backends.base": "Backend",
    "rpcguard.owed": "Owed Nonce Record Revocation Answer Verdict",
}


def python() -> str:
    """Return a section for each public module."""
    return "\n".join(_section(module, names) for module, names in _MODULES.items())


def _section(module: str, names: str) -> str:
    wanted = f"   :members: {', '.join(names.split())}" if names else "   :members:"
    lines = ["```{eval-rst}", f".. automodule:: {module}", wanted, "   :imported-members:", "```"]
    return "\n".join([f"## {module}", "", *lines, ""])
