"""The body of a request in aiohttp: read by the guard with its own bound, left for the handler."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import StreamReader, web

from rpcguard.contrib._http import slow_body
from rpcguard.errors import AuthError
from rpcguard.verifier import Verifier

BODY: Final = web.RequestKey("rpcguard_body", bytes)


async def read_body(request: web.Request, verifier: Verifier, limit: int) -> bytes:
    """
    Return the whole body, put it back for the handler, and keep it in the request as `BODY`.

    Args:
        request: The request.
        verifier: Its registry says how long the guard reads.
        limit: Bytes.

    Raises:
        AuthError: `body_too_large`, if it exceeds *limit* bytes; `invalid_body`, if it does not
            come in time.
        HTTPBadRequest: If the client went away.
        RuntimeError: If the application consumed it before.
    """
    body = await _taken(request, verifier, limit)
    request[BODY] = body
    return body


async def _taken(request: web.Request, verifier: Verifier, limit: int) -> bytes:
    content = request.content
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > limit:
        raise AuthError("body_too_large")
    if content.at_eof() and content.total_bytes:  # an earlier middleware has read it
        return _checked(await request.read(), content, limit)
    data, patience = bytearray(), verifier.registry.bounds.body_timeout
    try:
        async with asyncio.timeout(patience):
            while chunk := await content.readany():
                data += chunk
                if len(data) > limit:
                    raise AuthError("body_too_large")
    except TimeoutError:
        raise slow_body(patience) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise web.HTTPBadRequest(text="the body is not complete") from error
    body = _checked(bytes(data), content, limit)
    if body:
        _put_back(request, body)
    return body


def _checked(data: bytes, content: StreamReader, limit: int) -> bytes:
    if len(data) > limit:
        raise AuthError("body_too_large")
    if len(data) != content.total_bytes:
        raise RuntimeError("the body was consumed before rpcguard could read it")
    return data


def _put_back(request: web.Request, body: bytes) -> None:
    """Give the handler a stream of its own: `read`, `post`, `multipart` and `content` all work."""
    stream = StreamReader(request.protocol, len(body) + 1)
    stream.feed_data(body)
    stream.feed_eof()
    request._payload = stream  # noqa: SLF001 - there is no public way to give bytes back
    request._cache.pop("content", None)  # noqa: SLF001
