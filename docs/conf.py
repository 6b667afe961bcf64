"""How `make docs` builds the site; nothing is fetched while it does."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

import rpcguard

HERE = Path(__file__).parent

project = "rpcguard"
author = "the rpcguard contributors"
release = version = rpcguard.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True
myst_heading_anchors = 6  # the anchors that GitHub makes
myst_links_external_new_tab = False
myst_enable_extensions = ["colon_fence"]
suppress_warnings: list[str] = []

html_theme = "furo"
html_title = "rpcguard"
html_show_sphinx = False
html_copy_source = False

# Caption -> pages: names, and globs for folders in which a page needs no entry of its own. It
# stands here and not in the pages, which are read on GitHub too, where a toctree is noise.
CONTENTS = {
    "Start": ["why", "tutorials/*"],
    "Concepts": ["concepts/*"],
    "How-to": ["frameworks", "client", "testing", "sessions", "encryption", "howto/*"],
    "Providers": ["presets", "providers/*"],
    "Reference": ["registry", "refusals", "cli", "reference/*"],
    "Operators": ["operators", "backends", "operations/*", "performance", "security"],
    "Extending": ["extending/*"],
    "Project": ["project/*"],
}
# Files of the repository that are pages too.
ROOT_PAGES = {
    "SECURITY.md": "project/security-policy.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}


def _contents() -> str:
    """Return the toctrees of the front page."""
    listed: set[str] = set()
    text = ""
    for caption, patterns in CONTENTS.items():
        found = [page for pattern in patterns for page in sorted(HERE.glob(f"{pattern}.md"))]
        names = dict.fromkeys(page.relative_to(HERE).with_suffix("").as_posix() for page in found)
        fresh = [name for name in names if name not in listed]
        listed.update(fresh)
        if fresh:
            text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", ""])
            text += "\n".join(["", *fresh, "```", ""])
    return text


def _with_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    if name == "index":
        source[0] += _contents()


def _with_root_pages(_app: Sphinx, name: str, source: list[str]) -> None:
    """Let links to files of the repository's root lead to their pages here."""
    up = "../" * name.count("/")
    for file, page in ROOT_PAGES.items():
        source[0] = source[0].replace(f"](../{up}{file}", f"]({up}{page}")


def setup(app: Sphinx) -> None:
    """Put the table of contents where Sphinx looks for it."""
    app.connect("source-read", _with_contents)
    app.connect("source-read", _with_root_pages)
    app.connect("env-get-outdated", lambda *_: ["index"])  # a new page changes its contents
