"""Flask behind rpcguard: `python examples/flask_app.py --port 8000 --registry PATH`."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from _command_line import listen, parse, ready, redact
from _jsonrpc import answer
from flask import Flask, Response, request
from flask_sock import Sock
from simple_websocket import Server as WebSocket
from werkzeug.serving import WSGIRequestHandler, make_server

import rpcguard
from rpcguard import AuthError, ConfigError
from rpcguard.contrib.flask import RPCGuard, current_principal

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def create_app(registry: str, recheck: float = 30.0) -> Flask:
    """Return the application, guarded by *registry*."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # paths with empty segments are the guard's to refuse
    guard = RPCGuard(app, registry, recheck=recheck)
    redact(guard.verifier, "werkzeug", "gunicorn.error", app.logger.name)
    with suppress(LookupError):  # not exactly one project has a session
        app.register_blueprint(guard.blueprint())
    sock = Sock(app)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.route("/", defaults={"path": ""}, methods=METHODS)
    @app.route("/<path:path>", methods=METHODS)
    @rpcguard.protect
    def rpc(path: str) -> Response:  # noqa: ARG001
        text = answer(request.get_data(), current_principal)
        if text is None:
            return Response(status=204)
        return Response(text, mimetype="application/json")

    @sock.route("/ws/<path:path>")
    @rpcguard.protect(frames=True)
    def ws(websocket: WebSocket, path: str) -> None:  # noqa: ARG001
        while True:
            message = websocket.receive()
            try:
                guard.check_message(current_principal, message)
                text = answer(message, current_principal)
            except AuthError as error:
                text = guard.refusal_text(error, message)
            if text is not None:
                websocket.send(text)

    return app


class RequestHandler(WSGIRequestHandler):
    """Speaks HTTP/1.1, reports the target as it was sent, and logs requests when told to."""

    protocol_version = "HTTP/1.1"
    access_log = False

    def make_environ(self) -> dict[str, Any]:
        """Return the WSGI environment."""
        environ = super().make_environ()
        environ["RAW_URI"] = self.requestline.split()[1]  # http.server merges leading slashes
        return environ

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - as in werkzeug
        """Log a request, or what is wrong with it."""
        if self.access_log:
            super().log(type, message, *args)


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    options = parse(__doc__ or "")
    try:
        app = create_app(options.registry, options.recheck)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    RequestHandler.access_log = options.access_log
    with listen(options.port) as listener:
        server = make_server(
            "127.0.0.1",
            options.port,
            app,
            threaded=True,
            request_handler=RequestHandler,
            fd=listener.fileno(),
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        ready(listener)
        server.serve_forever()
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
