"""What is Flask's own: set-up, views of every kind, bodies touched first, what WSGI servers say."""

from __future__ import annotations

import gc
import io
import socket
import ssl
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, request
from flask.views import MethodView
from flask_sock import Sock
from werkzeug.exceptions import ClientDisconnected
from werkzeug.routing import Rule
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

import rpcguard
from contrib import credentials as cred
from contrib import wire
from contrib.flask_routes import AsyncFlask
from contrib.servers import wsgi
from contrib.wire import Headers, websocket
from rpcguard import AuthError, ConfigError, Verifier
from rpcguard.contrib._flask_body import read_body
from rpcguard.contrib._wsgi import request_of
from rpcguard.contrib.flask import RPCGuard, current_principal


@pytest.fixture(scope="module")
def verifier(registry: Path) -> Iterator[Verifier]:
    with Verifier.from_yaml(registry, watch=False) as opened:
        yield opened


@pytest.fixture
def app(verifier: Verifier) -> Flask:
    app = AsyncFlask(__name__)
    app.testing = True
    RPCGuard(app, verifier)
    return app


def _add_echo(app: Flask) -> None:
    @app.post("/<path:path>")
    @rpcguard.protect
    def echo(path: str) -> bytes:
        return current_principal.project.encode() + b" " + request.get_data()


def _post(
    app: Flask, path: str, headers: Headers, body: bytes = b"", **options: Any
) -> TestResponse:
    return app.test_client().post(path, headers=headers, data=body, **options)


def _reason(response: TestResponse) -> str:
    assert response.json is not None
    reason: str = response.json["error"]["data"]["reason"]
    return reason


class TestSetUp:
    def test_a_factory_may_set_it_up_later(self, registry: Path) -> None:
        guard = RPCGuard()
        app = Flask(__name__)
        app.config["RPCGUARD_REGISTRY"] = str(registry)
        guard.init_app(app)
        _add_echo(app)
        assert "rpcguard" in app.extensions
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").data == b"solana x"
        with app.app_context():
            assert guard.verifier is app.extensions["rpcguard"].verifier

    def test_one_object_may_serve_two_applications(self, registry: Path) -> None:
        guard = RPCGuard(registry=registry)
        apps = [Flask(__name__), Flask(__name__)]
        for app in apps:
            guard.init_app(app)
            _add_echo(app)
        headers = cred.nodius(b"x")
        assert [_post(app, "/solana", headers, b"x").status_code for app in apps] == [200, 200]
        with apps[0].app_context():
            first = guard.verifier
        assert guard.verifier is not first

    def test_the_environment_is_the_last_resort(
        self, registry: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RPCGUARD_REGISTRY", str(registry))
        assert "bsc" in RPCGuard(Flask(__name__)).verifier.registry.projects
        monkeypatch.delenv("RPCGUARD_REGISTRY")
        with pytest.raises(ConfigError):
            RPCGuard(Flask(__name__))

    def test_a_verifier_may_stand_in_the_config(self, verifier: Verifier) -> None:
        app = Flask(__name__)
        app.config["RPCGUARD_REGISTRY"] = verifier
        assert RPCGuard(app).verifier is verifier

    def test_it_keeps_no_application_alive(self, registry: Path) -> None:
        app = Flask(__name__)
        guard = RPCGuard(app, registry)
        gone = weakref.ref(app)
        del app
        gc.collect()
        assert gone() is None
        assert guard.verifier is not None

    def test_a_view_of_an_application_without_it_says_so_and_does_not_run(self) -> None:
        app = Flask(__name__)
        app.testing = True
        _add_echo(app)
        with pytest.raises(RuntimeError, match="needs RPCGuard"):
            _post(app, "/v1/", cred.meganode())

    def test_an_extension_that_was_never_set_up_says_so(self) -> None:
        with pytest.raises(RuntimeError, match="needs RPCGuard"):
            _ = RPCGuard().verifier


class TestViews:
    def test_a_view_may_be_async(self, app: Flask) -> None:
        @app.post("/solana")
        @rpcguard.protect
        async def view() -> str:
            return current_principal.project

        assert _post(app, "/solana", cred.nodius()).data == b"solana"
        assert _reason(_post(app, "/solana", [])) == "missing_credentials"

    def test_a_view_may_be_a_class(self, app: Flask) -> None:
        class View(MethodView):
            decorators: ClassVar[list[Any]] = [rpcguard.protect(schemes=["jwt"])]

            def post(self) -> str:
                return current_principal.scheme

        app.add_url_rule("/v1/", view_func=View.as_view("view"))
        assert _post(app, "/v1/", cred.meganode()).data == b"jwt"
        assert _post(app, "/v1/", []).status_code == 401

    def test_a_blueprint_may_be_guarded_as_a_whole(self, app: Flask) -> None:
        blueprint = Blueprint("b", __name__)

        @blueprint.before_request
        @rpcguard.protect
        def guard() -> None:
            """Let the request go on."""

        @blueprint.post("/solana")
        @rpcguard.protect(schemes=["signature"])
        def view() -> str:
            return current_principal.project

        app.register_blueprint(blueprint)
        assert _post(app, "/solana", cred.nodius(b"x"), b"x").data == b"solana"
        assert _post(app, "/solana", []).status_code == 401

    def test_a_narrowing_takes_only_its_kinds_and_its_project(self, app: Flask) -> None:
        @app.post("/v1/")
        @rpcguard.protect(schemes=["signature"], project="solana")
        def view() -> str:
            return current_principal.project

        assert _reason(_post(app, "/v1/", cred.meganode())) == "missing_credentials"
        assert _post(app, "/v1/", cred.nodius(b"x"), b"x").data == b"solana"

    def test_a_misspelt_narrowing_fails_at_once(self) -> None:
        with pytest.raises(ValueError, match="schemes must be"):
            rpcguard.protect(schemes=["wallet"])

    def test_the_view_keeps_its_name(self) -> None:
        @rpcguard.protect
        def view() -> None:
            """Do nothing."""

        assert (view.__name__, view.__doc__) == ("view", "Do nothing.")

    def test_outside_a_guarded_view_there_is_no_principal(self, app: Flask) -> None:
        app.get("/open")(lambda: current_principal.subject)
        with pytest.raises(RuntimeError, match="protect has let in"):
            app.test_client().get("/open")
        with pytest.raises(RuntimeError):
            _ = current_principal.subject

    def test_a_refusal_that_the_application_raises_itself_is_answered(self, app: Flask) -> None:
        @app.get("/x")
        def view() -> str:
            raise AuthError("forbidden_method")

        assert _reason(app.test_client().get("/x")) == "forbidden_method"

    def test_another_extensions_error_handler_changes_no_refusal(self, app: Flask) -> None:
        _add_echo(app)
        app.register_error_handler(Exception, lambda _: ("hidden", 500))
        app.register_error_handler(401, lambda _: ("hidden", 500))
        assert _reason(_post(app, "/v1/", [])) == "missing_credentials"


class TestBody:
    def test_a_body_cached_before_is_the_one_that_counts(self, app: Flask) -> None:
        app.before_request(lambda: request.get_data() and None)
        _add_echo(app)
        assert _post(app, "/solana", cred.nodius(b"xy"), b"xy").data == b"solana xy"
        assert _reason(_post(app, "/solana", cred.nodius(b""), b"xy")) == "invalid_credentials"

    def test_a_body_cached_before_is_bounded_too(self, app: Flask) -> None:
        app.before_request(lambda: request.get_data() and None)
        _add_echo(app)
        body = bytes(cred.MAX_BODY + 1)
        assert _reason(_post(app, "/solana", cred.nodius(body), body)) == "body_too_large"

    @pytest.mark.parametrize("how", ["form", "stream"])
    def test_a_body_consumed_before_is_never_taken_for_an_empty_one(
        self, app: Flask, how: str
    ) -> None:
        app.before_request(
            lambda: (request.form if how == "form" else request.stream.read()) and None
        )
        _add_echo(app)
        form = "application/x-www-form-urlencoded"
        with pytest.raises(RuntimeError, match="consumed"):
            _post(app, "/solana", cred.nodius(b""), b"a=b", content_type=form)

    def test_forms_and_files_can_be_parsed_afterwards(self, app: Flask) -> None:
        @app.post("/solana")
        @rpcguard.protect
        def view() -> str:
            return request.form["a"] + request.files["f"].read().decode()

        builder = EnvironBuilder(method="POST", data={"a": "1", "f": (io.BytesIO(b"23"), "f.txt")})
        environ = builder.get_environ()
        body, kind = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]
        response = _post(app, "/solana", cred.nodius(body), body, content_type=kind)
        assert response.data == b"123"

    def test_flasks_own_limit_does_not_bound_the_guard(self, app: Flask) -> None:
        app.config["MAX_CONTENT_LENGTH"] = 10

        @app.post("/solana")
        @rpcguard.protect
        def view() -> str:
            return current_principal.project

        body = bytes(1000)
        assert _post(app, "/solana", cred.nodius(body), body).data == b"solana"

    def test_a_body_shorter_than_declared_is_no_verdict(self, app: Flask) -> None:
        _add_echo(app)
        environ = EnvironBuilder("/solana", method="POST", headers=cred.nodius(b"x")).get_environ()
        environ.update({"wsgi.input": io.BytesIO(b"x"), "CONTENT_LENGTH": "2"})
        assert run_wsgi_app(app, environ)[1].startswith("400")
        environ["wsgi.input_terminated"] = True
        environ["wsgi.input"] = io.BytesIO(b"x")
        with app.request_context(environ), pytest.raises(ClientDisconnected):
            read_body(100)

    def test_a_body_is_read_once(self, app: Flask) -> None:
        with app.test_request_context("/solana", method="POST", data=b"xy"):
            assert read_body(100) == b"xy"
            assert read_body(100) == b"xy"
            with pytest.raises(AuthError, match="body_too_large"):
                read_body(1)


class TestEnviron:
    def _call(self, app: Flask, environ: dict[str, Any]) -> tuple[str, bytes]:
        chunks, status, _ = run_wsgi_app(app, environ)
        return status, b"".join(chunks)

    def _environ(self, path: str, headers: Headers, **changes: Any) -> dict[str, Any]:
        environ = EnvironBuilder(method="POST", headers=headers, data=b"x").get_environ()
        environ.update({"PATH_INFO": path, "RAW_URI": path, "REQUEST_URI": path, **changes})
        return {name: value for name, value in environ.items() if value is not ...}

    @pytest.mark.parametrize("names", [("RAW_URI",), ("RAW_URI", "REQUEST_URI")])
    def test_the_raw_target_has_three_sources(self, app: Flask, names: tuple[str, ...]) -> None:
        _add_echo(app)
        missing: dict[str, Any] = dict.fromkeys(names, ...)
        environ = self._environ("/solana/x", cred.nodius(b"x", target="/solana/x"), **missing)
        assert self._call(app, environ)[1] == b"solana x"

    @pytest.mark.parametrize("path", ["/solana/a b", "/solana/a:b", "/solana/a%b"])
    def test_without_a_raw_target_a_path_with_two_spellings_is_refused(
        self, app: Flask, path: str
    ) -> None:
        _add_echo(app)
        environ = self._environ(path, cred.nodius(b"x"), RAW_URI=..., REQUEST_URI=...)
        status, body = self._call(app, environ)
        assert status.startswith("400")
        assert b"invalid_target" in body

    def test_a_rewritten_path_lets_nobody_in(self, app: Flask) -> None:
        _add_echo(app)
        environ = self._environ("/v1/", cred.meganode(), RAW_URI="/evm", REQUEST_URI="/evm")
        assert b"invalid_target" in self._call(app, environ)[1]

    @pytest.mark.parametrize("raw", ["/api/solana", "/solana"])
    def test_the_servers_prefix_counts_where_it_is_in_the_target(
        self, app: Flask, raw: str
    ) -> None:
        _add_echo(app)
        headers = cred.nodius(b"x", target=raw)
        environ = self._environ("/solana", headers, SCRIPT_NAME="/api", RAW_URI=raw)
        assert self._call(app, environ)[1] == b"solana x"

    def test_without_a_raw_target_the_servers_prefix_counts(self, app: Flask) -> None:
        _add_echo(app)
        headers = cred.nodius(b"x", target="/api/solana")
        environ = self._environ(
            "/solana", headers, SCRIPT_NAME="/api", RAW_URI=..., REQUEST_URI=...
        )
        assert self._call(app, environ)[1] == b"solana x"

    @pytest.mark.parametrize(
        ("address", "expected"),
        [("10.0.0.1", "10.0.0.1"), ("", "unix"), ("<local>", "unix"), (..., None)],
    )
    def test_the_peer_is_the_sockets(self, app: Flask, address: Any, expected: str | None) -> None:
        environ = self._environ("/x", [("X-Forwarded-For", "8.8.8.8")], REMOTE_ADDR=address)
        with app.request_context(environ):
            assert request_of(environ, websocket=False).client == expected

    @pytest.mark.parametrize(("socket", "scheme"), [(ssl.SSLSocket, "https"), (socket, "http")])
    def test_gunicorns_scheme_is_the_sockets(self, app: Flask, socket: Any, scheme: str) -> None:
        changes = {"gunicorn.socket": socket, "wsgi.url_scheme": "https"}
        with app.request_context(self._environ("/x", [], **changes)):
            assert request_of(request.environ, websocket=False).scheme == scheme

    def test_headers_are_marked_as_joined(self, app: Flask) -> None:
        environ = self._environ("/x", [("X-Nonce", "a"), ("X-Nonce", "b")])
        with app.request_context(environ):
            found = request_of(environ, websocket=False)
        assert found.joined
        assert ("X-NONCE", "a,b") in found.headers or ("X-NONCE", "a, b") in found.headers


def test_a_websocket_that_was_accepted_too_early_is_closed_unseen(verifier: Verifier) -> None:
    app = Flask(__name__)
    RPCGuard(app, verifier)
    sock = Sock(app)

    @rpcguard.protect
    def handler(websocket: Any) -> None:
        websocket.send(current_principal.project)

    @sock.route("/ws/v1/")  # hides the guard
    def hiding(websocket: Any) -> None:
        handler(websocket)

    with wsgi(app) as port:
        with websocket(port, "/ws/v1/") as (socket, answer):
            assert answer.status == 101
            assert socket.receive() == 1008
        with websocket(port, "/ws/v1/", cred.meganode()) as (socket, answer):
            assert socket.receive() == "bsc"


def test_a_guarded_function_that_returns_does_not_end_the_watch(verifier: Verifier) -> None:
    app = Flask(__name__)
    RPCGuard(app, verifier, recheck=0.1)
    handler = rpcguard.protect(lambda websocket: websocket.send(current_principal.project))

    @Sock(app).route("/ws/v1/")
    def view(websocket: Any) -> None:
        while websocket.receive():
            handler(websocket)

    headers = cred.meganode(jti="watched")
    with wsgi(app) as port, websocket(port, "/ws/v1/", headers) as (socket, _):
        for _ in range(2):
            socket.send("who")
            assert socket.receive() == "bsc"
        verifier.revoke("bsc", token=headers[0][1].removeprefix("Bearer "))
        assert socket.receive() == 1008


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_handshake_headers_do_not_hide_a_body_from_the_policy(
    verifier: Verifier, method: str
) -> None:
    app = Flask(__name__)
    RPCGuard(app, verifier)
    app.route("/limited", methods=[method])(rpcguard.protect(lambda: "in"))
    body = b'{"jsonrpc":"2.0","id":7,"method":"eth_send"}'
    with wsgi(app) as port:
        answer = wire.request(port, method, "/limited", [*cred.meganode(), *wire.HANDSHAKE], body)
        assert answer.status == 400  # werkzeug: a handshake on a route for plain requests
        answer = wire.request(port, method, "/limited", cred.meganode(), body)
        assert answer.reason == "forbidden_method"


def test_a_guarded_function_that_a_view_calls_does_not_end_the_watch_of_its_websocket(
    verifier: Verifier,
) -> None:
    app = Flask(__name__)
    RPCGuard(app, verifier, recheck=0.05)
    sock = Sock(app)

    @rpcguard.protect
    def helper() -> str:
        return current_principal.subject

    @sock.route("/ws/v1/")
    @rpcguard.protect
    def ws(websocket: Any) -> None:
        websocket.send(helper())
        websocket.receive()

    headers = cred.meganode(sub="who leaves")
    with wsgi(app) as port, websocket(port, "/ws/v1/", headers) as (socket, _):
        assert socket.receive() == "who leaves"
        verifier.revoke("bsc", subject="who leaves")
        assert socket.receive() == 1008


class TestWebSocketRoutes:
    """Hooks of ours cost every request, and are there from the first WebSocket route on."""

    def test_without_any_there_is_no_hook(self, app: Flask) -> None:
        _add_echo(app)
        assert not app.before_request_funcs
        assert not app.teardown_request_funcs

    @pytest.mark.parametrize("through", ["the application", "a blueprint", "a blueprint before"])
    @pytest.mark.parametrize("first", ["the guard", "the route"])
    def test_a_handshake_is_refused_before_it_is_accepted(
        self, verifier: Verifier, first: str, through: str
    ) -> None:
        app, blueprint = Flask(__name__), Blueprint("ws", __name__)
        sock = Sock(None if through == "a blueprint before" else app)
        if first == "the guard":
            RPCGuard(app, verifier)

        @sock.route("/ws/v1/", bp=blueprint if through == "a blueprint" else None)
        @rpcguard.protect
        def view(websocket: Any) -> None:
            websocket.send(current_principal.project)

        if through == "a blueprint":
            app.register_blueprint(blueprint)
        elif through == "a blueprint before":
            sock.init_app(app)
        if first == "the route":
            RPCGuard(app, verifier)
        with wsgi(app) as port:
            assert wire.handshake(port, "/ws/v1/").status == 401
            with websocket(port, "/ws/v1/", cred.meganode()) as (socket, answer):
                assert answer.status == 101
                assert socket.receive() == "bsc"

    def test_several_have_the_hooks_once(self, app: Flask) -> None:
        sock = Sock(app)
        for number in range(3):
            sock.route(f"/ws/{number}", endpoint=str(number))(lambda websocket: None)
        RPCGuard(app, app.extensions["rpcguard"].verifier)
        assert [len(found) for found in app.before_request_funcs.values()] == [1]
        assert [len(found) for found in app.teardown_request_funcs.values()] == [1]

    def test_one_that_was_added_past_flask_lets_nobody_in(self, app: Flask) -> None:
        app.testing = False
        app.url_map.add(Rule("/ws/v1/", endpoint="ws", websocket=True))
        app.view_functions["ws"] = rpcguard.protect(lambda: "in")
        with wsgi(app) as port:
            assert wire.handshake(port, "/ws/v1/", cred.meganode()).status == 500
            assert wire.handshake(port, "/ws/v1/").status == 401
