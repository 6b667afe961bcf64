"""The code in docs/client.md runs, in its order, against a real server."""

from __future__ import annotations

import re
from pathlib import Path

from client.registry import SECRET, WALLET
from client.site import Site

DOCS = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_examples_of_the_docs_run(site: Site, monkeypatch, tmp_path, capsys):
    home = tmp_path / ".config" / "solana"
    home.mkdir(parents=True)
    (home / "id.json").write_text(str(list(WALLET.secret_key)))
    for name, value in {"HOME": tmp_path, "NODEREAL_JWT_SECRET": SECRET, "ENC_KEY": SECRET}.items():
        monkeypatch.setenv(name, str(value))
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        code = block.replace("https://rpc.example", site.url)
        code = code.replace("wss://rpc.example", site.url.replace("http", "ws"))
        exec(compile(code, str(DOCS), "exec"), names)
    printed = capsys.readouterr().out
    assert len(blocks) == 8
    assert printed.count("310000000") == 4  # httpx, requests, aiohttp, websockets
    assert "20000000" in printed  # web3.py's block number
    assert WALLET.pubkey in printed
    assert site.seen["/auth/logout"] == 1
