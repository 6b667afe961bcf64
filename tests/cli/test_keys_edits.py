"""Edits of a registry's text change what they are meant to change, and not one character else."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rpcguard.cli.keys.edits import LayoutError, added, removed

ENTRY = {"kid": "new", "name": "it's: #1", "public_key": "${file:keys/new.pub.pem}"}
MEMBERS = st.sampled_from(["keys", "secrets", "api_keys"])


def meaning(text: str):
    """What another reader of YAML takes *text* for."""
    return yaml.load(text.lstrip("\ufeff"), Loader=yaml.CBaseLoader)


def is_within(part: str, whole: str) -> bool:
    """Whether *part* is *whole* with some characters left out."""
    rest = iter(whole)
    return all(character in rest for character in part)


class Text:
    """Grows a registry in a layout that hypothesis chooses, and remembers its comments."""

    def __init__(self, draw, letter: str) -> None:
        self.draw = draw
        self.letter = letter
        self.count = 0
        self.own: dict[str, int] = {}  # comments that stand on the lines of one entry

    def maybe(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def comment(self, index: int | None = None) -> str:
        if self.pick(True, False, False):
            self.count += 1
            if index is not None:
                self.own[f"c{self.count}{self.letter}"] = index
            return f"{self.pick(' ', '   ', chr(9))}# c{self.count}{self.letter} ü, [x], {{y}}: 'z"
        return ""

    def scalar(self, text: str) -> str:
        return self.pick(text, f"'{text}'", f'"{text}"')

    def pairs(self, number: int) -> list[str]:
        pairs = [f"kid: {self.scalar(f'k{number}')}", f"name: {self.scalar(f'nämé {number}')}"]
        if self.maybe():
            pairs.append(f"allow: {{methods: [a{number}, 'b']}}")
        return pairs[: self.pick(1, 2, 3)]

    def flow_entry(self, number: int) -> str:
        return "{" + self.pick(", ", ",  ").join(self.pairs(number)) + self.pick("", ",", " ") + "}"

    def entries(self, count: int, indent: str) -> list[str]:
        """The lines of a block sequence; what follows the first of them belongs to the entry."""
        lines = []
        gap = self.pick(" ", "   ")
        for number in range(count):
            if self.pick(True, False, False):
                lines.append(self.pick("", f"{indent}# about {number}", "#at the margin"))
            anchor = self.pick("", "", f"&e{number}{self.letter} ")
            if self.maybe():
                entry = f"{indent}-{gap}{anchor}{self.flow_entry(number)}"
                lines.append(entry + self.comment(number))
                continue
            pairs = self.pairs(number)
            if self.maybe():
                pairs.append(f"public_key: |{self.pick('', '-')}")
            deep = indent + " " + " " * len(gap)
            if anchor:
                lines.append(f"{indent}-{gap}{anchor.rstrip()}")
                lines += [f"{deep}{pair}" for pair in pairs]
            else:
                lines.append(f"{indent}-{gap}{pairs[0]}")
                lines += [f"{deep}{pair}" for pair in pairs[1:]]
            if pairs[-1].startswith("public_key"):
                lines += [f"{deep}  -----BEGIN {number}-----", f"{deep}  -----END-----"]
            else:
                lines[-1] += self.comment(number)
        return lines

    def flow_list(self, count: int, indent: str, *, one_line: bool) -> list[str]:
        entries = [self.flow_entry(number) for number in range(count)]
        trailing = self.pick("", ",")
        if one_line or not count or self.maybe():
            inner = self.pick(", ", ",").join(entries) + (trailing if count else "")
            blank = self.pick("", " ")
            return [f"[{blank}{inner}{blank}]"]
        lines = ["["]
        for number, entry in enumerate(entries):
            comma = "," if number < count - 1 else trailing
            lines.append(f"{indent}  {entry}{comma}{self.comment(number)}")
        return [*lines, f"{indent}]"]

    def project(self, name: str, member: str, count: int | None, indent: str) -> list[str]:
        """The lines of a project with *count* entries; None leaves the list out."""
        before = [f"preset: {self.scalar('bearer')}", "match: {path: [/a, '/b']}"]
        after = [f"issuer: {self.scalar('https://id.example.com')}"]
        if self.pick(True, False, False):
            whole = list(before)
            if count is not None:
                whole.append(f"{member}: {self.flow_list(count, '', one_line=True)[0]}")
            whole += after if self.maybe() else []
            return [f"{indent}{name}: {{{', '.join(whole)}}}{self.comment()}"]
        deep = indent + self.pick("  ", "    ")
        lines = [f"{indent}{name}:{self.pick('', f' &p-{name}')}{self.comment()}"]
        lines += [f"{deep}{line}{self.comment()}" for line in before]
        if count is not None:
            head = f"{deep}{member}:"
            anchor = self.pick("", "", f" &l-{name}")
            if count and self.maybe():
                lines.append(f"{head}{anchor}{self.comment()}")
                lines += self.entries(count, deep + self.pick("", "  "))
            else:
                first, *rest = self.flow_list(count, deep, one_line=False)
                lines += [f"{head}{anchor} {first}", *rest]
                lines[-1] += self.comment()
        if self.maybe():
            lines += [f"{deep}{line}{self.comment()}" for line in after]
        if self.maybe():
            lines.append(f"{indent}# below {name}")
        return lines


@st.composite
def registries(draw, least: int):
    """A text, the list to edit, the number of its entries, and the comments on their lines."""
    text = Text(draw, "b")
    member = draw(MEMBERS)
    counts = [None, 0, 1, 2, 4] if least == 0 else [1, 2, 4]
    count = text.pick(*counts)
    lines = [*text.pick([], ["---"], ["# head"]), "version: 1" + text.comment(), "projects:"]
    for name in ("a", "b", "c"):
        mine = name == "b"
        text_of = text if mine else Text(draw, name)
        lines += text_of.project(name, member, count if mine else text.pick(None, 0, 2), "  ")
        lines += text.pick([], [""], ["  # between"])
    lines += text.pick([], ["backend: memory://"], ["..."])
    joined = text.pick("\n", "\r\n", "\n", "\r").join(lines)
    ending = text.pick("", "\n") if "\r" not in joined else text.pick("", "\r\n")
    return joined + ending, member, count, text.own


@given(registries(0))
def test_an_entry_is_added_and_nothing_else_changes(case):
    text, member, _, _ = case
    before = meaning(text)
    after = added(text, "b", member, ENTRY)

    assert is_within(text, after)
    project = before["projects"]["b"]
    project[member] = [*project.get(member, []), ENTRY]
    assert meaning(after) == before
    inserted = len(after) - len(text)
    assert inserted < 250
    if "\r" in text and "\n" in text:
        assert not re.search(r"(?<!\r)\n", after)


@given(registries(1), st.data())
def test_an_entry_is_removed_and_the_others_keep_their_comments(case, data):
    text, member, count, own = case
    index = data.draw(st.integers(0, count - 1))
    before = meaning(text)
    after = removed(text, "b", member, index)

    del before["projects"]["b"][member][index]
    assert meaning(after) == before
    assert before["projects"]["b"][member] is not None
    assert is_within(after.replace(" []", "") if count == 1 else after, text)
    comments = set(re.findall(r"c\d+[abc]", text))
    gone = comments - set(re.findall(r"c\d+[abc]", after))
    assert all(own.get(comment) == index for comment in gone)
    assert all(f"# {note}" in after for note in re.findall(r"# (about \d)", text))


@given(registries(0))
def test_what_was_added_can_be_removed_again(case):
    text, member, count, _ = case
    there = added(text, "b", member, ENTRY)
    back = removed(there, "b", member, count or 0)

    expected = meaning(text)
    expected["projects"]["b"].setdefault(member, [])
    assert meaning(back) == expected


HEAD = "version: 1\nprojects:\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  b:\n    preset: x", "  b:\n    preset: x\n    keys:\n      - {kid: new}"),
        ("  b:\n    keys:\n", "  b:\n    keys: [{kid: new}]\n"),
        ("  b:\n    keys: ~ # none\n", "  b:\n    keys: [{kid: new}] # none\n"),
        ("  b:\n    keys: [] # none\n", "  b:\n    keys: [{kid: new}] # none\n"),
        ("  b: {keys: [{kid: a}]}\n", "  b: {keys: [{kid: a}, {kid: new}]}\n"),
        (
            "  b:\n    keys:\n    - kid: a # A\n      name: n # N\n    # end\n",
            "  b:\n    keys:\n    - kid: a # A\n      name: n # N\n    - kid: new\n    # end\n",
        ),
        (
            "  b:\n    keys: [\n      {kid: a}  # A\n    ]\n",
            "  b:\n    keys: [\n      {kid: a},  # A\n      {kid: new}\n    ]\n",
        ),
        (
            "  b:\n    keys: [\n      {kid: a},\n    ]\n",
            "  b:\n    keys: [\n      {kid: a},\n      {kid: new},\n    ]\n",
        ),
    ],
)
def test_an_added_entry_looks_like_its_neighbours(text, expected):
    assert added(HEAD + text, "b", "keys", {"kid": "new"}) == HEAD + expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  b:\n    keys: # K\n      - {kid: a} # A\n", "  b:\n    keys: [] # K\n"),
        ("  b:\n    keys: &k\n    - kid: a\n", "  b:\n    keys: &k []\n"),
        ("  b:\n    keys: [{kid: a}]\n", "  b:\n    keys: []\n"),
        ("  b: {keys: [{kid: a}, {kid: c}]}", "  b: {keys: [{kid: c}]}"),
    ],
)
def test_the_first_entry_goes_with_its_line(text, expected):
    assert removed(HEAD + text, "b", "keys", 0) == HEAD + expected


@pytest.mark.parametrize(
    "text",
    [
        "  a:\n    keys: &k [{kid: a}]\n  b:\n    keys: *k\n",
        "  b:\n    keys: &k\n      - {kid: a}\n  c:\n    keys: *k\n",
        "  a: &p\n    keys: [{kid: a}]\n  b: *p\n",
        "  b:\n    keys:\n      - &e {kid: a}\n  c:\n    keys: [*e]\n",
    ],
    ids=["an alias", "another's alias", "the project is an alias", "an entry that others alias"],
)
def test_a_list_that_stands_in_two_places_is_not_edited(text):
    with pytest.raises(LayoutError):
        removed(HEAD + text, "b", "keys", 0)
    if "&e" not in text:
        with pytest.raises(LayoutError):
            added(HEAD + text, "b", "keys", {"kid": "new"})


@pytest.mark.parametrize(
    "text",
    [
        "  b:\n    keys: {kid: a}\n",
        "  b:\n    ? preset\n    : x\n",
        "  b:\n    keys:\n      -\n        # why\n        kid: a\n    x: &k [a]\n",
    ],
    ids=["no list", "an explicit key", "an entry below its dash"],
)
def test_what_is_laid_out_unusually_is_edited_rightly_or_not_at_all(text):
    try:
        after = added(HEAD + text, "b", "keys", {"kid": "new"})
    except LayoutError:
        return
    wanted = meaning(HEAD + text)
    wanted["projects"]["b"].setdefault("keys", []).append({"kid": "new"})
    assert meaning(after) == wanted


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "~",
        "1e5",
        "0x10",
        "2026-11-01",
        "yes",
        "a: b",
        "a #b",
        "'",
        '"',
        "*a",
        "é",
        "-",
        "a,b]}",
        " a ",
    ],
)
def test_a_value_is_quoted_where_it_could_be_read_as_something_else(value):
    text = added(f"{HEAD}  b: {{preset: x}}\n", "b", "keys", {"kid": value})
    assert meaning(text)["projects"]["b"]["keys"] == [{"kid": value}]
    assert yaml.safe_load(text)["projects"]["b"]["keys"] == [{"kid": value}]


def test_a_value_that_yaml_cannot_hold_is_refused():
    with pytest.raises(LayoutError):
        added(f"{HEAD}  b: {{preset: x}}\n", "b", "keys", {"kid": "\udcff"})
