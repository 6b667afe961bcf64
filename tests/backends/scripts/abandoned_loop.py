"""
A loop is closed without a word while it waits for answers; see `test_redis_places`.

Arguments: the server's port, its process, and what the loop is doing then.
"""

import asyncio
import gc
import os
import signal
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from backends.kinds import START, owe
from backends.redis_proxy import Proxy, proxied

from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend
from rpcguard.errors import BackendError

port, server = (int(each) for each in sys.argv[1:3])


async def in_the_first_turns(backend: Backend, proxy: Proxy) -> None:
    os.kill(server, signal.SIGSTOP)
    ask(backend)
    await asyncio.sleep(0.05)


async def when_they_have_gone_out(backend: Backend, proxy: Proxy) -> None:
    assert (await backend.asettle(owe("first"), START)).verdict.value == "ok"
    os.kill(server, signal.SIGSTOP)
    ask(backend)
    await asyncio.sleep(0)


async def while_a_connection_opens(backend: Backend, proxy: Proxy) -> None:
    await lose_the_connection(backend, proxy)
    ask(backend)
    await asyncio.sleep(0.05)


async def while_they_are_asked_again(backend: Backend, proxy: Proxy) -> None:
    await when_they_have_gone_out(backend, proxy)
    await lose_the_connection(backend, proxy)
    await asyncio.sleep(0.05)


def ask(backend: Backend) -> None:
    for name in "abc":
        backend.asettle(owe(name), START)


async def lose_the_connection(backend: Backend, proxy: Proxy) -> None:
    if not backend._loops._clients:
        assert (await backend.asettle(owe("first"), START)).verdict.value == "ok"
        os.kill(server, signal.SIGSTOP)
    (client,) = backend._loops._clients.values()
    (line,) = client._lines.values()
    proxy.cut()
    while line._link is not None:  # noqa: ASYNC110 - nothing tells that it is gone
        await asyncio.sleep(0.01)


async def ask_again(backend: Backend) -> None:
    asked = (backend.asettle(owe(each), START) for each in "abcdef")
    kinds = Counter(map(type, await asyncio.gather(*asked, return_exceptions=True)))
    print(6 - kinds[BackendError], "answered,", kinds[BackendError], "refused")


with proxied(port) as proxy:
    url = f"redis://127.0.0.1:{proxy.port}?max_waiting=3&timeout=10s"
    backend = open_backend(url, now=START, base=Path())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(globals()[sys.argv[3]](backend, proxy))
    loop.close()
    del loop
    os.kill(server, signal.SIGCONT)
    asyncio.run(ask_again(backend))
    gc.collect()  # ends what the loop has left behind
    asyncio.run(ask_again(backend))
    backend.close()
