"""Flask's workers, forked from a process that has loaded the application, share one backend."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest
from backends.kinds import SHARED_STORES, Kind
from backends.redis_servers import until

from contrib import credentials as cred
from contrib.servers import gunicorn
from contrib.wire import TIMEOUT, request

CALL = b'{"jsonrpc":"2.0","id":7,"method":"getSlot"}'
REGISTRY = """\
version: 1
backend: %s
projects:
  solana: {preset: nodius, wallets: open, match: {path: /solana}}
"""


@pytest.mark.parametrize("preload", [True, False], ids=["forked with the application", "plain"])
@pytest.mark.parametrize("kind", SHARED_STORES, ids=lambda kind: kind.name)
def test_a_signature_works_once_in_all_of_them(tmp_path: Path, kind: Kind, preload: bool) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY % kind.url(tmp_path))
    options = ["--workers", "3", *(["--preload"] if preload else [])]
    with gunicorn(path, *options) as port:

        def send(headers: cred.Headers) -> int:
            return request(port, "POST", "/solana", headers, CALL).status

        # a store that is new refuses what was signed in the second before it was there
        until(lambda: send(cred.nodius(CALL)) == 200, "a signature is accepted")
        statuses: list[int] = []

        def race(headers: cred.Headers) -> None:
            statuses.append(send(headers))

        for _ in range(12):
            headers = cred.nodius(CALL)
            threads = [threading.Thread(target=race, args=(headers,)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(TIMEOUT)
    assert Counter(statuses) == {200: 12, 401: 60}
