"""The registry that the attacks meet, and how they are sent to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from minting import CALL, NOW, SECRET, Headers, bearer, key_digest, public_pem

from rpcguard import AuthError, ConfigError, Principal, Request, Verifier

MEMORY = "memory://?restart_guard=off"
API_KEY = "an-api-key-of-more-than-32-characters"
SESSION = "a session secret of more than 32 bytes"
PUBLIC = ["RS256", "ES256", "EdDSA"]
RSA, EC, ED = "kid-rsa", "kid-ec", "kid-ed"
KIDS = dict(zip(PUBLIC, (RSA, EC, ED), strict=True))


def _keys(*algorithms: str) -> list[dict[str, Any]]:
    return [
        {"kid": KIDS[alg], "alg": alg, "public_key": public_pem(alg), "name": alg}
        for alg in algorithms
    ]


def projects() -> dict[str, dict[str, Any]]:
    """Return one project for each way to prove oneself, each at the path of its name."""
    made: dict[str, dict[str, Any]] = {
        "hs": {"preset": "meganode", "secrets": [{"id": "a", "secret": SECRET}]},
        "pub": {
            "preset": "bearer",
            "keys": [*_keys(*PUBLIC), {"kid": "kid-mac", "alg": "HS256", "secret": SECRET}],
            "session": {"secret": SESSION},
        },
        "atn": {
            "preset": "allthatnode",
            "audience_suffix": ".allthatnode.com",
            "keys": _keys("RS256", "ES256"),
        },
        "pay": {
            "preset": "oppiwallet",
            "keys": [{"auth_key": "merchant-1", "enc_key": SECRET}],
            "digest_fields": {"/pay/withdraw": ["currency", "amount", "orderId"]},
        },
        "engine": {
            "preset": "engine-api",
            "secrets": [{"id": "jwt", "secret": bytes(range(32)).hex()}],
        },
        "wallet": {"preset": "nodius", "wallets": "open", "session": {"secret": SESSION}},
        "v2": {
            "preset": "nodius",
            "wallets": "open",
            "min_version": 2,
            "api_key": {"min_version": 2},
        },
        "next": {"preset": "nodius-2026", "wallets": "open"},
        "key": {
            "preset": "meganode",
            "api_keys": [{"id": "ops", "digest": key_digest(API_KEY)}],
        },
        "methods": {
            "preset": "meganode",
            "secrets": [{"id": "a", "secret": SECRET}],
            "allow": {"methods": ["eth_call", "eth_get*"]},
        },
        "lan": {
            "preset": "meganode",
            "secrets": [{"id": "a", "secret": SECRET}],
            "allow": {"ips": ["10.0.0.0/8"]},
        },
        "sited": {
            "preset": "meganode",
            "secrets": [{"id": "a", "secret": SECRET}],
            "allow": {"origins": ["https://good.example", "https://*.app.example:8443"]},
        },
    }
    for name, project in made.items():
        project["match"] = {"path": f"/{name}"}
    return made


def registry(*names: str, backend: str = MEMORY, **more: Any) -> str:
    """Return the registry of the projects *names*, all by default, as YAML text."""
    found = projects()
    chosen = {name: found[name] for name in names or found}
    document = {"version": 1, "backend": backend, "projects": chosen, **more}
    return json.dumps(document)


class Site:
    """A verifier, and its clock, which a test may set."""

    def __init__(self, folder: Path, text: str, **options: Any) -> None:
        self.now = float(NOW)
        self.path = folder / "registry.yaml"
        self.path.write_text(text, encoding="utf-8")
        given: dict[str, Any] = {"clock": lambda: self.now, "environ": {}, "watch": False}
        self.verifier = Verifier.from_yaml(self.path, **given | options)

    def admits(
        self, target: str, headers: Headers | str = (), body: bytes | None = CALL, **facts: Any
    ) -> Principal:
        """Return who calls; text for the headers is a bearer token."""
        fields = bearer(headers) if isinstance(headers, str) else list(headers)
        method = facts.pop("method", "POST")
        narrowed = {name: facts.pop(name) for name in ("standing", "frames") if name in facts}
        return self.verifier.verify(Request(method, target, fields, body, **facts), **narrowed)

    def error(self, *request: Any, **facts: Any) -> AuthError:
        """Return why a request is refused; that it is let in is a failure."""
        with pytest.raises(AuthError) as caught:
            self.admits(*request, **facts)
        return caught.value

    def denies(self, *request: Any, **facts: Any) -> str:
        """Return the reason for which a request is refused."""
        return self.error(*request, **facts).reason

    def told(self, *request: Any, **facts: Any) -> str:
        """Return the reason of a refusal, "" where the request is let in."""
        try:
            self.admits(*request, **facts)
        except AuthError as error:
            return error.reason
        return ""

    def serve(self, route: str, body: Any, headers: Headers = (), project: str = "wallet") -> Any:
        """Return what a route that issues credentials answers."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.verifier.serve(route, Request("POST", route, list(headers), raw), project)

    def refuses(self, route: str, *args: Any, **facts: Any) -> AuthError:
        """Return why a route that issues refuses."""
        with pytest.raises(AuthError) as caught:
            self.serve(route, *args, **facts)
        return caught.value

    def reload(self, text: str) -> None:
        """Use another registry from now on."""
        self.path.write_text(text, encoding="utf-8")
        self.verifier.reload()


def problems(folder: Path, document: Mapping[str, Any] | str, **environ: str) -> str:
    """Return what is wrong with a registry that must not load."""
    path = folder / "registry.yaml"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Verifier.from_yaml(path, environ=environ, watch=False)
    return str(caught.value)


def project(name: str = "hs", **changes: Any) -> dict[str, Any]:
    """Return the registry of one project with *changes*; None takes a member away."""
    made = projects()[name] | changes
    kept = {key: value for key, value in made.items() if value is not None}
    return {"version": 1, "backend": MEMORY, "projects": {name: kept}}
