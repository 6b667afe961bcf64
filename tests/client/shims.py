"""Every library behind one face, so that one table of behaviours is run by all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import httpx
import httpx2
import requests
from websockets.exceptions import InvalidStatus

import rpcguard.client.aiohttp
import rpcguard.client.httpx
import rpcguard.client.httpx2
import rpcguard.client.requests
import rpcguard.client.web3
import rpcguard.client.websockets
from rpcguard.client import Credentials

WHOAMI = b'{"jsonrpc":"2.0","id":1,"method":"rpcguard_whoami","params":[]}'
TIMEOUT = 60.0


@dataclass(frozen=True)
class Got:
    """What came back: the status, and the JSON document or None."""

    status: int
    document: Any

    @property
    def caller(self) -> tuple[str, str, str]:
        """Subject, project and scheme that the server saw."""
        result = self.document["result"]
        return result["subject"], result["project"], result["scheme"]


def document_of(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class Shim:
    """
    One library with one auth, opened by `opened`.

    A subclass has `post`: with *body* in parts, the body is a stream that can be read once.
    """

    name = ""
    streams = True

    def __init__(self, endpoint: str, credentials: Credentials, **options: Any) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.auth: Any = None
        self.open(credentials, options)

    def open(self, credentials: Credentials, options: dict[str, Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def post(self, url: str, body: bytes | list[bytes] = WHOAMI) -> Got:
        raise NotImplementedError

    def call(self, target: str, body: bytes | list[bytes] = WHOAMI) -> Got:
        """Post to *target* at the endpoint."""
        return self.post(self.endpoint + target, body)

    def send(self, target: str, **options: Any) -> Got:
        """Post with the options of the library's own `post`."""
        raise NotImplementedError

    def many(self, count: int, target: str) -> list[Got]:
        """Call *count* times at once."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _: self.call(target), range(count)))

    def logout(self) -> None:
        self.auth.logout()


class _Httpx(Shim):
    library: Any
    module: Any

    def open(self, credentials, options):
        self.auth = self.module.Auth(self.endpoint, credentials, **options)
        # A thread that closes idle connections, of more than 20 or after 5 s, may close one that was
        # given to another thread in that moment (httpcore 1.0), which then reads from a closed one
        limits = self.library.Limits(
            max_connections=100, max_keepalive_connections=None, keepalive_expiry=None
        )
        self.client = self.library.Client(
            auth=self.auth, timeout=TIMEOUT, follow_redirects=True, limits=limits
        )

    def close(self):
        self.client.close()

    def post(self, url, body=WHOAMI):
        content = iter(body) if isinstance(body, list) else body
        response = self.client.post(url, content=content)
        return Got(response.status_code, document_of(response.content))

    def send(self, target, **options):
        response = self.client.post(self.endpoint + target, **options)
        return Got(response.status_code, document_of(response.content))

    def logout(self):
        self.auth.logout(self.client)


class Httpx(_Httpx):
    name, library, module = "httpx", httpx, rpcguard.client.httpx


class Httpx2(_Httpx):
    name, library, module = "httpx2", httpx2, rpcguard.client.httpx2


class _Async(Shim):
    """Its coroutines run in a loop of its own; `many` are tasks of that loop."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.runner = asyncio.Runner()
        super().__init__(*args, **options)

    def open(self, credentials, options):
        self.runner.run(self.aopen(credentials, options))

    def close(self):
        with self.runner:
            self.runner.run(self.aclose())

    def post(self, url, body=WHOAMI):
        return self.runner.run(self.apost(url, body))

    def many(self, count, target):
        async def gather():
            return await asyncio.gather(*(self.apost(self.endpoint + target) for _ in range(count)))

        return self.runner.run(gather())


class _AsyncHttpx(_Async):
    library: Any
    module: Any

    async def aopen(self, credentials, options):
        self.auth = self.module.Auth(self.endpoint, credentials, **options)
        self.client = self.library.AsyncClient(
            auth=self.auth, timeout=TIMEOUT, follow_redirects=True
        )

    async def aclose(self):
        await self.client.aclose()

    async def apost(self, url, body=WHOAMI):
        content = _each(body) if isinstance(body, list) else body
        response = await self.client.post(url, content=content)
        return Got(response.status_code, document_of(response.content))

    def send(self, target, **options):
        response = self.runner.run(self.client.post(self.endpoint + target, **options))
        return Got(response.status_code, document_of(response.content))

    def logout(self):
        self.runner.run(self.auth.alogout(self.client))


class AsyncHttpx(_AsyncHttpx):
    name, library, module = "httpx async", httpx, rpcguard.client.httpx


class AsyncHttpx2(_AsyncHttpx):
    name, library, module = "httpx2 async", httpx2, rpcguard.client.httpx2


class Requests(Shim):
    name = "requests"

    def open(self, credentials, options):
        self.session = requests.Session()
        self.sign_ins = requests.Session()
        self.auth = rpcguard.client.requests.Auth(
            self.endpoint, credentials, session=self.sign_ins, **options
        )
        self.session.auth = self.auth

    def close(self):
        self.session.close()
        self.sign_ins.close()

    def post(self, url, body=WHOAMI):
        data = iter(body) if isinstance(body, list) else body
        response = self.session.post(url, data=data, timeout=TIMEOUT)
        return Got(response.status_code, document_of(response.content))

    def send(self, target, **options):
        response = self.session.post(self.endpoint + target, timeout=TIMEOUT, **options)
        return Got(response.status_code, document_of(response.content))


class Aiohttp(_Async):
    name = "aiohttp"

    async def aopen(self, credentials, options):
        self.auth = rpcguard.client.aiohttp.Auth(self.endpoint, credentials, **options)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        self.session = aiohttp.ClientSession(middlewares=[self.auth], timeout=timeout)

    async def aclose(self):
        await self.session.close()

    async def apost(self, url, body=WHOAMI):
        data = _each(body) if isinstance(body, list) else body
        async with self.session.post(url, data=data) as response:
            return Got(response.status, document_of(await response.read()))

    def send(self, target, **options):
        async def post():
            async with self.session.post(self.endpoint + target, **options) as response:
                return Got(response.status, document_of(await response.read()))

        return self.runner.run(post())

    def logout(self):
        self.runner.run(self.auth.logout(self.session))


class Web3(Shim):
    """A provider for each URL, which make their own bodies and share one auth."""

    name = "web3"
    streams = False

    def open(self, credentials, options):
        self.sign_ins = requests.Session()
        self.auth = rpcguard.client.requests.Auth(
            self.endpoint, credentials, session=self.sign_ins, **options
        )

    def close(self):
        self.sign_ins.close()

    def post(self, url, body=WHOAMI):
        assert body == WHOAMI
        with requests.Session() as session:
            provider = rpcguard.client.web3.HTTPProvider(url, self.auth, session=session)
            try:
                return Got(200, provider.make_request("rpcguard_whoami", []))
            except requests.HTTPError as error:
                response = error.response
                return Got(response.status_code, document_of(response.content))


class AsyncWeb3(_Async):
    name = "web3 async"
    streams = False

    async def aopen(self, credentials, options):
        self.auth = rpcguard.client.aiohttp.Auth(self.endpoint, credentials, **options)

    async def aclose(self):
        pass

    async def apost(self, url, body=WHOAMI):
        assert body == WHOAMI
        provider = rpcguard.client.web3.AsyncHTTPProvider(url, self.auth)
        try:
            return Got(200, await provider.make_request("rpcguard_whoami", []))
        except aiohttp.ClientResponseError as error:
            return Got(error.status, None)
        finally:
            await provider.disconnect()

    def logout(self):
        async def end():
            async with aiohttp.ClientSession() as session:
                await self.auth.logout(session)

        self.runner.run(end())


class Websockets(_Async):
    """A connection for each call, all with one auth; the path has a `/ws` in front."""

    name = "websockets"
    streams = False

    async def aopen(self, credentials, options):
        self.auth = rpcguard.client.websockets.Auth(self.endpoint, credentials, **options)

    async def aclose(self):
        pass

    async def apost(self, url, body=WHOAMI):
        parts = urlsplit(url)
        uri = urlunsplit(parts._replace(scheme="ws", path=f"/ws{parts.path}"))
        connecting = rpcguard.client.websockets.connect(uri, self.auth, open_timeout=TIMEOUT)
        try:
            async with connecting as websocket:
                await websocket.send(body.decode())
                return Got(200, document_of(await websocket.recv()))
        except InvalidStatus as error:
            return Got(error.response.status_code, document_of(error.response.body or b""))

    def logout(self):
        self.runner.run(self.auth.logout())


LIBRARIES: list[type[Shim]] = [Httpx, AsyncHttpx, Httpx2, AsyncHttpx2, Requests, Aiohttp]
EVERY: list[type[Shim]] = [*LIBRARIES, Web3, AsyncWeb3, Websockets]


@contextmanager
def opened(
    shim: Callable[..., Shim], endpoint: str, credentials: Credentials, **options: Any
) -> Iterator[Shim]:
    """Open *shim*, and close it."""
    client = shim(endpoint, credentials, **options)
    try:
        yield client
    finally:
        client.close()
