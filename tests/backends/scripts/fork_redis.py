"""Fork with a backend in use, in threads and in a loop; each side tells what it was answered."""

import asyncio
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from backends.kinds import START, owe

from rpcguard.backends.open import open_backend

port, prefix = sys.argv[1:]
backend = open_backend(
    f"redis://127.0.0.1:{port}?key_prefix={prefix}&timeout=10s", now=START, base=Path()
)


def tell(answers: list[str]) -> None:
    os.write(1, json.dumps(answers).encode() + b"\n")  # at once, or lines of two would mix


async def ask(part: str) -> list[str]:
    questions = [backend.asettle(owe(f"{part} {n}"), START) for n in range(20)]
    return [answer.verdict.value for answer in await asyncio.gather(*questions)]


children = []
answers = asyncio.run(ask("before")) + [backend.settle(owe("before 1"), START).verdict.value]
answers.pop()
for _ in range(3):
    child = os.fork()
    if not child:
        mine = [backend.settle(owe(f"before {n}"), START).verdict.value for n in range(20)]
        mine += asyncio.run(ask("after"))
        tell(mine)
        backend.close()
        os._exit(0)
    children.append(child)
answers += asyncio.run(ask("after"))
for child in children:
    assert os.waitpid(child, 0)[1] == 0
tell(answers)
backend.close()
