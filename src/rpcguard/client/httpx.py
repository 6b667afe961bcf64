"""`Auth` for httpx: ``httpx.Client(auth=Auth(endpoint, credentials))``, and `AsyncClient`."""

from __future__ import annotations

from typing import ClassVar

import httpx

from rpcguard.client._httpx_flow import HttpxFlow, RedirectedUrl


class _Url(RedirectedUrl, httpx.URL):
    pass


class Auth(HttpxFlow, httpx.Auth):
    """
    Proves every request to one endpoint; see `rpcguard.client.flow.Flow` for the arguments.

    A signature covers the body, so a body that is streamed is read into memory first. Tasks are
    those of asyncio. A redirect within the endpoint is signed for anew; to other places,
    credentials do not go.
    """

    library: ClassVar = httpx
    url_class: ClassVar = _Url
