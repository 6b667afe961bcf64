"""
A logging filter for the loggers of servers and frameworks, which print request lines and headers.

rpcguard's own logger holds no input. A server's access log holds the target, and a target may hold
an API key; only the application can put a filter there.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from rpcguard.authenticator import Authenticator
from rpcguard.schemes.api_key import ApiKeyRules, ApiKeyScheme
from rpcguard.verifier import Verifier

__all__ = ["redacting_filter"]

_HIDDEN: Final = "***"
_HIDE: Final = rf"\g<1>{_HIDDEN}"
_ALWAYS_SECRET: Final = frozenset({"authorization", "sec-websocket-protocol"})
_BEARER: Final = r"(?i)(\bbearer(?:[ \t]|\\t)+)[^\s\"',)]+"  # also as a repr spells a tab
_CARRIER: Final = r"(\bauth\.)[!#$%&'*+.^_`|~0-9A-Za-z-]{16,}"
_REST: Final = r"(?:[^\s?#\"']|'(?![\s,)\]}>]|$))+"  # of a path, but not the quote that ends it
_HEADER_ATOM: Final = re.compile(r"\{(.+)\}i")  # gunicorn's name of a request header
_TRACES: Final = logging.Formatter()
# What the logging module notes of the call; no input is among it
_OF_THE_CALL: Final = vars(logging.makeLogRecord({})).keys() - {"exc_text", "stack_info"}


def redacting_filter(verifier: Verifier) -> logging.Filter:
    """
    Return a filter that hides credentials in log records: API keys in paths and queries, bearer
    tokens, session tokens in subprotocols, issued API keys, and the header fields that hold them.

    Add it to every logger (not to a parent of it: filters are not inherited) or handler that prints
    requests, such as `uvicorn.access`, `gunicorn.access`, `werkzeug` or `aiohttp.access`. It knows
    a key by its place, not by its value, and rather hides too much: behind a prefix where a key may
    stand, the whole rest of the path.

    Args:
        verifier: Its registry, the current one at each record, says where API keys are read.
    """
    return _RedactingFilter(verifier)


class _RedactingFilter(logging.Filter):
    def __init__(self, verifier: Verifier) -> None:
        super().__init__()
        self._verifier = verifier
        self._places = _Places(verifier.registry)

    def filter(self, record: logging.LogRecord) -> bool:
        if self._places.registry is not self._verifier.registry:
            self._places = _Places(self._verifier.registry)
        places = self._places
        if record.exc_info:
            text = record.exc_text or _TRACES.formatException(record.exc_info)
            if places.cleaned(text) != text:  # then the exception itself must not go on either
                record.exc_text, record.exc_info = text, None
        for name in vars(record).keys() - _OF_THE_CALL:  # what `extra` added stands there too
            setattr(record, name, places.cleaned(getattr(record, name)))
        _clean_message(record, places)
        return True


def _clean_message(record: logging.LogRecord, places: _Places) -> None:
    """Clean the arguments alone, where that does: some formatters, uvicorn's, read them."""
    record.args = places.cleaned(record.args)
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - logging will say so, and print what we leave
        record.msg = places.cleaned(record.msg)
        return
    if places.cleaned(text) != text:  # in the template, or in no argument alone
        record.msg, record.args = places.cleaned(text), None


class _Shown:
    """What is left of an object whose text holds a credential."""

    def __init__(self, text: str, representation: str) -> None:
        self._text = text
        self._representation = representation

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._representation


class _Places:
    """Where one generation of the registry reads credentials, as expressions to search a text."""

    def __init__(self, registry: Authenticator) -> None:
        self.registry = registry
        projects = registry.projects.values()
        keys = [
            (project, scheme.rules)
            for project in projects
            for scheme in project.schemes
            if isinstance(scheme, ApiKeyScheme)
        ]
        self._secret = _ALWAYS_SECRET.union(rules.header for _, rules in keys if rules.header)
        prefixes = {
            spelling
            for project, rules in keys
            if rules.in_path
            for prefix in project.prefixes or {""}
            for spelling in (prefix, quote(prefix))
        }
        texts = [
            rf"(?i)(\b(?:{_any(self._secret)})[^\w*]{{1,4}}(?:b?[\"'])?)[^\r\n\"']+",
            _BEARER,
            _CARRIER,
            *_in_paths(prefixes),
            *_in_texts(rules for _, rules in keys),
        ]
        self._patterns = [re.compile(text) for text in texts]

    def cleaned(self, value: Any) -> Any:
        """Return *value* without credentials: itself, where it shows none."""
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, bool | int | float | type(None)):
            return value
        if type(value) in (tuple, list):
            return type(value)(map(self.cleaned, value))
        if isinstance(value, dict):
            return self._cleaned_items(value)
        text, representation = str(value), repr(value)
        shown = self._hidden(text), self._hidden(representation)
        return value if shown == (text, representation) else _Shown(*shown)

    def _cleaned_items(self, value: dict[Any, Any]) -> dict[Any, Any]:
        result = copy.copy(value)  # of its own type: gunicorn's answers for what is missing
        for name, item in value.items():
            atom = _HEADER_ATOM.fullmatch(name) if isinstance(name, str) else None
            field = atom[1] if atom is not None else name
            secret = isinstance(field, str) and field.lower() in self._secret
            result[name] = _HIDDEN if secret else self.cleaned(item)
        return result

    def _hidden(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(_HIDE, text)
        return text


def _any(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


def _in_paths(prefixes: Iterable[str]) -> Iterable[str]:
    """Yield what finds the path behind one of *prefixes*, wherever a proxy has put that."""
    named = [prefix for prefix in prefixes if prefix]
    if named:
        yield rf"(?i)((?:{_any(named)})/+){_REST}"
    if "" in prefixes:  # then the slash must begin a path
        yield rf"((?:^|[\s\"'(=]|://[^\s/?#\"]*)/+){_REST}"


def _in_texts(rules: Iterable[ApiKeyRules]) -> Iterable[str]:
    found = list(rules)
    queries = {each.query for each in found if each.query}
    issued = {each.prefix for each in found if each.wallets is not None}
    if queries:
        yield rf"((?:^|[?&])(?:{_any(queries)})=)[^\s&#\"]*"
    if issued:
        yield rf"((?:{_any(issued)}))[A-Za-z0-9._~+/=-]+"
