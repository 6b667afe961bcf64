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
        auth: A signer or a `SignIn`; or a `rpcguard.client.requests.Auth` that other providers use
            too.
        request_kwargs: As for `web3.HTTPProvider`, but for its `auth`.
        options: The rest, as for `web3.HTTPProvider`.
    """

    def __init__(
        self,
        endpoint: str,
        auth: requests.Auth | Credentials,
        *,
        request_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server.
        """
        own = auth if isinstance(auth, requests.Auth) else requests.Auth(endpoint, auth)
        super().__init__(endpoint, {**(request_kwargs or {}), "auth": own}, **options)


class AsyncHTTPProvider(web3.AsyncHTTPProvider):
    """`web3.AsyncHTTPProvider` with credentials, or a `rpcguard.client.aiohttp.Auth`."""

    def __init__(
        self,
        endpoint: str,
        auth: aiohttp.Auth | Credentials,
        *,
        request_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """
        Raises:
            ValueError: If the endpoint is no URL of a server.
        """
        own = auth if isinstance(auth, aiohttp.Auth) else aiohttp.Auth(endpoint, auth)
        given = dict(request_kwargs or {})
        middlewares = (*given.get("middlewares", ()), own)
        super().__init__(endpoint, {**given, "middlewares": middlewares}, **options)
