"""What docs/why.md says of peers and of rpcguard is what they do, in the versions of this moment."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_jwt import JWTMiddleware
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from fastapi.testclient import TestClient as FastAPIClient
from flask import Flask
from flask_jwt_extended import JWTManager, jwt_required
from minting import segment

from pages.blocks import ROOT
from rpcguard import AuthError, Request, Verifier

SECRET = "0123456789abcdef0123456789abcdef"
REGISTRY = f"""
version: 1
projects:
  p: {{preset: bearer, algorithms: [HS256], key_by: secret, secrets: [{{id: a, secret: {SECRET}}}]}}
"""
Peer = Callable[[str], int]


def _signed(payload: str) -> str:
    """A token of HS256 whose payload is exactly this text."""
    return jwt.PyJWS().encode(payload.encode(), SECRET, "HS256", headers={"typ": "JWT"})


def _tokens() -> dict[str, str]:
    now = int(time.time())
    rest = '"jti":"1","type":"access","fresh":false'  # what Flask-JWT-Extended writes
    good = _signed(f'{{"sub":"a","exp":{now + 60},{rest}}}')
    return {
        "as it should be": good,
        "without `exp`": _signed(f'{{"sub":"a",{rest}}}'),
        "`exp` in milliseconds": _signed(f'{{"sub":"a","exp":{(now + 60) * 1000},{rest}}}'),
        "`exp` as text": _signed(f'{{"sub":"a","exp":"{now + 60}",{rest}}}'),
        "two `sub` members": _signed(f'{{"sub":"a","sub":"b","exp":{now + 60},{rest}}}'),
        "`=` at its end": good + "=",
        "expired": _signed(f'{{"sub":"a","exp":{now - 60},{rest}}}'),
        "a wrong signature": ".".join([*good.split(".")[:2], segment(b"x" * 32)]),
    }


def _tutorial(token: str) -> int:
    scheme = OAuth2PasswordBearer(tokenUrl="token")

    async def current_user(token: str = Depends(scheme)) -> str:
        try:
            return jwt.decode(token, SECRET, algorithms=["HS256"])["sub"]
        except jwt.InvalidTokenError:
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None

    app = FastAPI()
    app.post("/", dependencies=[Depends(current_user)])(lambda: "ok")
    return FastAPIClient(app).post("/", headers={"Authorization": f"Bearer {token}"}).status_code


def _flask_jwt_extended(token: str) -> int:
    app = Flask(__name__)
    app.config["JWT_SECRET_KEY"] = SECRET
    JWTManager(app)
    app.post("/")(jwt_required()(lambda: "ok"))
    return app.test_client().post("/", headers={"Authorization": f"Bearer {token}"}).status_code


def _aiohttp_jwt(token: str) -> int:
    async def rpc(_: web.Request) -> web.Response:
        return web.Response()

    async def ask() -> int:
        app = web.Application(middlewares=[JWTMiddleware(SECRET, algorithms=["HS256"])])
        app.router.add_post("/", rpc)
        headers = {"Authorization": f"Bearer {token}"}
        async with TestClient(TestServer(app)) as http, http.post("/", headers=headers) as answer:
            return answer.status

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how it keeps its payload is no longer recommended
        return asyncio.run(ask())


@pytest.fixture
def rpcguard(guard: Callable[..., Verifier]) -> Peer:
    verifier = guard(REGISTRY, clock=time.time, backend="memory://")

    def ask(token: str) -> int:
        headers = [("Authorization", f"Bearer {token}")]
        try:
            verifier.verify(Request(method="POST", target="/", headers=headers, body=b""))
        except AuthError as error:
            return error.status
        return 200

    return ask


def test_the_table_of_tokens_is_what_each_answers(rpcguard: Peer):
    peers = [_tutorial, _flask_jwt_extended, _aiohttp_jwt, rpcguard]
    rows = [
        f"| {name} | {' | '.join(str(peer(token)) for peer in peers)} |"
        for name, token in _tokens().items()
    ]
    page = (ROOT / "docs" / "why.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in page] == []


def test_peers_take_one_token_again_and_again():
    token = _tokens()["as it should be"]
    for peer in (_tutorial, _flask_jwt_extended, _aiohttp_jwt):
        assert [peer(token), peer(token)] == [200, 200]
