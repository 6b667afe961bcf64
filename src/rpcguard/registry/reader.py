"""
A YAML file to a tree of located texts.

No constructor runs, so no tag can name a class, and no scalar is taken for a number, a date or a
boolean. Refused, as many at once as there are: duplicate and complex keys, merge keys, tags beyond
YAML's core, several documents, control characters, any encoding but UTF-8, cycles, and files that
are too large, too deep or too often aliased. Messages never quote a value.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from rpcguard.errors import Problem
from rpcguard.registry.composer import Composer, StopComposing
from rpcguard.registry.files import Reading, UnreadableError
from rpcguard.registry.nodes import Mapping

MAX_BYTES = 16 << 20

# libyaml is ten times faster; the pure Python parser gives the same events.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# All but the characters of YAML 1.2 section 5.1, and the byte order mark, which has no meaning
# inside a file. It names what is refused: the complement takes fifty times as long to compile.
_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]"
)
_ALLOWED_ASCII = bytes([9, 10, 13, *range(0x20, 0x7F)])
# The pure Python parser quotes characters of the file; punctuation and '<token names>' may stay.
_QUOTED = re.compile(r"'(?!<)[^']*\w[^']*'|\"[^\"]*\"")


class Document(NamedTuple):
    """
    What a file holds.

    Attributes:
        root: The top mapping, or None if there is none to look at.
        problems: Everything that is wrong with the file as YAML.
    """

    root: Mapping | None
    problems: tuple[Problem, ...] = ()


def read(path: str, reading: Reading, shown: str = "") -> Document:
    """
    Read and parse one file. Never raises: whatever is wrong is a problem of the document.

    Args:
        path: Absolute path.
        reading: Remembers the file for the watcher.
        shown: How messages name the file; *path* by default.
    """
    try:
        data, _ = reading.read(path, MAX_BYTES)
    except UnreadableError as error:
        return Document(None, (Problem(str(error), shown or path),))
    return parse(data, shown or path)


def parse(data: bytes, file: str, loader: Any = LOADER) -> Document:
    """
    Parse the bytes of one file. Never raises.

    Args:
        data: UTF-8; one byte order mark at the start is skipped, as editors on Windows write it.
        file: How messages name the file.
        loader: The PyYAML loader whose events are read.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Document(None, (Problem("not UTF-8 text", file, line),))
    if not data.isascii() or data.translate(None, _ALLOWED_ASCII):
        found = _FORBIDDEN.search(text)
        if found:
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            return Document(None, (Problem("a control character", file, line, column),))
    composer = Composer(file)
    source = loader(text)
    try:
        composer.run(source)
    except yaml.YAMLError as error:
        composer.problems.append(_syntax(error, file))
    except StopComposing:
        pass
    finally:
        source.dispose()
    return _document(composer)


def _document(composer: Composer) -> Document:
    root, problems = composer.root, composer.problems
    if root is None and not problems:
        problems.append(Problem("empty; a mapping is expected", composer.file, 1, 1))
    elif root is not None and not isinstance(root, Mapping):
        problems.append(Problem(f"expected a mapping, found {root.kind}", *root.place))
    return Document(root if isinstance(root, Mapping) else None, tuple(problems))


def _syntax(error: yaml.YAMLError, file: str) -> Problem:
    problem = getattr(error, "problem", None) or "no text"
    context = getattr(error, "context", None)
    message = "not YAML: " + _QUOTED.sub("…", f"{context}, {problem}" if context else problem)
    if "cannot start any token" in message:
        message += " (quote a text that begins with such a character)"
    mark = getattr(error, "problem_mark", None)
    return (
        Problem(message, file, mark.line + 1, mark.column + 1) if mark else Problem(message, file)
    )
