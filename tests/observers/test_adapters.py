"""Observers as an argument of the adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contrib.credentials import meganode
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from flask import Flask

from observers.calls import write_registry
from rpcguard import Verifier
from rpcguard.contrib.aiohttp import rpc_auth_middleware
from rpcguard.contrib.fastapi import RPCGuard as FastAPIGuard
from rpcguard.contrib.fastapi import require_rpc_auth
from rpcguard.contrib.flask import RPCGuard as FlaskGuard
from rpcguard.observer import Event, Judged, Loaded

ADAPTERS: dict[str, Callable[..., Any]] = {
    "fastapi": lambda *args, **more: FastAPIGuard(FastAPI(), *args, **more),
    "flask": lambda *args, **more: FlaskGuard(Flask(__name__), *args, **more),
    "flask, later": lambda *args, **more: FlaskGuard(None, *args, **more).init_app(Flask("app")),
    "aiohttp": rpc_auth_middleware,
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_gives_its_observers_to_the_verifier_that_it_opens(tmp_path, adapter):
    events: list[Event] = []
    guard = ADAPTERS[adapter](write_registry(tmp_path), observers=iter([events.append]))
    assert events == [Loaded(1, successful=True)]
    if guard is not None:
        guard.verifier.close()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_observers_for_a_verifier_that_has_its_own_are_refused(tmp_path, adapter):
    with Verifier.from_yaml(write_registry(tmp_path), watch=False) as verifier:
        ADAPTERS[adapter](verifier, observers=())
        with pytest.raises(ValueError, match="give the observers to the verifier"):
            ADAPTERS[adapter](verifier, observers=[print])


def test_an_application_that_is_started_twice_keeps_its_observers(tmp_path):
    events: list[Event] = []
    app = FastAPI()
    FastAPIGuard(app, write_registry(tmp_path), observers=[events.append])

    @app.post("/v1/", dependencies=[Depends(require_rpc_auth)])
    async def rpc() -> str:
        return "ok"

    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/v1/", headers=dict(meganode())).status_code == 200
    assert [event.reason for event in events if isinstance(event, Judged)] == [None, None]
    assert [event for event in events if isinstance(event, Loaded)] == [Loaded(1, True)] * 2
