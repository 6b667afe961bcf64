"""A test may be anybody, in each framework; a production application may not be opened."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Annotated

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient as AioClient
from aiohttp.test_utils import TestServer as AioServer
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from flask import Flask
from starlette.websockets import WebSocketDisconnect

import rpcguard
from rpcguard import AuthError, Principal, Request
from rpcguard.contrib.aiohttp import principal_of, rpc_auth_middleware
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth
from rpcguard.contrib.flask import RPCGuard as FlaskGuard
from rpcguard.contrib.flask import current_principal
from rpcguard.testing import as_principal

ALICE = Principal("alice", "p", "jwt", name="Alice")
BOB = Principal("bob", "q", "signature")
Caller = Annotated[Principal, Depends(require_rpc_auth)]
Signed = Annotated[Principal, Depends(require_rpc_auth(schemes=["signature"], project="q"))]


@pytest.fixture
def verifier(rpcguard_registry, rpcguard_clock):
    rpcguard_registry.project("p", match={"path": "/"})
    rpcguard_registry.project("q", "nodius", match={"path": "/q"})
    return rpcguard_registry.verifier(rpcguard_clock)


def fastapi_app(verifier):
    app, mounted = FastAPI(), FastAPI()
    RPCGuard(app, verifier)
    for each in (app, mounted):

        @each.get("/")
        async def index(who: Caller) -> str:
            return who.subject

        @each.get("/signed")
        async def signed_only(who: Signed) -> str:
            return who.subject

        @each.websocket("/ws")
        async def ws(websocket: WebSocket, who: Caller) -> None:
            await websocket.accept()
            await websocket.send_text(f"{who.subject} {websocket.state.principal.name}")

    app.mount("/mnt", mounted)
    return app


def flask_app(verifier):
    app = Flask(__name__)
    FlaskGuard(app, verifier)

    @app.get("/")
    @rpcguard.protect
    def index() -> str:
        return current_principal.subject

    @app.get("/signed")
    @rpcguard.protect(schemes=["signature"], project="q")
    def signed_only() -> str:
        return current_principal.subject

    return app


def aiohttp_app(verifier):
    async def index(request: web.Request) -> web.Response:
        return web.Response(text=principal_of(request).subject)

    app = web.Application(middlewares=[rpc_auth_middleware(verifier)])
    inner = web.Application(
        middlewares=[rpc_auth_middleware(verifier, schemes=["signature"], project="q")]
    )
    app.router.add_get("/", index)
    inner.router.add_get("", index)
    app.add_subapp("/signed", inner)
    return app


def get_fastapi(app, path, headers=None):
    response = TestClient(app).get(path, headers=headers)
    return response.json() if response.status_code == 200 else response.status_code


def get_flask(app, path, headers=None):
    response = app.test_client().get(path, headers=headers)
    return response.text if response.status_code == 200 else response.status_code


def get_aiohttp(app, path, headers=None):
    async def get():
        async with AioClient(AioServer(app)) as client:
            response = await client.get(path, headers={"Host": "testserver", **(headers or {})})
            return await response.text() if response.status == 200 else response.status

    return asyncio.run(get())


APPS = {
    "fastapi": (fastapi_app, get_fastapi),
    "flask": (flask_app, get_flask),
    "aiohttp": (aiohttp_app, get_aiohttp),
}


@pytest.fixture(params=APPS)
def site(request, verifier):
    """An application and a function that asks it; aiohttp's is made anew for each event loop."""
    make, get = APPS[request.param]
    app = make(verifier)

    def ask(path, principal=None):
        fresh = make(verifier) if request.param == "aiohttp" else app
        with as_principal(fresh, principal) if principal else nullcontext():
            return get(fresh, path)

    return ask


@pytest.fixture(params=APPS)
def site_of_any(request):
    """What makes an application of a verifier, and gives what asks it as somebody."""
    make, get = APPS[request.param]

    def site(verifier):
        def ask(principal, headers):
            app = make(verifier)
            with as_principal(app, principal) if principal else nullcontext():
                return get(app, "/", headers)

        return ask

    return site


@pytest.fixture(params=["fastapi", "flask"])
def site_of(request, verifier):
    """An application and what asks it."""
    make, get = APPS[request.param]
    return make(verifier), get


def test_requests_are_the_principals_until_the_block_ends(site):
    assert site("/") == 401
    assert site("/", ALICE) == "alice"
    assert site("/", BOB) == "bob"
    assert site("/") == 401


def test_a_narrowed_guard_lets_in_only_whom_it_could(site):
    assert site("/signed", ALICE) == 401
    assert site("/signed", Principal("carol", "q", "jwt")) == 401
    assert site("/signed", Principal("carol", "p", "signature")) == 401
    assert site("/signed") == 401


def test_a_narrowed_guard_lets_in_whom_it_would(site):
    assert site("/signed", BOB) == "bob"


def test_websockets_and_mounted_applications_are_covered(verifier):
    app = fastapi_app(verifier)
    client = TestClient(app)
    for path in ("/ws", "/mnt/ws"):
        with as_principal(app, ALICE), client.websocket_connect(path) as socket:
            assert socket.receive_text() == "alice Alice"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass
    with as_principal(app, ALICE):
        assert get_fastapi(app, "/mnt/") == "alice"


def test_it_holds_over_several_starts_of_the_application(tmp_path, rpcguard_registry):
    rpcguard_registry.project("p")
    app = fastapi_app(rpcguard_registry.write(tmp_path))
    with as_principal(app, ALICE):
        for _ in range(2):
            with TestClient(app) as client:
                assert client.get("/").json() == "alice"
    with TestClient(app) as client:
        assert client.get("/").status_code == 401


def test_a_token_that_the_application_knows_is_the_principals_too(
    rpcguard_registry, rpcguard_clock, site_of_any
):
    ready = rpcguard_registry.project("p", match={"path": "/"})
    rpcguard_registry.project("q", "nodius", match={"path": "/q"})
    ask = site_of_any(rpcguard_registry.verifier(rpcguard_clock))
    headers = ready.headers("GET", "/", now=rpcguard_clock())
    real = ask(None, headers)
    assert real not in (401, "alice")
    assert ask(None, headers) == real
    assert ask(ALICE, headers) == "alice"
    assert ask(None, headers) == real


def test_blocks_nest_and_an_error_ends_them(site_of):
    app, get = site_of
    with pytest.raises(KeyError), as_principal(app, ALICE):
        with as_principal(app, Principal("carol", "p", "jwt")):
            assert get(app, "/") == "carol"
        assert get(app, "/") == "alice"
        raise KeyError
    assert get(app, "/") == 401


def test_an_override_of_the_tests_own_comes_first(verifier):
    app = fastapi_app(verifier)
    app.dependency_overrides[require_rpc_auth] = lambda: BOB
    with as_principal(app, ALICE):
        assert get_fastapi(app, "/") == "bob"


def test_messages_are_the_principals_too_and_a_socket_does_not_outlive_the_block(verifier):
    app = fastapi_app(verifier)
    guard = next(m.kwargs["source"] for m in app.user_middleware if "source" in m.kwargs)
    with as_principal(app, ALICE):
        stand_in = guard.verifier
        stand_in.check_message(ALICE, "anything")
        asyncio.run(stand_in.acheck_message(ALICE, "anything"))
        with pytest.raises(AuthError):
            stand_in.check_message(BOB, "anything")
        handshake = Request("GET", "/ws", [], b"", client="127.0.0.1", websocket=True)
        assert stand_in.verify(handshake, standing=True) == ALICE
    with pytest.raises(AuthError, match="missing_credentials"):
        stand_in.verify(handshake, standing=True)
    with pytest.raises(AuthError):
        stand_in.check_message(ALICE, "anything")
    assert guard.verifier is verifier


def test_a_request_from_elsewhere_meets_the_real_guard(verifier):
    app = fastapi_app(verifier)
    with as_principal(app, ALICE):
        assert TestClient(app, client=("203.0.113.7", 5000)).get("/").status_code == 401
        assert TestClient(app, client=("127.0.0.1", 5000)).get("/").json() == "alice"
    flask = flask_app(verifier)
    with as_principal(flask, ALICE):
        elsewhere = {"REMOTE_ADDR": "203.0.113.7"}
        assert flask.test_client().get("/", environ_base=elsewhere).status_code == 401
        assert flask.test_client().get("/").text == "alice"


def test_issuing_is_as_ever(verifier):
    app = flask_app(verifier)
    with as_principal(app, ALICE):
        inside = app.extensions["rpcguard"].verifier
        assert inside.registry is verifier.registry
        assert inside.issue("q", "someone")["token"]


@pytest.mark.parametrize("make", [FastAPI, lambda: Flask(__name__), web.Application])
def test_an_application_without_a_guard_is_refused(make):
    with pytest.raises(RuntimeError, match="not guarded"), as_principal(make(), ALICE):
        pass


def test_anything_else_is_refused(verifier):
    with pytest.raises(TypeError, match="FastAPI, Flask or aiohttp"), as_principal(object(), ALICE):
        pass
    with pytest.raises(TypeError, match="Principal"), as_principal(flask_app(verifier), "alice"):
        pass


OUTSIDE = """
from flask import Flask
from rpcguard import Principal
from rpcguard.testing import as_principal
import unittest, unittest.mock, pytest

def attempt():
    with as_principal(Flask("x"), Principal("a", "p", "jwt")):
        pass

class Inside(unittest.TestCase):
    def test(self):
        with self.assertRaisesRegex(RuntimeError, "not guarded"):
            attempt()

class InsideAsync(unittest.IsolatedAsyncioTestCase):
    async def test(self):
        with self.assertRaisesRegex(RuntimeError, "not guarded"):
            attempt()

try:
    attempt()
except RuntimeError as error:
    print(error)
unittest.main(argv=["x"])
"""


@pytest.mark.parametrize("variable", [{}, {"PYTEST_CURRENT_TEST": "left behind"}])
def test_outside_a_running_test_it_is_refused(tmp_path, variable):
    """As an import of pytest or unittest alone is no test, nor a variable; unittest's own are."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environ |= variable
    file = tmp_path / "production.py"
    file.write_text(OUTSIDE)
    told = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, env=environ, check=False
    )
    assert told.stdout == "as_principal works inside a running test of pytest or unittest alone\n"
    assert told.returncode == 0, told.stderr
    assert "Ran 2 tests" in told.stderr


def test_a_test_may_use_it_in_a_thread(verifier):
    def attempt():
        with as_principal(flask_app(verifier), ALICE):
            return True

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(attempt).result()


def test_the_plugin_is_loaded_only_when_asked_for(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "def test_it(rpcguard_registry, rpcguard_clock):\n"
        "    ready = rpcguard_registry.project('p')\n"
        "    assert ready.headers('POST', '/', now=rpcguard_clock())\n"
    )

    def run(*options):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "fixture 'rpcguard_registry' not found" in run().stdout
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["rpcguard.testing.pytest"]\n')
    assert "1 passed" in run().stdout
