"""The body of a request in Flask: read by the guard with its own bound, and left for the view."""

from __future__ import annotations

import io
from typing import Any, Final

from flask import request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_content_length, get_input_stream

from rpcguard.errors import AuthError

BODY: Final = "rpcguard.body"  # where the environment keeps it


def read_body(limit: int) -> bytes:
    """
    Return the whole body of the current request, and leave it for the view.

    Raises:
        AuthError: `body_too_large`, if it exceeds *limit* bytes.
        ClientDisconnected: If the client went away before it was complete.
        RuntimeError: If the application has consumed it before.
    """
    environ = request.environ
    if BODY not in environ:
        environ[BODY] = _taken_body(environ, limit)
    body: bytes = environ[BODY]
    if len(body) > limit:
        raise AuthError("body_too_large")
    return body


def _taken_body(environ: dict[str, Any], limit: int) -> bytes:
    state = vars(request)
    cached: bytes | None = state.get("_cached_data")
    if cached is not None:
        return cached
    if "stream" in state:
        raise RuntimeError("the body was consumed before rpcguard could read it")
    length = get_content_length(environ)
    if length is not None and length > limit:
        raise AuthError("body_too_large")
    try:
        # One byte more than the limit, since werkzeug stops silently when it has read what it may
        body = get_input_stream(environ, max_content_length=limit + 1).read()
    except Exception as error:
        raise ClientDisconnected from error
    if len(body) > limit:
        raise AuthError("body_too_large")
    if length is not None and len(body) < length:
        raise ClientDisconnected
    environ["wsgi.input"] = io.BytesIO(body)
    return body
