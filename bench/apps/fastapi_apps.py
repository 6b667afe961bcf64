"""FastAPI: unguarded, an empty dependency, rpcguard, the tutorial's code, PyJWT alone, others."""
# No `from __future__ import annotations`: FastAPI could not see dependencies that are local

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from authx import AuthX, AuthXConfig
from fastapi import Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.security import OAuth2PasswordBearer
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import BaseUserDatabase
from pydantic import BaseModel

from bench.apps import REPLY, Given
from bench.material import AUDIENCE, SUBJECT, TARGET
from rpcguard.contrib.fastapi import RPCGuard, require_rpc_auth


def _with(guard: Callable[..., Any] | None, app: FastAPI | None = None) -> FastAPI:
    """Return the application with its endpoint behind the dependency *guard*."""
    app = app or FastAPI()
    if guard is None:

        @app.post(TARGET)
        async def rpc(request: Request) -> Response:
            await request.body()
            return Response(REPLY, media_type="application/json")
    else:

        @app.post(TARGET)
        async def guarded(request: Request, caller: Annotated[Any, Depends(guard)]) -> Response:
            del caller
            await request.body()
            return Response(REPLY, media_type="application/json")

    return app


def unguarded(_: Given) -> FastAPI:
    """Return the endpoint alone."""
    return _with(None)


def rpcguard(given: Given) -> FastAPI:
    """Return the endpoint behind `Depends(require_rpc_auth)`."""
    app = FastAPI()
    RPCGuard(app, given.registry)
    return _with(require_rpc_auth, app)


def everywhere(given: Given) -> FastAPI:
    """Return the endpoint of an application that rpcguard guards as a whole."""
    app = FastAPI()
    RPCGuard(app, given.registry, everywhere=require_rpc_auth, exempt=["/healthz"])
    return _with(None, app)


def nothing(_: Given) -> FastAPI:
    """Return the endpoint behind a dependency that lets everybody in: what any one costs."""

    async def everybody(request: Request) -> None:
        del request

    return _with(everybody)


class User(BaseModel):
    """The tutorial's user."""

    username: str
    email: str | None = None
    full_name: str | None = None
    disabled: bool | None = None


class UserInDB(User):
    """The tutorial's user, as its database has it."""

    hashed_password: str


class TokenData(BaseModel):
    """What the tutorial takes from a token."""

    username: str | None = None


def tutorial(given: Given) -> FastAPI:
    """
    Return the endpoint behind the tutorial's dependencies, which are all here.

    Source: FastAPI, "OAuth2 with Password (and hashing), Bearer with JWT tokens".
    """
    key = given.key()
    oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
    users = {SUBJECT: {"username": SUBJECT, "hashed_password": "x", "disabled": False}}

    async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> UserInDB:
        credentials_exception = HTTPException(
            status_code=status.HTTP_401_UNAUTHORIZED,
            detail="Could not validate credentials",
            headers={"WWW-Authenticate": "Bearer"},
        )
        try:
            payload = jwt.decode(token, key, algorithms=[given.algorithm], audience=AUDIENCE)
            username = payload.get("sub")
            if username is None:
                raise credentials_exception
            token_data = TokenData(username=username)
        except jwt.InvalidTokenError:
            raise credentials_exception from None
        user = users.get(token_data.username or "")
        if user is None:
            raise credentials_exception
        return UserInDB(**user)  # type: ignore[arg-type]

    async def get_current_active_user(
        current_user: Annotated[UserInDB, Depends(get_current_user)],
    ) -> UserInDB:
        if current_user.disabled:
            raise HTTPException(status_code=400, detail="Inactive user")
        return current_user

    return _with(get_current_active_user)


def bare_pyjwt(given: Given) -> FastAPI:
    """Return the endpoint behind the least that one can write: the bearer and `jwt.decode`."""
    key = given.key()
    oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")

    async def claims(token: Annotated[str, Depends(oauth2_scheme)]) -> dict[str, Any]:
        try:
            return jwt.decode(token, key, algorithms=[given.algorithm], audience=AUDIENCE)
        except jwt.InvalidTokenError:
            raise HTTPException(status_code=401) from None

    return _with(claims)


@dataclass
class _Account:
    id: uuid.UUID
    email: str = "user@example.com"
    hashed_password: str = ""
    is_active: bool = True
    is_superuser: bool = False
    is_verified: bool = True


class _Accounts(BaseUserDatabase[_Account, uuid.UUID]):
    """Accounts in memory: no database's time is counted against the library."""

    def __init__(self) -> None:
        self._by_id = {uuid.UUID(SUBJECT): _Account(uuid.UUID(SUBJECT))}

    async def get(self, id: uuid.UUID) -> _Account | None:  # noqa: A002 - the library's name
        return self._by_id.get(id)


class _Manager(UUIDIDMixin, BaseUserManager[_Account, uuid.UUID]):
    reset_password_token_secret = "unused"  # noqa: S105
    verification_token_secret = "unused"  # noqa: S105


def fastapi_users(given: Given) -> FastAPI:
    """Return the endpoint behind fastapi-users with its JWT strategy."""
    accounts = _Accounts()

    async def get_user_db() -> AsyncIterator[_Accounts]:
        yield accounts

    async def get_user_manager(
        user_db: Annotated[_Accounts, Depends(get_user_db)],
    ) -> AsyncIterator[_Manager]:
        yield _Manager(user_db)

    def get_jwt_strategy() -> JWTStrategy[_Account, uuid.UUID]:
        public = None if given.algorithm == "HS256" else given.text
        return JWTStrategy(given.text, 3600, [AUDIENCE], given.algorithm, public)

    transport = BearerTransport(tokenUrl="auth/jwt/login")
    backend = AuthenticationBackend("jwt", transport, get_jwt_strategy)
    users = FastAPIUsers[_Account, uuid.UUID](get_user_manager, [backend])
    return _with(users.current_user(active=True))


def authx(given: Given) -> FastAPI:
    """Return the endpoint behind authx."""
    key = (
        {"JWT_SECRET_KEY": given.text}
        if given.algorithm == "HS256"
        else {"JWT_PUBLIC_KEY": given.text, "JWT_PRIVATE_KEY": given.text}
    )
    config = AuthXConfig(
        JWT_ALGORITHM=given.algorithm,  # type: ignore[arg-type]
        JWT_DECODE_ALGORITHMS=[given.algorithm],  # type: ignore[list-item]
        JWT_DECODE_AUDIENCE=AUDIENCE,
        JWT_TOKEN_LOCATION=["headers"],
        **key,  # type: ignore[arg-type]
    )
    auth: AuthX[Any] = AuthX(config=config)
    app = FastAPI()
    auth.handle_errors(app)
    return _with(auth.access_token_required, app)


APPS: Mapping[str, Callable[[Given], FastAPI]] = {
    "unguarded": unguarded,
    "nothing": nothing,
    "rpcguard": rpcguard,
    "everywhere": everywhere,
    "tutorial": tutorial,
    "bare_pyjwt": bare_pyjwt,
    "fastapi_users": fastapi_users,
    "authx": authx,
}
