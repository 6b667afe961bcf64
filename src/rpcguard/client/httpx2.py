"""`Auth` for httpx2: ``httpx2.Client(auth=Auth(endpoint, credentials))``, and `AsyncClient`."""

from __future__ import annotations

from typing import ClassVar

import httpx2

from rpcguard.client._httpx_flow import HttpxFlow, RedirectedUrl


class _Url(RedirectedUrl, httpx2.URL):
    pass


class Auth(HttpxFlow, httpx2.Auth):
    """
    Proves every request to one endpoint; see `rpcguard.client.flow.Flow` for the arguments.

    A signature covers the body, so a body that is streamed is read into memory first. Tasks are
    those of asyncio. A redirect within the endpoint is signed for anew; to other places,
    credentials do not go.
    """

    library: ClassVar = httpx2
    url_class: ClassVar = _Url
