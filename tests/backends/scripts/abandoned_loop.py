"""A loop is closed without a word while it waits for answers; see `test_redis_places`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from backends.kinds import START, owe

from rpcguard.backends.base import Backend
from rpcguard.backends.open import open_backend

port, server = (int(each) for each in sys.argv[1:])


async def leave_behind(backend: Backend) -> None:
    print((await backend.asettle(owe("first"), START)).verdict.value)
    os.kill(server, signal.SIGSTOP)
    for name in "abc":
        backend.asettle(owe(name), START)
    await asyncio.sleep(0)


async def ask_again(backend: Backend) -> None:
    for answer in await asyncio.gather(*(backend.asettle(owe(each), START) for each in "abc")):
        print(answer.verdict.value)


url = f"redis://127.0.0.1:{port}?max_waiting=3&timeout=10s"
backend = open_backend(url, now=START, base=Path())
loop = asyncio.new_event_loop()
loop.run_until_complete(leave_behind(backend))
loop.close()
os.kill(server, signal.SIGCONT)
asyncio.run(ask_again(backend))
backend.close()
