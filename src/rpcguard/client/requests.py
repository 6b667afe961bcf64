"""`Auth` for requests: ``requests.post(url, json=..., auth=Auth(endpoint, credentials))``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests
from requests.auth import AuthBase
from urllib3.util import parse_url

from rpcguard.client.answer import REFUSALS, Answer
from rpcguard.client.clock import MAX_SKEW
from rpcguard.client.flow import Flow
from rpcguard.client.presets import Credentials
from rpcguard.client.steps import Ask, Exchange, Proof, Sending, advance

TIMEOUT = 30.0  # seconds for a sign-in


class Auth(AuthBase):
    """
    Proves every request to one endpoint; see `rpcguard.client.flow.Flow` for the arguments.

    A signature covers the body: bytes, text, and files that can be read again are signed, a
    generator is not. Once a request was answered its credentials are taken off it, so that no
    redirect carries them; one that stays with the endpoint is signed for when the server asks.

    Args of the constructor:
        session: Signs in; give yours where it has proxies or certificates.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        session: requests.Session | None = None,
        max_skew: float = MAX_SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server, or *max_skew* is negative.
        """
        self._flow = Flow(endpoint, credentials, max_skew, clock)
        self._session = requests.Session() if session is None else session

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """
        Put the proof on *r*.

        Raises:
            ValueError: If it has to be signed, and its body can be read only once.
            rpcguard.client.keeper.SignInError: If the server gives no session.
        """
        if self._flow.covers(r.url or ""):
            exchange = self._exchange(r)
            proof = advance(exchange, None, self._ask)
            if proof is not None:
                r.headers.update(proof.headers)
                r.register_hook("response", _Hook(self, exchange, proof))  # type: ignore[no-untyped-call]
        return r

    def logout(self) -> None:
        """
        End the session, if there is one, on the server and here.

        Raises:
            rpcguard.client.keeper.SignInError: If the server does not end it.
        """
        advance(self._flow.log_out(), None, self._ask)

    def _exchange(self, request: requests.PreparedRequest) -> Exchange:
        body = _bytes_of(request, read=self._flow.needs_body)
        # urllib3 writes every target so; requests does not for one that it was redirected to
        request.url = parse_url(request.url or "").url
        method, url = request.method or "", request.url
        return self._flow.exchange(Sending(method, url, request.path_url, body))

    def _ask(self, step: Ask) -> Answer:
        response = self._session.post(
            step.url,
            data=step.body,
            headers=dict(step.headers),
            auth=_unchanged,
            timeout=TIMEOUT,
            allow_redirects=False,  # a signed challenge is for this server alone
        )
        return Answer(response.status_code, response.headers.get("Date"), response.content)


class _Hook:
    """Hears the answers to one request, and to those it is redirected to."""

    def __init__(self, auth: Auth, exchange: Exchange, proof: Proof) -> None:
        self._auth = auth
        self._exchange = exchange
        self._proof: Proof | None = proof

    def __call__(self, r: requests.Response, **kwargs: Any) -> requests.Response:
        """Return *r*, or the response to another try."""
        # A copy of this request is what is redirected: it must have no credentials.
        if not self._forget(r.request):
            if r.status_code not in REFUSALS or not self._auth._flow.covers(r.request.url or ""):  # noqa: SLF001
                return r
            self._exchange = self._auth._exchange(r.request)  # noqa: SLF001
            self._proof = advance(self._exchange, None, self._auth._ask)  # noqa: SLF001
            r = self._again(r, **kwargs)
        while self._proof is not None:
            self._proof = advance(self._exchange, _answer(r), self._auth._ask)  # noqa: SLF001
            r = self._again(r, **kwargs)
        return r

    def _again(self, r: requests.Response, **kwargs: Any) -> requests.Response:
        """Send the request of *r* with the proof, if there is one; see `HTTPDigestAuth`."""
        if self._proof is None:
            return r
        _ = r.content  # frees the connection
        r.close()
        request = r.request.copy()
        request.headers.update(self._proof.headers)
        again: requests.Response = r.connection.send(request, **kwargs)
        again.history.append(r)
        again.request = request
        self._forget(request)
        return again

    def _forget(self, request: requests.PreparedRequest) -> bool:
        """Take the proof off *request*; return whether it was there."""
        if self._proof is None:
            return False
        names = [n for n, value in self._proof.headers.items() if request.headers.get(n) == value]
        for name in names:
            del request.headers[name]
        return bool(names)


def _bytes_of(request: requests.PreparedRequest, *, read: bool) -> bytes | None:
    """Return the body; None for a stream. With *read*, a file is read, and bytes put for it."""
    body: Any = request.body
    if body is None:
        return b""
    if isinstance(body, str):
        body = request.body = body.encode()  # what is signed is what is sent
    if not isinstance(body, bytes | bytearray) and read and hasattr(body, "read"):
        raw = body.read()
        body = request.body = raw.encode() if isinstance(raw, str) else raw
        request._body_position = None  # type: ignore[attr-defined]  # noqa: SLF001 - no file to rewind
        request.headers.pop("Transfer-Encoding", None)
        request.prepare_content_length(body)
    return bytes(body) if isinstance(body, bytes | bytearray) else None


def _answer(response: requests.Response) -> Answer:
    body = response.content if response.status_code in REFUSALS else b""
    return Answer(response.status_code, response.headers.get("Date"), body)


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep credentials of a netrc file off a sign-in."""
    return request
