"""What running a page finds: a block that is wrong, one that nobody executes, and no other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pages.__main__ import record
from pages.blocks import ROOT, Block, steps
from pages.run import PageError, run

REGISTRY = """
<!-- save: registry.yaml -->
```yaml
version: 1
projects:
  bsc:
    preset: meganode
    secrets: [{id: a, secret: "${env:SECRET}"}]
```
"""


@pytest.fixture
def page(tmp_path: Path):
    """Return a maker of pages."""

    def make(text: str) -> Path:
        path = tmp_path / "page.md"
        path.write_text(text, encoding="utf-8")
        return path

    return make


GOOD = {
    "an output": "```console\n$ echo a; echo b >&2\na\nb\n```",
    "a command over lines": "```console\n$ echo a \\\n>   b\na b\n```",
    "a refusal that is shown": "```console\n$ echo no; false\nno\n```",
    "cd and export hold": "```sh\nmkdir a; cd a\nexport X=1\n```\n```console\n$ basename $PWD $X\na\n```",
    "names hold": "```python\nx = 1\n```\n```python\nassert x == 1\n```",
    "the variables of the shell": "```sh\nexport X=7\n```\n```python\nimport os\nassert os.environ['X'] == '7'\n```",
    "what the code printed": "```python\nprint('a')\n```\n\n```text\na\n```",
    "a saved module": "<!-- save: shop.py -->\n```python\nx = 1\n```\n```python\nimport shop\nassert shop.x\n```",
    "a part of a registry": "```yaml\nallow: {methods: [eth_call]}\n```",
    "a part for another preset": "<!-- preset: nodius -->\n```yaml\nwallets: open\n```",
    "projects": "```yaml\nprojects:\n  a: {preset: nodius, wallets: open}\n```",
    "JSON": '```json\n{"a": 1}\n```',
    "what a command printed": "<!-- printed by: echo a -->\n```text\na\n```",
    "JSON that a command printed": '<!-- printed by: echo \'{"a":1}\' -->\n```json\n{ "a": 1 }\n```',
    "a part of a file": '<!-- from: pyproject.toml -->\n```toml\nname = "rpcguard"\n```',
    "an inner part of a file": "<!-- from: Makefile -->\n```make\n@$(BIN)/rpcguard demo\n```",
    "a copied folder": "<!-- copy: examples -->\n```console\n$ ls examples/flask_app.py\nexamples/flask_app.py\n```",
    "a reason": "<!-- not run: a drawing -->\n```\n-->\n```",
    "a directive": "```{include} x\n```",
    "a whole registry": REGISTRY,
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_page_that_is_right_has_no_differences(page, text: str):
    assert run(page(text)) == []


BAD = {
    "a failure": ("```console\n$ echo no; false\n...\n```", "exit status 1"),
    "a silent failure": ("```console\n$ false\n```", "exit status 1"),
    "a failure in the middle": ("```sh\nfalse\ntrue\n```", "exit status 1"),
    "a command that ends the shell": ("```sh\nexit 0\n```", "the shell has ended"),
    "an exception": ("```python\n1 / 0\n```", 'page.md", line 2, in <module>'),
    "a wrong registry": ("```yaml\nallow: {method: [a]}\n```", "unknown key"),
    "a wrong saved registry": (REGISTRY.replace("meganode", "megalode"), "no such preset"),
    "a saved module that is no Python": (
        "<!-- save: a.py -->\n```python\nx =\n```",
        "invalid syntax",
    ),
    "wrong JSON": ('```json\n{"a": 1, "a": 2}\n```', "page.md:2"),
    "an output without a command": ("```console\nout\n```", "before any command"),
    "a file that has something else": (
        "<!-- from: LICENSE -->\n```text\nnone\n```",
        "something else",
    ),
    "a file that is indented otherwise": (
        "<!-- from: Makefile -->\n```make\ndemo: $(READY)\n@$(BIN)/rpcguard demo\n```",
        "something else",
    ),
    "no reason": ("<!-- not run: -->\n```make\nx\n```", "nobody executes a block of make"),
    "a server that does not listen": (
        "<!-- background: 8000 -->\n```console\n$ echo oh\n```",
        "oh",
    ),
    "no language": ("```\nx\n```", "nobody executes a block of no language"),
    "an indented block": ("Text.\n\n    x\n", "nobody executes a block of no language"),
    "another language": ("```nginx\nx\n```", "nobody executes a block of nginx"),
    "code in a directive": ("```{code-block} python\nx\n```", "nobody executes"),
    "an output of no code": ("```text\nx\n```", "nobody executes a block of text"),
}


@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD)
def test_a_block_that_is_wrong_or_not_executed_is_an_error(page, text: str, told: str):
    with pytest.raises(PageError) as refused:
        run(page(text))
    assert told in str(refused.value)
    assert str(refused.value).startswith("page.md:")


DIFFERENT = {
    "a command": "```console\n$ echo a\nb\n```",
    "code": "```python\nprint('a')\n```\n```text\nb\n```",
    "a mark": "<!-- printed by: echo a -->\n```text\nb\n```",
}


@pytest.mark.parametrize("text", DIFFERENT.values(), ids=DIFFERENT)
def test_another_output_is_a_difference_and_recording_mends_it(page, text: str):
    path = page(text)
    (found,) = run(path)
    assert "-b\n+a" in found.told
    record(path)
    assert path.read_text(encoding="utf-8") == text.replace("\nb\n", "\na\n")


def test_recording_fills_in_what_is_not_there_yet_and_leaves_what_agrees(page):
    path = page(
        "- In a list:\n\n  ```console\n  $ echo a\n  $ echo b c\n  b ...\n  $ echo d\n  ```\n"
    )
    record(path)
    assert path.read_text(encoding="utf-8") == (
        "- In a list:\n\n  ```console\n  $ echo a\n  a\n  $ echo b c\n  b ...\n  $ echo d\n  d\n  ```\n"
    )


def test_a_page_has_its_servers_at_ports_of_their_own_and_they_end_with_it(page, tmp_path: Path):
    serve = "<!-- background: 8000 -->\n```console\n$ cd $HOME\n$ python -m http.server --bind 127.0.0.1 8000\n```"
    text = """
<!-- alias: rpc.example -->
```console
$ echo http://127.0.0.1:8000/
https://rpc.example/
```
```python
import urllib.request
with urllib.request.urlopen("https://rpc.example/") as answer:
    print(answer.status, answer.url)
```
```text
200 https://rpc.example/
```
"""
    ask = f"```sh\ncurl -s -o $HOME/page -w '%{{remote_port}}' http://127.0.0.1:8000/ > {tmp_path}/port\n```"
    assert run(page(f"{serve}\n{text}\n{serve}\n{ask}\n")) == []
    address = ("127.0.0.1", int((tmp_path / "port").read_text()))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_a_server_of_the_examples_answers_by_the_pages_registry(page):
    assert (
        run(
            page(
                REGISTRY.replace("${env:SECRET}", "x" * 32)
                + """
<!-- server: registry.yaml -->
<!-- printed by: curl -s http://127.0.0.1:8000/v1/ -d '{}' | python -c 'import json, sys; print(json.load(sys.stdin)["error"]["data"])' -->
```text
{'reason': 'missing_credentials', 'project': 'bsc'}
```
"""
            )
        )
        == []
    )


def test_the_example_of_the_page_about_pages_runs(page):
    text = (ROOT / "docs" / "extending" / "pages.md").read_text(encoding="utf-8")
    (example,) = [
        step.text for step in steps(text) if isinstance(step, Block) and step.language == "markdown"
    ]
    assert len(steps(example)) == 3
    assert run(page(example)) == []
