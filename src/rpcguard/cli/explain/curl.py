"""
A request out of a curl command, as browsers and documents give it. Nothing is run and no file that
the command names is read: a body in a file counts as not captured.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from rpcguard.cli.explain.captured import Captured, MalformedError

_FORM = "application/x-www-form-urlencoded"
_RAW, _JSON = "--data-raw", "--json"
_DATA = frozenset({"-d", "--data", "--data-ascii", "--data-binary", _RAW, _JSON})
_ALONE = frozenset(
    {
        *("-s", "--silent", "-S", "--show-error", "-i", "--include", "-v", "--verbose"),
        *("-k", "--insecure", "-L", "--location", "-f", "--fail", "--compressed", "-sS", "-N"),
        *(
            "--path-as-is",
            "--no-buffer",
            "--http1.1",
            "--http2",
            "-g",
            "--globoff",
            "--fail-with-body",
            "-si",
        ),
    }
)
_IGNORED = frozenset(  # options with a value that is nothing of the request
    {
        *("-o", "--output", "-m", "--max-time", "--connect-timeout", "-w", "--write-out"),
        *("--retry", "--cacert", "--resolve"),
    }
)
_VALUED = frozenset({"--url", "-X", "--request", "-H", "--header", *_DATA})
_SHORT = re.compile(r"-[XHdAom].")  # a value that follows its letter directly
_HEADERS = {"-A": "User-Agent", "--user-agent": "User-Agent", "-e": "Referer"}


def read(text: str) -> Captured:
    """
    Return the request that the curl command *text* sends.

    Raises:
        MalformedError: If it is none, or has an option whose meaning for the request is not known.
    """
    if "$'" in text:
        raise MalformedError("write the strings of the curl command without $'…'")
    try:
        words = shlex.split(re.sub(r"\\\r?\n", " ", text))
    except ValueError:
        raise MalformedError("the curl command's quotes do not match") from None
    method: str | None = None
    urls: list[str] = []
    headers: list[tuple[str, str]] = []
    data: list[str] = []
    whole = True
    for option, value in _options(words[1:]):
        if option == "--url":
            urls.append(value)
        elif option in ("-X", "--request"):
            method = value
        elif option in ("-H", "--header"):
            headers += _header(value)
        elif option in _HEADERS:
            headers.append((_HEADERS[option], value))
        else:
            whole = whole and (option == _RAW or not value.startswith("@"))
            data.append(value)
            if option == _JSON:
                headers += [("Content-Type", "application/json"), ("Accept", "application/json")]
    if len(urls) != 1:
        raise MalformedError("the curl command needs exactly one URL")
    if data and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", _FORM))
    verb = method or ("POST" if data else "GET")
    body = "&".join(data).encode() if whole else None
    return Captured.of_url(verb, urls[0], headers, body)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options that make the request, the URL as `--url`; each with its value."""
    rest = iter(words)
    for word in rest:
        name, mark, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("-"):
            yield "--url", word
        elif word in _ALONE:
            continue
        elif _SHORT.match(word) and not word.startswith("--"):
            if word[:2] not in _IGNORED:
                yield word[:2], word[2:]
        elif name in _IGNORED:
            if not mark:
                next(rest, "")
        elif name in _VALUED or name in _HEADERS:
            yield name, value if mark else next(rest, "")
        else:
            shown = name if word.startswith("--") else word[:2]  # a value may follow its letter
            raise MalformedError(f"the curl option {shown} is not understood")


def _header(text: str) -> list[tuple[str, str]]:
    if text.startswith("@"):
        raise MalformedError("headers in a file are not read: put them into the command")
    name, mark, value = text.partition(":")
    if not mark:
        return [(text.rstrip(";"), "")] if text.endswith(";") else []
    return [(name, value.strip())] if value.strip() else []
