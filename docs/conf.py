"""How `make docs` builds the site; nothing is fetched while it does."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import rpcguard

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs.generated.commands import commands  # noqa: E402 - found by the line above
from docs.generated.presets import presets  # noqa: E402
from docs.generated.python import python  # noqa: E402
from docs.generated.reasons import reasons  # noqa: E402
from docs.generated.registry_keys import registry_keys  # noqa: E402

project = "rpcguard"
author = "the rpcguard contributors"
release = version = rpcguard.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [  # names of others, and of ours that signatures show and users never write
    ("py:.*", r"(aiohttp|collections|cryptography|dataclasses|fastapi|flask)\..*"),
    ("py:.*", r"(httpx|logging|opentelemetry|os|pathlib|prometheus_client|requests|ssl)\..*"),
    ("py:.*", r"(starlette|web3|websockets)\..*"),
    ("py:.*", r"rpcguard\.(authenticator|client\.answer|client\.steps|limiter|registry)\..*"),
    ("py:.*", r"rpcguard\..*\._.*"),
    ("py:.*", r"(rpcguard\..*\.)?[A-Z]"),  # variables of types
]
smartquotes = False
default_role = "code"  # one backtick in a docstring is code, as in Markdown
autodoc_class_signature = "separated"  # classes show the constructors that are documented
autodoc_member_order = "bysource"
napoleon_use_ivar = True
napoleon_custom_sections = [("Args of the constructor", "params_style")]
python_use_unqualified_type_names = True
myst_heading_anchors = 6  # the anchors that GitHub makes
myst_enable_extensions = ["attrs_block"]  # for the generated tables
# A transcript may be cut short; whether it is true is found by running it, not by its colours.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "rpcguard"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

# Caption -> pages: names, and globs for folders in which a page needs no entry of its own. It
# stands here and not in the pages, which are read on GitHub too, where a toctree is noise.
CONTENTS = {
    "Start": ["why", "tutorials/fastapi", "tutorials/flask", "tutorials/*"],
    "Concepts": ["concepts/*"],
    "How-to": ["frameworks", "client", "testing", "sessions", "encryption", "howto/*"],
    "Providers": ["presets", "providers/*"],
    "Reference": ["registry", "refusals", "cli", "reference/*"],
    "Operators": ["deployment", "operators", "backends", "metrics", "performance", "security"],
    "Extending": ["extending/*"],
    "Project": ["releasing", "project/*"],
}
# Files of the repository that are pages too.
ROOT_PAGES = {
    "SECURITY.md": "project/security-policy.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
# What `<!-- generated: NAME -->` in a page stands for.
GENERATED = {
    "commands": commands,
    "presets": presets,
    "python": python,
    "reasons": reasons,
    "registry_keys": registry_keys,
}
# Pages that change when the code does; the front page does when there is a new one.
REFERENCE = [f"reference/{page.stem}" for page in HERE.glob("reference/*.md")]


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


def _with_generated(_app: Sphinx, _name: str, source: list[str]) -> None:
    for name, make in GENERATED.items():
        mark = f"<!-- generated: {name} -->"
        if mark in source[0]:
            source[0] = source[0].replace(mark, make())


def setup(app: Sphinx) -> None:
    """Put the table of contents where Sphinx looks for it."""
    app.connect("source-read", _with_contents)
    app.connect("source-read", _with_root_pages)
    app.connect("source-read", _with_generated)
    app.connect("env-get-outdated", lambda *_: ["index", *REFERENCE])
