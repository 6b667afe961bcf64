"""
What the shims of httpx and httpx2 share: all but the library's own classes.

httpx follows redirects below its `Auth`, and copies the headers along; of ours it drops
`Authorization` alone, and not from http to https. So they are taken off a request when its redirect
is worked out. httpx then reads the fragment of the redirected URL (RFC 9110 section 10.2.2), which
nothing else has a use for; should a version not read it, `_check_hops` says so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from typing import Any, ClassVar

from rpcguard.client.answer import REFUSALS, Answer
from rpcguard.client.flow import Shim
from rpcguard.client.keeper import SignInError
from rpcguard.client.steps import Ask, Proof, Sending, Wait, aadvance, advance, next_step

HOPS = 4  # redirects within the endpoint after which a request is signed for again


class RedirectedUrl:
    """Comes before the library's `URL`: tells when a redirect from it is worked out."""

    on_redirect: Callable[[], None]

    @property
    def fragment(self) -> str:
        """The fragment."""
        self.on_redirect()
        return str(super().fragment)  # type: ignore[misc]


class HttpxFlow(Shim):
    """
    Comes before the library's `Auth`: for `Client(auth=...)` and `AsyncClient(auth=...)`.

    Args of the constructor: see `rpcguard.client.flow.Flow`.
    """

    library: ClassVar[Any]
    url_class: ClassVar[Any]  # the library's URL behind `RedirectedUrl`

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Send *request* with its proof; see `httpx.Auth`."""
        following: Any = request
        for _ in range(1 + HOPS):
            leg = _Leg(self, following)
            if leg.reads_body:
                following.read()
            with closing(leg.start()) as exchange:
                step = next_step(exchange, None)
                while step is not None:
                    if isinstance(step, Wait):
                        step.block()
                        step = next_step(exchange, None)
                        continue
                    response = yield leg.outgoing(step)
                    if leg.tells(step, response):
                        response.read()
                    step = next_step(exchange, leg.answer(step, response))
            following = leg.redirected()
            if following is None:
                return

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Send *request* with its proof; see `httpx.Auth`."""
        following: Any = request
        for _ in range(1 + HOPS):
            leg = _Leg(self, following)
            if leg.reads_body:
                await following.aread()
            with closing(leg.start()) as exchange:
                step = next_step(exchange, None)
                while step is not None:
                    if isinstance(step, Wait):
                        await step.until_done()
                        step = next_step(exchange, None)
                        continue
                    response = yield leg.outgoing(step)
                    if leg.tells(step, response):
                        await response.aread()
                    step = next_step(exchange, leg.answer(step, response))
            following = leg.redirected()
            if following is None:
                return

    def logout(self, client: Any) -> None:
        """
        End the session, if there is one, on the server and here; *client* is a `Client`.

        Raises:
            SignInError: If the server does not end it.
        """

        def ask(step: Ask) -> Answer:
            return _whole(client.send(self._request(step), auth=None, follow_redirects=False))

        advance(self._flow.log_out(), None, ask)

    async def alogout(self, client: Any) -> None:
        """Do what `logout` does, with an `AsyncClient`."""

        async def ask(step: Ask) -> Answer:
            request = self._request(step)
            return _whole(await client.send(request, auth=None, follow_redirects=False))

        await aadvance(self._flow.log_out(), None, ask)

    def _request(self, step: Ask, extensions: Any = None) -> Any:
        request = self.library.Request(
            "POST", step.url, content=step.body, headers=step.headers, extensions=extensions
        )
        request.url = self._watched(step.url, _refuse_redirect)
        return request

    def _watched(self, url: Any, on_redirect: Callable[[], None]) -> Any:
        watched = self.url_class(url)
        watched.on_redirect = on_redirect
        return watched


class _Leg:
    """One request on its way, up to a redirect."""

    def __init__(self, auth: HttpxFlow, request: Any) -> None:
        self._auth = auth
        self._flow = auth._flow  # noqa: SLF001 - two classes of one shim
        self._request = request
        self._proof = Proof({})
        self._response: Any = None
        self._covered = self._flow.covers(str(request.url))
        self.reads_body = self._covered and (self._flow.needs_body or self._at_hand(request))

    def start(self) -> Generator[Proof | Ask | Wait, Answer | None, None]:
        """Return the exchange of the request, whose body was read if it had to be."""
        if not self._covered:
            return _as_it_is()
        request = self._request
        request.url = self._auth._watched(request.url, self._forget)  # noqa: SLF001
        target = request.url.raw_path.decode("ascii")
        body = request.content if self.reads_body else None
        return self._flow.exchange(Sending(request.method, str(request.url), target, body))

    def outgoing(self, step: Proof | Ask) -> Any:
        """Return the request that *step* sends."""
        if isinstance(step, Ask):
            return self._auth._request(step, self._request.extensions)  # noqa: SLF001
        self._proof = step
        self._request.headers.update(step.headers)
        return self._request

    def tells(self, step: Proof | Ask, response: Any) -> bool:
        """Return whether the response's body has to be read."""
        return isinstance(step, Ask) or response.status_code in REFUSALS

    def answer(self, step: Proof | Ask, response: Any) -> Answer:
        """Return what *response* says to *step*."""
        if isinstance(step, Proof):
            self._response = response
            self._check_hops(response)
            if response.request is not self._request:
                return Answer(0)  # to a request that had no proof, maybe from somebody else
        if not self.tells(step, response):
            return Answer(response.status_code)
        return _whole(response)

    def redirected(self) -> Any:
        """Return the request to sign for after redirects that have all stayed with the endpoint."""
        response = self._response
        if not self._covered or response is None or response.request is self._request:
            return None
        following = response.request
        unproved = response.status_code in REFUSALS and self._at_hand(following)
        # Another host that sent it back would have chosen what is signed
        stayed = all(self._flow.covers(str(hop.url)) for hop in (*response.history, response))
        return following if unproved and stayed else None

    def _at_hand(self, request: Any) -> bool:
        return isinstance(request.stream, self._auth.library.ByteStream)

    def _forget(self) -> None:
        for name in self._proof.headers:
            self._request.headers.pop(name, None)

    def _check_hops(self, response: Any) -> None:
        for hop in (*response.history, response):
            sent = hop.request
            if sent is self._request or not self._proof.headers:
                continue
            if any(sent.headers.get(name) == value for name, value in self._proof.headers.items()):
                raise RuntimeError("this version of the library sends credentials along redirects")


def _as_it_is() -> Generator[Proof, Answer | None, None]:
    yield Proof({})


def _refuse_redirect() -> None:
    # Whoever got the signed challenge could sign in with it
    raise SignInError(307, "")


def _whole(response: Any) -> Answer:
    return Answer(response.status_code, response.headers.get("date"), response.content)
