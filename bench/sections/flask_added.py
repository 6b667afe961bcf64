"""What a guard adds to a request of Flask: direct WSGI calls, no server, no sockets."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

from bench.added import RefusedError, compare
from bench.apps.flask_apps import APPS
from bench.material import BODY, TARGET, headers
from bench.run import Figures, Run
from bench.timing import Work


def measure(run: Run) -> Figures:
    """Return what rpcguard and its peers add."""
    return compare(run, "flask", APPS, _way)


def _way(app: Any, tokens: Sequence[str]) -> Work:
    environs = [_environ(token) for token in tokens]

    def send() -> None:
        for environ in environs:
            answer = app(environ, _start_response)
            b"".join(answer)
            answer.close()

    return send


def _start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
    del headers
    if not status.startswith("200"):
        raise RefusedError(f"answered {status}")


def _environ(token: str) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": TARGET,
        "QUERY_STRING": "",
        "RAW_URI": TARGET,  # as gunicorn gives it
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers({"Authorization": f"Bearer {token}"}):
        key = name.upper().replace("-", "_")
        environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value
    return environ
