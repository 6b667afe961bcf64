"""The cache of verified tokens: threads change it side by side, and a fork leaves it usable."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from minting import NOW, SECRET, bearer, hour, token

from rpcguard import Request
from rpcguard.keys import KeyRing, secret_key
from rpcguard.schemes.base import Incoming, Proof
from rpcguard.schemes.jwt import JwtRules, JwtScheme
from rpcguard.schemes.remembered import Remembered

RULES = JwtRules("one", frozenset({"HS256"}), key_by="secret")


class Cache(Remembered[Any]):
    """A cache whose first writer stops in the midst of it until it may go on."""

    def __init__(self) -> None:
        super().__init__(100)
        self.entered, self.go = threading.Event(), threading.Event()

    def put(self, name: bytes, found: Any) -> None:
        if not self.entered.is_set():
            self.entered.set()
            assert self.go.wait(60)
        super().put(name, found)


def scheme_with(cache: Remembered[Any]) -> JwtScheme:
    scheme = JwtScheme(RULES, KeyRing([secret_key("a", "HS256", SECRET.encode())]))
    scheme._cache = cache
    return scheme


def asked(jti: str) -> Incoming:
    request = Request("POST", "/rpc", bearer(token(hour(jti=jti))), b"{}")
    return Incoming(request, "/rpc", "/rpc", "/rpc", "", request.fields({"authorization"}))


def stopped_in_the_midst(scheme: JwtScheme, cache: Cache) -> threading.Thread:
    """Return a thread that is about to remember a token."""
    writer = threading.Thread(target=scheme.prove, args=(asked("first"), NOW))
    writer.start()
    assert cache.entered.wait(30)
    return writer


def test_a_thread_that_is_about_to_remember_a_token_keeps_nobody_waiting() -> None:
    cache = Cache()
    scheme = scheme_with(cache)
    writer = stopped_in_the_midst(scheme, cache)
    try:
        for _ in range(2):
            assert isinstance(scheme.prove(asked("other"), NOW), Proof)
        assert len(cache) == 1
    finally:
        cache.go.set()
        writer.join(30)
    assert len(cache) == 2


FORK = """
import os, signal, sys
sys.path[:0] = sys.argv[1:]
from minting import NOW
from schemes import test_jwt_fork as here
from rpcguard.schemes.base import Proof

cache = here.Cache()
scheme = here.scheme_with(cache)
writer = here.stopped_in_the_midst(scheme, cache)
child = os.fork()
if child == 0:
    signal.alarm(30)  # a lock that the fork left held is waited for for ever
    proofs = [scheme.prove(here.asked(jti), NOW) for jti in ("first", "other", "other")]
    os._exit(0 if all(isinstance(each, Proof) for each in proofs) and len(cache) == 2 else 1)
ended = os.waitpid(child, 0)[1]
cache.go.set()
writer.join(30)
print(ended, len(cache))
"""


def test_a_child_forked_at_that_moment_verifies_and_remembers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(Path(__file__).parent.parent)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "0 1\n", done.stderr
