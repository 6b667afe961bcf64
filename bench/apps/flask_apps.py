"""Flask: unguarded, rpcguard, Flask-JWT-Extended, Flask-HTTPAuth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jwt
from flask import Flask, Response, request
from flask_httpauth import HTTPTokenAuth
from flask_jwt_extended import JWTManager, jwt_required

from bench.apps import REPLY, Given
from bench.material import AUDIENCE, TARGET
from rpcguard.contrib.flask import RPCGuard, protect


def _with(app: Flask, guard: Callable[[Any], Any] = lambda view: view) -> Flask:
    """Return *app* with its endpoint behind the decorator *guard*."""

    @app.post(TARGET)
    @guard
    def rpc() -> Response:
        request.get_data()
        return Response(REPLY, mimetype="application/json")

    return app


def unguarded(_: Given) -> Flask:
    """Return the endpoint alone."""
    return _with(Flask(__name__))


def rpcguard(given: Given) -> Flask:
    """Return the endpoint behind `@rpcguard.protect`."""
    app = Flask(__name__)
    RPCGuard(app, given.registry)
    return _with(app, protect)


def flask_jwt_extended(given: Given) -> Flask:
    """Return the endpoint behind Flask-JWT-Extended."""
    app = Flask(__name__)
    app.config["JWT_ALGORITHM"] = given.algorithm
    app.config["JWT_DECODE_AUDIENCE"] = AUDIENCE
    kind = "JWT_SECRET_KEY" if given.algorithm == "HS256" else "JWT_PUBLIC_KEY"
    app.config[kind] = given.text
    JWTManager(app)
    return _with(app, jwt_required())


def flask_httpauth(given: Given) -> Flask:
    """Return the endpoint behind Flask-HTTPAuth, which leaves the token itself to PyJWT."""
    auth = HTTPTokenAuth(scheme="Bearer")
    key = given.key()

    @auth.verify_token
    def verify_token(token: str) -> Any:
        try:
            claims = jwt.decode(token, key, algorithms=[given.algorithm], audience=AUDIENCE)
        except jwt.InvalidTokenError:
            return None
        return claims["sub"]

    return _with(Flask(__name__), auth.login_required)


APPS: Mapping[str, Callable[[Given], Flask]] = {
    "unguarded": unguarded,
    "rpcguard": rpcguard,
    "flask_jwt_extended": flask_jwt_extended,
    "flask_httpauth": flask_httpauth,
}
