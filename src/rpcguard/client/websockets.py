"""`connect` for websockets: ``async with connect(uri, credentials) as websocket``."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as _connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from rpcguard.client.answer import Answer
from rpcguard.client.clock import MAX_SKEW
from rpcguard.client.flow import Flow
from rpcguard.client.presets import Credentials
from rpcguard.client.steps import Ask, Exchange, Proof, Sending, aadvance

TIMEOUT = 30.0  # seconds for a sign-in


class Auth:
    """
    Proves every handshake with one endpoint; see `rpcguard.client.flow.Flow` for the arguments.

    For connections that share a session. It signs in over HTTP at the same host and port.

    Args of the constructor:
        context: TLS settings of a sign-in; None for the usual ones.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        context: ssl.SSLContext | None = None,
        max_skew: float = MAX_SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server, or *max_skew* is negative.
        """
        self.flow = Flow(endpoint, credentials, max_skew, clock)
        self._context = context

    async def logout(self) -> None:
        """
        End the session, if there is one, on the server and here.

        Raises:
            rpcguard.client.keeper.SignInError: If the server does not end it.
        """
        await aadvance(self.flow.log_out(), None, self.ask)

    async def ask(self, step: Ask) -> Answer:
        """Send a request of ours."""
        return await asyncio.to_thread(_post, step, self._context)


class connect(_connect):  # noqa: N801 - the library's own name
    """
    `websockets.connect` with credentials: every handshake is proved anew, also those of a
    reconnection and of a redirect within the endpoint; to other places, credentials do not go.

    Args of the constructor:
        uri: Of the server, ws or wss.
        auth: A signer or a `SignIn`, or an `Auth` that other connections use too.
        subprotocol: Offer a bearer as the subprotocol `auth.TOKEN`, as browsers do, instead of in a
            header; servers take session tokens so.
        ssl: As for `websockets.connect`; a sign-in uses it too.
        options: The rest, as for `websockets.connect`, but for `create_connection`.
    """

    def __init__(
        self,
        uri: str,
        auth: Auth | Credentials,
        *,
        subprotocol: bool = False,
        ssl: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        """
        Raises:
            ValueError: If the URI is no URL of a server.
        """
        own = auth if isinstance(auth, Auth) else Auth(uri, auth, context=ssl)
        self._handshakes = _Handshakes(own, subprotocol=subprotocol)
        if ssl is not None:
            options["ssl"] = ssl
        factory: Any = self._handshakes.connection
        super().__init__(uri, create_connection=factory, **options)

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        """Connect, once more where that can help: after a new session, or when time was learnt."""
        try:
            return (yield from super().__await__())
        except InvalidStatus:
            if self._handshakes.proof is None:
                raise
        return (yield from super().__await__())


class _Handshakes:
    """
    The handshakes of one `connect`.

    Attributes:
        proof: What the next one is to be sent with, where the refusal of the last has given it.
    """

    def __init__(self, auth: Auth, *, subprotocol: bool) -> None:
        self._auth = auth
        self._subprotocol = subprotocol
        self._exchange: Exchange | None = None
        self.proof: Proof | None = None

    def connection(self, *args: Any, **options: Any) -> ClientConnection:
        """Make a connection whose handshake carries the proof; for `create_connection`."""
        return _Proved(self, *args, **options)

    async def headers(self, url: str, target: str) -> dict[str, str]:
        """Return the headers of a handshake; for the second of two, those that were made for it."""
        proof, self.proof = self.proof, None
        if proof is not None:
            self._exchange = None  # there is no third
        else:
            self._exchange = self._auth.flow.exchange(Sending("GET", url, target, b""))
            proof = await aadvance(self._exchange, None, self._auth.ask)
        return {} if proof is None else dict(proof.headers)

    async def refused(self, error: InvalidStatus) -> None:
        """Make the proof of the next handshake from the refusal of the last."""
        if self._exchange is not None:
            response = error.response
            date = response.headers.get("Date")
            answer = Answer(response.status_code, date, bytes(response.body or b""))
            self.proof = await aadvance(self._exchange, answer, self._auth.ask)

    def offer(
        self, headers: dict[str, str], offered: Sequence[Subprotocol] | None
    ) -> Sequence[Subprotocol] | None:
        """Move a bearer from *headers* to the subprotocols, if that was asked for."""
        if not self._subprotocol or "Authorization" not in headers:
            return offered
        token = headers.pop("Authorization").removeprefix("Bearer ")
        return [*(offered or ()), Subprotocol(f"auth.{token}")]


class _Proved(ClientConnection):
    def __init__(self, handshakes: _Handshakes, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._handshakes = handshakes

    async def handshake(self, additional_headers: Any = None, *args: Any, **options: Any) -> None:
        """Perform the opening handshake, with the proof."""
        uri = self.protocol.uri
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        url = f"{'wss' if uri.secure else 'ws'}://{host}:{uri.port}"
        proof = await self._handshakes.headers(url, uri.resource_name)
        offered = self.protocol.available_subprotocols
        self.protocol.available_subprotocols = self._handshakes.offer(proof, offered)
        headers = Headers(additional_headers or ())
        for name, value in proof.items():
            if name in headers:
                del headers[name]
            headers[name] = value
        try:
            await super().handshake(headers, *args, **options)
        except InvalidStatus as error:
            await self._handshakes.refused(error)
            raise


def _post(step: Ask, context: ssl.SSLContext | None) -> Answer:
    """Send *step* by the standard library, which follows no redirect."""
    parts = urlsplit(step.url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    )
    try:
        connection.request("POST", parts.path, step.body, dict(step.headers))
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("Date"), response.read())
    finally:
        connection.close()
