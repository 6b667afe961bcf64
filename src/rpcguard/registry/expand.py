"""
A tree of nodes to plain values, with `${env:NAME}` and `${file:PATH}` brought in.

What comes in is never looked at for further `${…}`. A variable or file that is missing or blank is
a problem, and so is every other `${…}`: the text `${SECRET}` never becomes a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Any, Final

from rpcguard.errors import Problem
from rpcguard.registry import files
from rpcguard.registry.files import Reading, UnreadableError
from rpcguard.registry.nodes import Items, Mapping, Node, Text, printable, show

MAX_FILE = 64 << 10

# Keys whose value is a secret, wherever they stand.
SECRETS = frozenset({"secret", "enc_key", "private_key"})
# `backend` may hold a password.
_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:[^/@]+@")
_REFERENCE = re.compile(r"\$\{(?:(env|file):([^{}]*)\}|)")
_UNEXPANDED = re.compile(r"\s*\$\{[^{}]*\}\s*")
_POSIX = os.name == "posix"  # elsewhere the bits of a mode say nothing about who may read
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unusable:
    """Stands where there is no value. No field takes it, so that the schema names the place."""

    __slots__ = ()


NULL: Final = Unusable()
BROKEN: Final = Unusable()  # the operator was told why


class _FaultyError(Exception):
    """One reference cannot be brought in; the message holds no value."""


class Expander:
    """
    Turns nodes into mappings, lists and texts.

    Attributes:
        problems: What could not be brought in.
        warnings: Literal secrets, and files that too many people can read.
    """

    def __init__(self, environ: AnyMapping[str, str], reading: Reading) -> None:
        """
        Take where values come from.

        Args:
            environ: Where `${env:NAME}` looks.
            reading: Reads the files of `${file:PATH}`.
        """
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._environ = environ
        self._reading = reading
        self._seen: dict[tuple[int, str], Any] = {}
        self._path: list[str | int] = []

    def plain(self, node: Node, key: str = "") -> Any:
        """
        Return the value of *node*: dict, list, str, `NULL` or `BROKEN`.

        Args:
            node: What was read.
            key: The mapping key that it stands under.
        """
        if not node.shared:
            return self._plain(node, key)
        seen = (id(node), key if type(node) is Text else "")
        if seen not in self._seen:
            self._seen[seen] = self._plain(node, key)
        return self._seen[seen]

    def _plain(self, node: Node, key: str) -> Any:
        if type(node) is Text:
            text = node.text
            if text is None:
                return NULL
            if "${" in text:
                return self._expand(text, node, key)
            if key in SECRETS or (key == "backend" and _PASSWORD.match(text)):
                self._warn("a literal secret; write ${env:NAME} or ${file:PATH}", node)
            return text
        if type(node) is Mapping:
            values = {}
            for name, child in node.entries.items():
                self._path.append(name)
                values[name] = self.plain(child, name)
                self._path.pop()
            return values
        if type(node) is Items:
            items = []
            for index, child in enumerate(node.items):
                self._path.append(index)
                items.append(self.plain(child))
                self._path.pop()
            return items
        return BROKEN

    def _expand(self, text: str, node: Text, key: str) -> Any:
        parts: list[str] = []
        end = 0
        try:
            for match in _REFERENCE.finditer(text):
                kind, name = match.groups()
                parts += text[end : match.start()], self._value(kind, name, node, key)
                end = match.end()
            return _whole("".join([*parts, text[end:]]), key)
        except _FaultyError as error:
            self.problems.append(Problem(str(error), *node.place, show(self._path)))
            return BROKEN

    def _value(self, kind: str | None, name: str, node: Text, key: str) -> str:
        if kind == "env":
            return self._variable(name)
        if kind == "file":
            return self._file(name, node, key)
        raise _FaultyError("not a reference; there are ${env:NAME} and ${file:PATH}")

    def _variable(self, name: str) -> str:
        if not _VARIABLE.fullmatch(name):
            raise _FaultyError("${env:NAME} needs the name of a variable")
        value = self._environ.get(name)
        if value is None:
            raise _FaultyError(f"environment variable {name} is not set")
        if not value.strip():
            raise _FaultyError(f"environment variable {name} is empty")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # the operating system's bytes were not UTF-8
            raise _FaultyError(f"environment variable {name} is not UTF-8 text") from None
        return value

    def _file(self, name: str, node: Text, key: str) -> str:
        if not name.strip():
            raise _FaultyError("${file:PATH} needs a path")
        path = str(Path(Path(node.place[0]).parent, name).absolute())
        name = printable(name)
        try:
            data, mode = self._reading.read(path, MAX_FILE)
            text = data.decode("utf-8")
        except UnreadableError as error:
            raise _FaultyError(f"file {name}: {error}") from None
        except UnicodeDecodeError:
            raise _FaultyError(f"file {name}: not UTF-8 text") from None
        if text.startswith("\ufeff"):
            raise _FaultyError(f"file {name}: begins with a byte order mark")
        if not text.strip():
            raise _FaultyError(f"file {name}: empty")
        self._check_mode(name, mode, node, key)
        return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text

    def _check_mode(self, name: str, mode: int, node: Text, key: str) -> None:
        if not _POSIX:
            return
        if key in SECRETS or key == "backend":
            if mode & files.GROUP_OR_OTHERS_WRITE:
                raise _FaultyError(f"file {name}: its group or others may write it; chmod 600")
            if mode & files.GROUP_OR_OTHERS_READ:
                self._warn(f"file {name}: its group or others may read it; chmod 600", node)
        elif mode & files.OTHERS_WRITE:
            self._warn(f"file {name}: everybody may write it; chmod 644", node)

    def _warn(self, message: str, node: Text) -> None:
        self.warnings.append(Problem(message, *node.place, show(self._path), warning=True))


def _whole(value: str, key: str) -> str:
    if key in SECRETS and _UNEXPANDED.fullmatch(value):
        # somebody's template was not filled in: its own text would become the key
        raise _FaultyError("what comes in is a reference itself, and is not expanded again")
    return value
