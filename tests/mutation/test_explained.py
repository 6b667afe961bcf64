"""The list of explained mutants speaks of the code as it is. Running the mutants is `make mutation`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutation.explained import explained
from mutation.files import FILES, ROOT, SOURCE
from mutation.mutants import lines_of
from mutation.wording import unworded


def functions(tree: ast.AST, prefix: str = "") -> dict[str, ast.AST]:
    """Return every function that mutmut may mutate, by its name as the list writes it."""
    found: dict[str, ast.AST] = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[prefix + node.name] = node
        elif isinstance(node, ast.ClassDef) and not prefix:
            found |= functions(node, f"{node.name}.")
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_explained_mutant_changes_a_statement_that_is_there(file: str) -> None:
    known = functions(ast.parse((ROOT / SOURCE / file).read_text(encoding="utf-8")))

    for function, removed, _ in explained().get(file, {}):
        statements = lines_of(known[function])
        assert not [line for line in removed if line not in statements], function


def test_no_other_file_is_explained() -> None:
    assert explained().keys() <= FILES.keys()


@pytest.mark.parametrize("file", FILES)
def test_the_files_and_their_tests_are_there(file: str) -> None:
    assert (ROOT / SOURCE / file).is_file()
    assert all((ROOT / "tests" / test).exists() for test in FILES[file])


def test_every_module_that_decides_is_mutated() -> None:
    schemes = {f"schemes/{path.name}" for path in Path(ROOT, SOURCE, "schemes").glob("[!_]*.py")}

    assert schemes | {"keys.py", "authenticator.py", "owed.py"} <= FILES.keys()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("raise AuthError('expired', detail='a')", "raise AuthError('expired', detail=None)", True),
        ("raise AuthError('expired', detail='a')", "raise AuthError('expired')", True),
        ("raise AuthError('expired', detail='a')", "raise AuthError('revoked', detail='a')", False),
        ("raise AuthError('expired', cause='a')", "raise AuthError('expired', cause='b')", False),
        ("raise ValueError('a')", "raise ValueError(None)", True),
        ("raise ValueError('a')", "raise TypeError('a')", False),
        ("trace.note('form', 'a')", "trace.note('form', None)", True),
        ("trace.note('form', 'a')", "trace.note('FORM', 'a')", False),
        ("trace.note('form', 'a')", "trace.note('form')", False),
        ("trace.time('iat', 1, 'a')", "trace.time('iat', 2, 'a')", False),
        ("text.encode('utf-8')", "text.encode('UTF-8')", True),
        ("text.encode('utf-8')", "text.encode('ascii')", False),
    ],
)
def test_wording_is_what_people_read_and_nothing_else(one: str, other: str, same: bool) -> None:
    assert (unworded(ast.parse(one)) == unworded(ast.parse(other))) is same
