"""Start-up, each in a fresh interpreter: imports, and the first verification of a process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

from bench.run import ROOT, Figures, Run
from bench.sections.presets import write_starter
from rpcguard.cli.demo.kit import load
from rpcguard.client import tokens

ADAPTERS = ("fastapi", "flask", "aiohttp")

# {before} runs untimed; the clock is read as late and stopped as early as it can be
_TIMED = """\
import sys, time
arguments = sys.argv[1:]
{before}
start = time.perf_counter()
{timed}
end = time.perf_counter()
print((end - start) * 1e6)
"""
_PYJWT = "import jwt, jwt.algorithms"  # which brings cryptography
_FIRST_PYJWT = """\
import jwt
token, secret = arguments
jwt.decode(token, secret, algorithms=["HS256"])
"""
_FIRST_RPCGUARD = """\
from rpcguard import Request, Verifier
file, token, backend = arguments
verifier = Verifier.from_yaml(file, backend=backend or None)
headers = [("Host", "localhost"), ("Authorization", "Bearer " + token)]
verifier.verify(Request(method="POST", target="/v1/", headers=headers, body=b"{}"))
"""


def measure(run: Run) -> Figures:
    """Return microseconds of imports and first verifications, and the ratios to PyJWT."""
    folder = run.folder("startup")
    write_starter(folder)
    kit = load(folder)
    token = tokens.meganode(kit.bsc, time.time())
    secret = (folder / "keys" / "bsc.secret").read_text(encoding="ascii").strip()
    file = str(folder / "registry.yaml")
    taken = _series(run, {
        "import": _script("import rpcguard"),
        "import_pyjwt": _script(_PYJWT),
        **{f"import_{name}_adapter": _adapter(name) for name in ADAPTERS},
        "import_verifier": _script("from rpcguard import Verifier"),
        "first_verify": [*_script(_FIRST_RPCGUARD), file, token, "memory://"],
        "first_verify_sqlite": [*_script(_FIRST_RPCGUARD), file, token, ""],  # as it is written
        "first_verify_pyjwt": [*_script(_FIRST_PYJWT), token, secret],
    })  # fmt: skip
    pyjwt = taken["import_pyjwt"]
    first = taken["first_verify_pyjwt"]
    return {
        **{f"{name}_us": value for name, value in taken.items()},
        "import_vs_pyjwt": taken["import"] / pyjwt,
        "import_verifier_vs_pyjwt": taken["import_verifier"] / pyjwt,
        "first_verify_vs_pyjwt": taken["first_verify"] / first,
        "first_verify_sqlite_vs_pyjwt": taken["first_verify_sqlite"] / first,
    }


def _script(timed: str, before: str = "") -> list[str]:
    """Return a command that times *timed* in a fresh interpreter."""
    return [sys.executable, "-I", "-c", _TIMED.format(before=before, timed=timed)]


def _adapter(name: str) -> list[str]:
    """Return a command that times what an adapter needs beyond its framework."""
    return _script(f"import rpcguard.contrib.{name}", f"import {_FRAMEWORKS[name]}")


_FRAMEWORKS = {"fastapi": "fastapi", "flask": "flask", "aiohttp": "aiohttp.web"}


def _series(run: Run, commands: Mapping[str, list[str]]) -> Figures:
    """Return medians; a fresh process for each, in turn, once untimed for the caches of files."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(run.rounds + 1):
        order = list(commands.items())
        for name, command in order if number % 2 else reversed(order):
            microseconds = json.loads(_output(command))
            if number:
                taken[name].append(microseconds)
    return {name: statistics.median(values) for name, values in taken.items()}


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise AssertionError(f"a start-up script failed:\n{done.stderr}")
    return done.stdout
