"""YAML becomes located texts, and what two readers could read in two ways is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from rpcguard.registry import composer
from rpcguard.registry.expand import Expander
from rpcguard.registry.files import Reading
from rpcguard.registry.nodes import Items, Mapping, Node, Text, show
from rpcguard.registry.reader import Document, parse

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def read(request: pytest.FixtureRequest) -> Any:
    """Return a reader of text or bytes, once for each of PyYAML's parsers."""

    def read(text: str | bytes) -> Document:
        data = text if isinstance(text, bytes) else text.encode()
        return parse(data, "f.yaml", request.param)

    return read


def plain(node: Node) -> Any:
    if isinstance(node, Text):
        return node.text
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.entries.items()}
    assert isinstance(node, Items)
    return [plain(item) for item in node.items]


def complaints(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    "text",
    [
        "0123",
        "off",
        "no",
        "YES",
        "12:30:45",
        "2026-11-01",
        "1_000",
        "1e5",
        "0x1F",
        ".inf",
        "-0",
        "1.0",
        "Off",
        "=",
        "0b1",
        "2026-12-01T00:00:00Z",
        "54_26",
        "+12",
        ".nan",
        "NaN",
    ],
)
def test_a_scalar_stays_the_text_that_was_written(read: Any, text: str) -> None:
    assert plain(read(f"a: {text}\nb: [{text}]\nc: '{text}'").root) == {
        "a": text,
        "b": [text],
        "c": text,
    }


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL", "!!null ''"])
def test_an_explicit_or_empty_null_is_null(read: Any, text: str) -> None:
    assert plain(read(f"a: {text}\nb: x").root) == {"a": None, "b": "x"}


@pytest.mark.parametrize(("text", "value"), [
    ("''", ""), ('"~"', "~"), ("'null'", "null"), ("!!str null", "null"), ("! ~", "~"),
    ("!!int 007", "007"), ("!!bool yes", "yes"), ("!!float 1", "1"), ('"\\u00e9\\n"', "é\n"),
])  # fmt: skip
def test_quotes_and_core_tags_make_text(read: Any, text: str, value: str) -> None:
    document = read(f"a: {text}")
    assert document.problems == ()
    assert plain(document.root) == {"a": value}


def test_every_node_knows_its_line_and_column_from_one(read: Any) -> None:
    root = read("é: 1\nprojects:\n  p: {kid: a,\n    keys: [x,  y]}\n").root
    project = root.entries["projects"].entries["p"]
    assert project.place == ("f.yaml", 3, 6)
    assert project.entries["kid"].place == ("f.yaml", 3, 12)
    assert project.keys["keys"] == ("f.yaml", 4, 5)
    assert project.entries["keys"].items[1].place == ("f.yaml", 4, 16)
    assert root.entries["é"].place == ("f.yaml", 1, 4)


def test_a_byte_order_mark_at_the_start_is_skipped(read: Any) -> None:
    document = read(b"\xef\xbb\xbfa: b")
    assert plain(document.root) == {"a": "b"}
    assert document.root.keys["a"] == ("f.yaml", 1, 1)


@pytest.mark.parametrize(("text", "expected"), [
    ("a: 1\nb: 2\na: 3", "f.yaml:3:1: a: duplicate key, first on line 1"),
    ("p:\n  q: [{k: 1, k: 2}]", "f.yaml:2:14: p.q[0].k: duplicate key, first on line 2"),
    ("p: {<<: {a: b}}", "f.yaml:1:5: p: merge keys (<<) are not supported"),
    ("p:\n  ? [a, b]\n  : c", "f.yaml:2:5: p: a key must be text"),
    ("p: {{a: b}: c}", "f.yaml:1:5: p: a key must be text"),
    ("a: &x b\np:\n  *x : c", "f.yaml:3:3: p: a key must be text, not an alias"),
    ("p:\n  ?\n  : c", "f.yaml:2:4: p: an empty key"),
    ("p:\n  '': c", "f.yaml:2:3: p: an empty key"),
    ("p: !!python/object/apply:os.system [id]", "f.yaml:1:4: p: tags are not supported"),
    ("p: !!python/name:os.system", "f.yaml:1:4: p: tags are not supported"),
    ("!!python/name:os.system p: x", "f.yaml:1:1: tags are not supported"),
    ("p: !hunter2", "f.yaml:1:4: p: tags are not supported"),
    ("p: !!binary aGk=", "f.yaml:1:4: p: tags are not supported"),
    ("p: !!set {a}", "f.yaml:1:4: p: tags are not supported"),
    ("p: !!timestamp 2026-01-01", "f.yaml:1:4: p: tags are not supported"),
    ("p: !!map x", "f.yaml:1:4: p: tags are not supported"),
    ("p: !!str [x]", "f.yaml:1:4: p: tags are not supported"),
    ("p: *hunter2", "f.yaml:1:4: p: no such anchor"),
    ("p: &a [*a]", "f.yaml:1:8: p[0]: an alias inside the value that it names"),
    ("p: &a\n  q: {r: *a}", "f.yaml:2:10: p.q.r: an alias inside the value that it names"),
    ("a: b\n---\nc: d", "f.yaml:2:1: a second document"),
    ("- a", "f.yaml:1:1: expected a mapping, found a list"),
    ("a", "f.yaml:1:1: expected a mapping, found text"),
    ("", "f.yaml:1:1: empty"),
    ("# nothing\n", "f.yaml:1:1: empty"),
    (b"a: b\n\xff: c", "f.yaml:2: not UTF-8 text"),
    ("a: b".encode("utf-16"), "f.yaml:1: not UTF-8 text"),
    ("a: b".encode("utf-16-le"), "f.yaml:1:2: a control character"),
    (b"a: b\nc: d\x00e", "f.yaml:2:5: a control character"),
    ("a: \x1b[31m", "f.yaml:1:4: a control character"),
    ("é: \x7f", "f.yaml:1:4: a control character"),
    ("a: \ufeffb", "f.yaml:1:4: a control character"),
    ("a: \ufffe", "f.yaml:1:4: a control character"),
    ("a: [b", "f.yaml:"),
    ("a: 'hunter2", "f.yaml:"),
    ("a: b: c", "f.yaml:1:5: not YAML: "),
    ("a: @hunter2", "f.yaml:1:4: not YAML: "),
    ('a: "\\hunter2"', "f.yaml:1:"),
    ('a: "\\ud800"', "f.yaml:1:"),
    ("a: !e!hunter2 x", "f.yaml:1:4: not YAML: "),
    ("%HUNTER2 x\n--- \na: [", "f.yaml:"),
])  # fmt: skip
def test_what_is_refused_is_named_with_its_place_and_without_its_value(
    read: Any, text: str | bytes, expected: str
) -> None:
    found = complaints(read(text))
    assert len(found) == 1
    assert found[0].startswith(expected)
    assert "hunter2" not in found[0].lower()


def test_as_many_problems_as_possible_are_named_at_once(read: Any) -> None:
    found = complaints(read("a: 1\na: !x y\nb: {<<: *z, c: {d: 1, d: 2}}\n? [k]\n: *y\ne: 'open"))
    assert [line.split(": ")[0] for line in found[:-1]] == [
        "f.yaml:2:1",
        "f.yaml:2:4",
        "f.yaml:3:5",
        "f.yaml:3:9",
        "f.yaml:3:23",
        "f.yaml:4:3",
        "f.yaml:5:3",
    ]
    assert "not YAML" in found[-1]


def test_a_refused_key_takes_its_value_with_it_and_leaves_the_rest(read: Any) -> None:
    root = read("a: 1\na: {x: [y]}\n? {k: v}\n: [1, 2]\n<<: *a\nb: 2").root
    assert plain(root) == {"a": "1", "b": "2"}
    assert root.faulty


def test_aliases_give_the_same_value_again(read: Any) -> None:
    document = read("a: &p {methods: [eth_call]}\nb: *p\nc: [&s x, *s]")
    assert document.problems == ()
    policy = {"methods": ["eth_call"]}
    assert plain(document.root) == {"a": policy, "b": policy, "c": ["x", "x"]}


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [" + ", ".join(["lol"] * width) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.timeout(30)
def test_an_alias_bomb_is_refused(read: Any) -> None:
    found = complaints(read(bomb(9, 9)))
    assert len(found) == 1
    assert found[0].endswith(f"aliases add more than {composer.MAX_ALIASED} values")


def test_aliases_cannot_nest_deeper_than_brackets(read: Any) -> None:
    levels = "\n".join(f"a{n}: &a{n} [[[[*a{n - 1}]]]]" for n in range(1, 50))
    (found,) = complaints(read("a0: &a0 []\n" + levels))
    assert found.endswith(f"nested deeper than {composer.MAX_DEPTH} levels")


def test_a_shared_policy_on_ten_thousand_keys_is_no_bomb() -> None:
    keys = "\n".join(f"  - {{kid: k{n}, allow: *p}}" for n in range(10_000))
    assert parse(f"a: &p {{methods: [eth_call]}}\nkeys:\n{keys}".encode(), "f.yaml").problems == ()


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? ", "[{a: ", "{"])
@pytest.mark.timeout(30)
def test_a_hundred_thousand_levels_do_not_end_the_interpreter(read: Any, unit: str) -> None:
    found = complaints(read("x:\n  " + unit * 100_000))
    assert len(found) == 1 or unit in {"? ", "{", "[{a: "}
    assert found[-1].endswith(f"nested deeper than {composer.MAX_DEPTH} levels")


def test_the_deepest_tree_that_is_read_can_be_expanded(read: Any) -> None:
    levels = composer.MAX_DEPTH - 1
    document = read("x: " + "[" * levels + "]" * levels)
    assert document.problems == ()
    assert Expander({}, Reading()).plain(document.root)


def test_a_file_with_too_many_values_is_refused() -> None:
    text = b"x: [" + b"a," * composer.MAX_VALUES + b"]"
    assert [p.message for p in parse(text, "f").problems] == [
        f"more than {composer.MAX_VALUES} values"
    ]


def test_problems_are_bounded() -> None:
    text = b"a: 1\n" * 10_000
    assert len(parse(text, "f").problems) == composer.MAX_PROBLEMS


def test_the_c_parser_is_not_asked_to_recurse() -> None:
    """`yaml.compose` on this file ends the interpreter; this one must come back with an error."""
    code = (
        "from rpcguard.registry.reader import parse\n"
        "print(len(parse(b'x: ' + b'[' * 1000000, 'f').problems))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1")


@pytest.mark.parametrize(("path", "shown"), [
    ((), ""), (("projects", "bsc", "secrets", 0, "secret"), "projects.bsc.secrets[0].secret"),
    (("a\x1b[31m\n",), "a…"), (("k" * 100,), "kkkkkkkk…"), ((0, "a"), "[0].a"), (("",), "…"),
    (("X-Http-Path",), "X-Http-Path"), (("/payouts/withdraw",), "/payouts/withdraw"), (("é",), "…"),
    (('secret:"0123"',), "secret…"), (("k" * 31,), "k" * 31), (("k" * 32,), "kkkkkkkk…"),
])  # fmt: skip
def test_a_path_of_keys_is_shown_so_that_a_log_can_hold_it(path: Any, shown: str) -> None:
    assert show(path) == shown
