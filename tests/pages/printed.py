"""Whether what a page shows is what was printed, but for time and chance."""

from __future__ import annotations

import doctest
import json
import re

# What differs from one run to the next, and what stands for it when two are compared.
_VOLATILE = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "INSTANT"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", "INSTANT"),
    (r"\d+\.\d+ ?s\b", "N s"),
    (r'"(now|seconds)": -?[\d.]+', r'"\1": N'),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "UUID"),
    (r"[A-Za-z0-9+/_-]{8,}…", "CUT"),
    (r"SHA256:\S+", "FINGERPRINT"),
    (r"\b[0-9a-f]{16}\b", "NONCE"),
    (r"\b\d{10}\b", "SECONDS"),
    (r"\b((?i:aiohttp|curl|gunicorn|nginx|Python|uvicorn|Werkzeug))/\d[\w.]*", r"\1/VERSION"),
    (r"(?i)(content-length): \d+", r"\1: N"),
    (r" {2,}", "  "),
)
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])(?<!SHA256:)([A-Za-z0-9+/_-]{12})[A-Za-z0-9+/_.=-]{28,}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHECKER = doctest.OutputChecker()


def cut(text: str) -> str:
    """Return *text* with its credentials cut short: pages carry none, not even of a demonstration."""
    return _LONG.sub(_cut, text)


def _cut(match: re.Match[str]) -> str:
    whole = match[0]
    is_name = "/" in whole or _UUID.search(whole) or whole.endswith((".pem", ".yaml"))
    return whole if is_name else f"{match[1]}…"


def comparable(text: str) -> str:
    """Return *text* without what differs from one run to the next."""
    for pattern, stands_for in _VOLATILE:
        text = re.sub(pattern, stands_for, text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"


def agrees(shown: str, printed: str) -> bool:
    """Return whether a page may show *shown* for *printed*, already cut; `...` is anything."""
    return _CHECKER.check_output(comparable(shown), comparable(printed), doctest.ELLIPSIS)


def one_json(text: str) -> str:
    """Return the JSON *text* as it is compared: spaces and line breaks mean nothing in it."""
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
