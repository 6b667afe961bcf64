"""The mutants of one file, as mutmut has written them, and what became of each."""

from __future__ import annotations

import ast
import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from mutation.wording import unworded

_GENERATED = re.compile(r"(?P<function>.+)__mutmut_(?P<number>orig|\d+)")
KILLED, ASIDE = (1, 3, 24, -24, 36, 152, 255), 34  # mutmut's numbers; 24 to 255 are times run out


@dataclass(frozen=True)
class Mutant:
    """
    One mutant.

    Attributes:
        name: What mutmut calls it.
        function: Where it is, `Class.method` or `function`.
        removed: The statement that it changes, each line without its margin.
        added: What it makes of it.
        is_wording: See `mutation.wording`.
        result: mutmut's number for what became of it, None before it was run.
    """

    name: str
    function: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    is_wording: bool
    result: int | None

    @property
    def key(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What is the same of it in every run."""
        return self.function, self.removed, self.added


def lines_of(function: ast.AST) -> list[str]:
    """Return *function* with one line for each statement, without margins."""
    return [line.strip() for line in ast.unparse(function).splitlines()]


def results_path(mutated: Path) -> Path:
    """Return where mutmut keeps the results of the file *mutated*."""
    return mutated.with_name(mutated.name + ".meta")


def mutants_of(mutated: Path) -> list[Mutant]:
    """Return the mutants in *mutated*, a file that mutmut has made."""
    results = json.loads(results_path(mutated).read_text())["exit_code_by_key"]
    by_name = {name.rpartition(".")[2]: name for name in results}
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(mutated.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found = []
    for name, node in functions.items():
        match = _GENERATED.fullmatch(name)
        if match is None or match["number"] == "orig":
            continue
        whole = by_name[name]
        original = functions[match["function"] + "__mutmut_orig"]
        original.name = node.name = re.split("ǁ|^x_", match["function"])[-1]
        removed, added = _difference(lines_of(original), lines_of(node))
        found.append(
            Mutant(
                whole,
                match["function"].removeprefix("x_").removeprefix("xǁ").replace("ǁ", "."),
                removed,
                added,
                unworded(original) == unworded(node),
                results[whole],
            )
        )
    return found


def _difference(old: list[str], new: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    changes = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
    return (
        tuple(line[2:] for line in changes if line[0] == "-"),
        tuple(line[2:] for line in changes if line[0] == "+"),
    )
