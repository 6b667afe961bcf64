"""
`Auth` for aiohttp: ``ClientSession(middlewares=[Auth(endpoint, credentials)])``.

Needs aiohttp 3.12, which brought client middlewares. With 3.11, put `Signer.headers` on each
request yourself, and follow no redirects.
"""

from __future__ import annotations

import aiohttp

from rpcguard.client.answer import REFUSALS, Answer
from rpcguard.client.flow import Shim
from rpcguard.client.steps import Ask, Sending, aadvance

if not hasattr(aiohttp, "ClientHandlerType"):
    raise ImportError("rpcguard.client.aiohttp needs aiohttp 3.12, for its client middlewares")

_READABLE = (aiohttp.BytesPayload, aiohttp.StringPayload, aiohttp.BytesIOPayload)


class Auth(Shim):
    """
    A client middleware that proves every request to one endpoint; see `rpcguard.client.flow.Flow`
    for the arguments.

    aiohttp asks it again for each redirect: one that stays with the endpoint is signed for anew, to
    other places credentials do not go. Bytes, text, JSON, forms and files are signed, a generator
    is not.
    """

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """
        Send *request* with its proof.

        Raises:
            ValueError: If it has to be signed, and its body can be read only once.
            rpcguard.client.SignInError: If the server gives no session.
        """
        if not self._flow.covers(str(request.url)):
            return await handler(request)

        async def ask(step: Ask) -> Answer:
            return await _ask(request.session, step)

        body = await _bytes_of(request, read=self._flow.needs_body)
        target = request.url.raw_path_qs
        exchange = self._flow.exchange(Sending(request.method, str(request.url), target, body))
        proof, response = await aadvance(exchange, None, ask), None
        while proof is not None:
            request.headers.update(proof.headers)
            response = await handler(request)
            try:
                proof = await aadvance(exchange, await _answer(response), ask)
            except BaseException:
                response.close()
                raise
        if response is None:
            raise RuntimeError("an exchange sends its request")
        return response

    async def logout(self, session: aiohttp.ClientSession) -> None:
        """
        End the session of the wallet, if there is one, on the server and here.

        Args:
            session: Asks.

        Raises:
            rpcguard.client.SignInError: If the server does not end it.
        """

        async def ask(step: Ask) -> Answer:
            return await _ask(session, step)

        await aadvance(self._flow.log_out(), None, ask)


async def _ask(session: aiohttp.ClientSession, step: Ask) -> Answer:
    # No middlewares, which would end here again; no redirects: a signed challenge is for this
    # server alone.
    async with session.post(
        step.url,
        data=step.body,
        headers=step.headers,
        allow_redirects=False,
        raise_for_status=False,
        middlewares=(),
    ) as response:
        return Answer(response.status, response.headers.get("Date"), await response.read())


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    body = await response.read() if response.status in REFUSALS else b""
    return Answer(response.status, response.headers.get("Date"), body)


async def _bytes_of(request: aiohttp.ClientRequest, *, read: bool) -> bytes | None:
    """Return the body; None for a stream. With *read*, what can be read twice is read."""
    body = request.body
    if not isinstance(body, aiohttp.Payload):
        return bytes(body)
    if isinstance(body, _READABLE):
        return await body.as_bytes()
    if read and not isinstance(body, aiohttp.AsyncIterablePayload):
        raw = await body.as_bytes()
        await request.update_body(raw)
        return raw
    return None
