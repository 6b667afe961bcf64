"""The command line as people run it: a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rpcguard import AuthError, Request, Verifier
from rpcguard.client.session import challenge_body, verify_body
from rpcguard.client.wallet import Wallet

SECONDS = 90
ENTRY_POINTS = {
    "rpcguard": [str(Path(sys.executable).with_name("rpcguard"))],
    "python -m rpcguard": [sys.executable, "-m", "rpcguard"],
}


@pytest.fixture
def cli(tmp_path):
    """Run `python -m rpcguard` with arguments in an empty directory and return what came of it."""

    def run(*arguments: object, command=ENTRY_POINTS["python -m rpcguard"], **options):
        environ = {
            **os.environ,
            "COLUMNS": "200",
            "NO_PROXY": "127.0.0.1",
            **options.pop("env", {}),
        }
        return subprocess.run(
            [*command, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environ,
            timeout=SECONDS,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def initial(tmp_path_factory):
    """A directory that `rpcguard init` has filled; nobody changes it."""
    made = tmp_path_factory.mktemp("initial") / "shop"
    command = [*ENTRY_POINTS["rpcguard"], "init", str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    return made


@pytest.fixture
def starter(initial, tmp_path):
    """A copy of that directory for one test."""
    return Path(shutil.copytree(initial, tmp_path / "shop"))


class Shop:
    """The starter registry as a server has it open, and the wallet of its project `solana`."""

    def __init__(self, directory: Path) -> None:
        self.verifier = Verifier.from_yaml(directory / "registry.yaml", watch=False)
        projects = json.loads((directory / "credentials.json").read_text())["projects"]
        self.wallet = Wallet.from_base58(projects["solana"]["secret_key"])

    def sign_in(self) -> str:
        """Return a session token."""
        asked = self._post("/auth/challenge", challenge_body(self.wallet))
        body = verify_body(self.wallet, asked["challenge"])
        return self._post("/auth/verify", body)["token"]

    def _post(self, route: str, body: bytes) -> dict:
        return self.verifier.serve(route, Request("POST", route, [], body))

    def call(self, credential: str, target: str = "/solana") -> str:
        """Return the scheme by which *credential* is accepted, or why it is refused."""
        headers = [("Authorization", f"Bearer {credential}")]
        try:
            return self.verifier.verify(Request("POST", target, headers, b"{}")).scheme
        except AuthError as error:
            return error.reason


@pytest.fixture
def shop(starter):
    """A server on the starter registry, in this process; commands run in another one."""
    opened = Shop(starter)
    with opened.verifier:
        yield opened
