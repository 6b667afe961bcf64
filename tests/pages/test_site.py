"""The site as it is built: nothing is missing from the reference, nothing is fetched from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

from docs.generated.commands import commands
from docs.generated.reasons import reasons
from docs.generated.registry_keys import registry_keys
from pages.blocks import ROOT, pages
from rpcguard.cli.app import app
from rpcguard.errors import REASONS
from rpcguard.registry.editor import json_schema

pytestmark = pytest.mark.timeout(300)  # the site is built first


def test_every_page_is_in_the_site(site: Path):
    docs = ROOT / "docs"
    sources = {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert sources - built == set()
    assert "<!-- generated:" not in "".join(p.read_text("utf-8") for p in site.rglob("*.html"))


def test_every_page_is_linked_from_another():
    found = {path for path in pages() if "docs" in path.parts and path.parent.name != "project"}
    linked = {
        (page.parent / target).resolve()
        for page in pages()
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        if (page.parent / target).resolve() != page
    }
    assert found - linked == set()


def test_every_key_of_the_schema_is_in_the_reference_with_its_meaning():
    schema = json_schema()
    sections = dict(re.findall(r"## (\w+)\n(.*?)(?=\n## |\Z)", registry_keys(), re.DOTALL))
    assert sections.keys() == schema["$defs"].keys() | {"Registry"}
    for name, section in sections.items():
        kind = schema["$defs"].get(name, schema)
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(kind["properties"])
        assert "|  |" not in section


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("max_body", "Bytes of a body that the guard reads. | size, 1B to 1GiB | `5MiB`"),
        ("iat_leeway", "How far ahead `iat` may be. | duration to 2m | `5s`"),
        ("issuer", "Values of `iss`, one of which a token must have. | text, or a list | –"),
        ("wallets", "`open` for any wallet, or a list. | `open` or list of [Wallet](#wallet) | –"),
        ("digest", "`sha256:` and the lower-case hex digest of the whole key. | text | required"),
        (
            "refusals",
            "A JSON-RPC response, or the error object alone. | `jsonrpc`, `bare` | `jsonrpc`",
        ),
        (
            "per_ip",
            "Requests of one client address, counted before anything is checked. | rate, or a list | –",
        ),
    ],
)
def test_a_key_has_its_meaning_its_type_and_its_default(key: str, row: str):
    assert f"| `{key}` | {row} |" in registry_keys()


def test_every_reason_is_in_the_reference_with_its_codes():
    rows = [line.split(" | ") for line in reasons().splitlines()[3:]]
    assert [row[0].strip("| `") for row in rows] == list(REASONS)
    by_reason = {row[0].strip("| `"): row[2:] for row in rows}
    assert by_reason["rate_limited"] == ["429", "`-32005`", "1008 |"]
    assert by_reason["backend_unavailable"] == ["503", "`-32002`", "1013 |"]


def test_every_command_is_in_the_reference_with_its_options():
    def names(command, prefix):
        inner = getattr(command, "commands", None)
        if not inner:
            return [prefix]
        return [n for each in inner.values() for n in names(each, f"{prefix} {each.name}")]

    text = commands()
    wanted = names(typer.main.get_command(app), "rpcguard")
    assert sorted(re.findall(r"^## (.+)$", text, re.MULTILINE)) == sorted(wanted)
    assert len(wanted) >= 14
    assert "| `--bits <int range>` | Size of an RSA key. [default: 2048; 2048<=x<=8192] |" in text


def test_the_python_reference_has_what_users_import(site: Path):
    page = (site / "reference" / "python.html").read_text("utf-8")
    for name in (
        "rpcguard.Verifier.from_yaml",
        "rpcguard.AuthError",
        "rpcguard.protect",
        "rpcguard.contrib.fastapi.RequireRPCAuth",
        "rpcguard.contrib.flask.current_principal",
        "rpcguard.contrib.flask.RPCGuard.blueprint",
        "rpcguard.contrib.aiohttp.rpc_auth_middleware",
        "rpcguard.client.Wallet.from_pem",
        "rpcguard.client.httpx.Auth",
        "rpcguard.testing.RegistryBuilder.project",
        "rpcguard.backends.base.Backend.settle",
    ):
        assert f'id="{name}"' in page, name


class _Fetched(HTMLParser):
    """Collects what a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(facts.get("src") or "")
        elif tag == "link" and facts.get("rel") not in (
            "index",
            "search",
            "next",
            "prev",
            "canonical",
        ):
            self.found.append(facts.get("href") or "")


def test_no_page_fetches_anything_from_outside(site: Path):
    for path in site.rglob("*.html"):
        reader = _Fetched()
        reader.feed(path.read_text("utf-8"))
        assert [one for one in reader.found if re.match(r"(https?:)?//", one)] == [], path
    for path in site.rglob("*.css"):
        fetched = re.findall(r"(?:url\(|@import)\s*['\"]?(https?:)?//", path.read_text("utf-8"))
        assert fetched == [], path


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(site: Path, browser, width: int):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide = []
    try:
        for path in sorted(site.rglob("*.html")):
            browser.get(path.as_uri())
            needed = browser.execute_script("return document.documentElement.scrollWidth")
            if needed > width:
                wide.append((path.relative_to(site).as_posix(), needed))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide == []
