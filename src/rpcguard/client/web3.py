"""
Providers for web3.py that prove every request: ``Web3(HTTPProvider(endpoint, credentials))``, and
``AsyncWeb3(AsyncHTTPProvider(endpoint, credentials))``.

web3.py sends with requests and with aiohttp; their shims do the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import web3

from rpcguard.client import aiohttp, requests
from rpcguard.client.presets import Credentials


class HTTPProvider(web3.HTTPProvider):
    """
    `web3.HTTPProvider` with credentials. Every try of a request is signed anew.

    Args of the constructor:
        endpoint: URL of the server.
        credentials: A signer or a `SignIn`, as `rpcguard.client.presets` makes them.
        request_kwargs: As for `web3.HTTPProvider`, but for `auth`.
        options: The rest, as for `web3.HTTPProvider`.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        request_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server.
        """
        self.auth = requests.Auth(endpoint, credentials)
        own = {**(request_kwargs or {}), "auth": self.auth}
        super().__init__(endpoint, own, **options)


class AsyncHTTPProvider(web3.AsyncHTTPProvider):
    """`web3.AsyncHTTPProvider` with credentials; see `HTTPProvider`."""

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        request_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server.
        """
        self.auth = aiohttp.Auth(endpoint, credentials)
        given = dict(request_kwargs or {})
        own = {**given, "middlewares": (*given.get("middlewares", ()), self.auth)}
        super().__init__(endpoint, own, **options)
