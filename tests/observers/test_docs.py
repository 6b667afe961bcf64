"""The code in docs/metrics.md runs, in its order, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from contrib.credentials import meganode

from observers.calls import CALL, write_registry

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

BEFORE = """
class Sink:
    told = []

    def incr(self, name, tags):
        self.told.append((name, tags))

    def ring(self, operation):
        self.told.append(operation)

statsd = pager = Sink()
"""
AFTER = """
from fastapi.testclient import TestClient

with TestClient(app) as client:
    assert client.post("/v1/").status_code == 404  # there is no such route: nothing is judged
    try:
        guard.verifier.verify(rpcguard.Request("POST", "/v1/", headers, body))
    finally:
        text = client.get("/metrics/").text
assert 'rpcguard_requests_total{kind="request",outcome="accepted",project="bsc"' in text, text

from rpcguard.observer import LookedUp

observe(Judged("request", "bsc", "jwt", 0.1, "replayed"))
observe(Judged("request", "bsc", "jwt", 0.1))
observe(Consulted("settle", 0.1, failed=True))
observe(LookedUp("bsc", found=True))
assert Sink.told == [("replays", ["project:bsc"]), "settle"]
"""


def test_the_code_in_the_page_works(tmp_path):
    write_registry(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    given = f"import rpcguard\nheaders, body = {meganode()!r}, {CALL.encode()!r}\n"
    script = "\n".join([BEFORE, given, *blocks, AFTER])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
