"""A project is laid over its preset before it is checked, and every problem is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rpcguard.errors import ConfigError
from rpcguard.registry import composer, validate
from rpcguard.registry.merge import examine, load_models
from rpcguard.registry.presets import shipped

OWN = """
schemes: [signature]
window_unknown: 1
signature:
  headers: {pubkey: X-P, signature: X-S, timestamp: X-T, nonce: X-N}
  encoding: base58
  default_version: "1"
  versions: {"1": {payload: "{timestamp}:{nonce}"}}
  timestamp: "[0-9]+"
  window: 30s
  nonce: "[0-9]+"
"""


def test_every_shipped_preset_can_be_chosen(look_at: Any) -> None:
    assert shipped()
    lines = "\n".join(f"  p{n}: {{preset: {name}}}" for n, name in enumerate(shipped()))
    found = look_at(f"version: 1\nprojects:\n{lines}")
    assert found.problems == ()
    assert all(project.schemes for project in found.registry.projects.values())


def test_mappings_merge_and_all_else_replaces(look_at: Any, write: Any) -> None:
    write("own.yaml", OWN.replace("window_unknown: 1", "required: [exp, sub]\nleeway: 5s"))
    found = look_at(
        "version: 1\nprojects:\n  p:\n    preset: own.yaml\n    required: [iat]\n"
        "    signature: {window: 60s, headers: {nonce: X-Once},"
        " versions: {'2': {payload: '{method}'}}}"
    )
    assert found.problems == ()
    project = found.registry.projects["p"]
    assert (project.required, project.leeway, project.schemes) == (["iat"], 5.0, ["signature"])
    assert (project.signature.window, project.signature.encoding) == (60.0, "base58")
    assert (project.signature.headers.pubkey, project.signature.headers.nonce) == ("X-P", "X-Once")
    assert sorted(project.signature.versions) == ["1", "2"]


def test_a_null_over_a_preset_is_not_silently_its_absence(look_at: Any) -> None:
    found = look_at("version: 1\nprojects:\n  p: {preset: nodius, signature: }")
    assert [(p.key, p.line) for p in found.problems] == [("projects.p.signature", 3)]


def test_a_problem_points_to_the_file_that_it_comes_from(look_at: Any, write: Any) -> None:
    own = write("presets/own.yaml", OWN.replace("window: 30s", "window: 0"))
    found = look_at(
        "version: 1\nprojects:\n  p:\n    preset: ./presets/own.yaml\n    signature: {nonce: []}"
    )
    registry = str(own.parent.parent / "registry.yaml")
    assert [(p.file, p.line, p.key) for p in found.problems] == [
        (registry, 5, "projects.p.signature.nonce"),
        (str(own), 3, "projects.p.window_unknown"),
        (str(own), 10, "projects.p.signature.window"),
    ]


def test_a_preset_that_two_projects_choose_is_complained_of_once(look_at: Any, write: Any) -> None:
    write("own.yaml", OWN)
    found = look_at("version: 1\nprojects: {p: {preset: own.yaml}, q: {preset: own.yaml}}")
    assert [p.key for p in found.problems] == ["projects.p.window_unknown"]


@pytest.mark.parametrize("key", ["preset", "match", "id", "secrets", "keys", "api_keys"])
def test_what_belongs_to_a_project_is_refused_in_a_preset(
    look_at: Any, write: Any, key: str
) -> None:
    write("own.yaml", f"schemes: [jwt]\n{key}: []")
    found = look_at("version: 1\nprojects: {p: {preset: own.yaml}}")
    assert "belongs to a project, not into a preset" in [p.message for p in found.problems]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("[a]", "expected a mapping, found a list"),
        ("a: [", "not YAML: "),
        ("schemes: [jwt]\nschemes: [jwt]", "duplicate key, first on line 1"),
        (b"\xff", "not UTF-8 text"),
    ],
)
def test_a_preset_file_that_cannot_be_used_is_told(
    look_at: Any, write: Any, tmp_path: Path, content: Any, message: str
) -> None:
    if content is not None:
        write("own.yaml", content)
    found = look_at("version: 1\nprojects: {p: {preset: own.yaml}}")
    (problem,) = found.problems
    assert problem.message.startswith(message)
    assert problem.file == str(tmp_path / "own.yaml")
    assert str(tmp_path / "own.yaml") in found.files


def test_an_unknown_preset_is_told_with_those_there_are(look_at: Any) -> None:
    (problem,) = look_at("version: 1\nprojects: {p: {preset: meganod}}").problems
    assert "did you mean meganode?" in problem.message
    assert ", ".join(shipped()) in problem.message
    assert problem.key == "projects.p.preset"


@pytest.mark.parametrize(
    "name", ["../presets/bearer", "bearer.yml", "/etc/passwd", "BEARER", "${env:P}"]
)
def test_a_preset_is_chosen_by_its_exact_name(look_at: Any, name: str) -> None:
    found = look_at(f"version: 1\nprojects: {{p: {{preset: '{name}'}}}}", P="bearer")
    assert [p.message.startswith("no such preset") for p in found.problems] == [True]


@pytest.mark.parametrize(("name", "message"), [
    ("missing.yaml", "no such file"), ("directory", "a directory"), ("a\0b", "not a file name"),
    ("x" * 300, "the name is too long"),
])  # fmt: skip
def test_a_registry_that_cannot_be_read_is_a_config_error(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(ConfigError) as error:
        load_models(tmp_path / name, {})
    assert str(error.value).endswith(message)
    assert error.value.files == (str(tmp_path / name),)


def test_a_registry_of_more_than_16_mib_is_not_read(write: Any) -> None:
    path = write("registry.yaml", b"#" * ((16 << 20) + 1))
    assert [p.message for p in examine(path, {}).problems] == ["larger than 16384 KiB"]


EVERYTHING = """\
version: 1
projects:
  a:
    preset: meganode
    leeway: 1000
    leeway: 5
    secrets:
      - {id: x, secret: "${env:MISSING}"}
      - {id: y, secret: "${file:missing}"}
      - {id: z, secret: !!binary aHVudGVyMg==}
      - {id: v, secret: hunter2, not_before: 2027-01-01T00:00:00Z, not_after: 2026-01-01T00:00:00Z}
  b:
    preset: allthatnode
    match: {path: /b, hots: h}
    keys:
      - {kid: a}
      - {kid: b, public_key: "${env:PEM}"}
      - {public_key: x}
    algoritms: [RS256]
  c: {preset: nope}
  d: {preset: bearer, max_keys: many}
"""


def test_every_kind_of_problem_is_told_at_once_in_the_order_of_the_file(look_at: Any) -> None:
    found = look_at(EVERYTHING, PEM="-----BEGIN")
    assert [(p.line, p.key.removeprefix("projects.")) for p in found.problems] == [
        (5, "a.leeway"), (6, "a.leeway"), (8, "a.secrets[0].secret"), (9, "a.secrets[1].secret"),
        (10, "a.secrets[2].secret"), (11, "a.secrets[3].not_after"), (14, "b.match.hots"),
        (16, "b.keys[0]"), (18, "b.keys[2].kid"), (19, "b.algoritms"), (20, "c.preset"),
        (21, "d.max_keys"),
    ]  # fmt: skip


def test_what_is_right_remains_with_the_places_that_it_has_in_the_file(look_at: Any) -> None:
    found = look_at(EVERYTHING + "  e: {preset: bearer}\n", PEM="-----BEGIN")
    registry = found.registry
    assert list(registry.projects) == ["a", "b", "d", "e"]
    assert registry.projects["a"].secrets == []
    assert [key.kid for key in registry.projects["b"].keys] == ["b"]
    assert registry.projects["b"].match.path == ["/b"]
    assert found.damaged == {"a", "b", "d"}
    problem = found.places(("projects", "b", "keys", 0, "public_key"), "a weak key")
    assert (problem.line, problem.key) == (17, "projects.b.keys[1].public_key")
    assert not problem.warning


def test_rules_between_fields_are_told_together_with_wrong_fields(complaints: Any) -> None:
    found = complaints(
        "session: {secret: a, secrets: [{id: a, secret: b}], ttl: never}\nleeway: never\n"
        "keys: [{kid: a}, {kid: b, alg: none, public_key: x}]"
    )
    assert sorted(line.split(":")[0] for line in found) == [
        "keys[0]", "keys[1].alg", "leeway", "session.secret", "session.ttl",
    ]  # fmt: skip


def test_what_was_left_out_is_not_called_missing(complaints: Any) -> None:
    assert complaints("signature: {headers: {pubkey: 'x y'}, window: 0}", "nodius") == [
        "signature.headers.pubkey: expected the name of an HTTP header (RFC 9110)",
        "signature.window: must be more than 0",
    ]


def test_a_mapping_that_lost_a_refused_key_is_not_called_incomplete(complaints: Any) -> None:
    assert complaints(
        "keys:\n  - <<: {kid: a}\n    public_key: x\n  - {? [kid] : b, secret: x}"
    ) == [
        "keys[0]: merge keys (<<) are not supported",
        "keys[1]: a key must be text",
    ]


def test_problems_are_bounded(look_at: Any) -> None:
    lines = "\n".join(f"  p{n}: {{preset: bearer, x: y}}" for n in range(1500))
    found = look_at(f"version: 1\nprojects:\n{lines}")
    assert len(found.problems) == composer.MAX_PROBLEMS
    assert found.registry is None


def test_places_tell_where_a_value_stands_or_what_is_nearest(look_at: Any, tmp_path: Path) -> None:
    found = look_at(
        "version: 1\nprojects:\n  p:\n    preset: nodius\n    match: {path: /a}\n    wallets:\n"
        "      - {pubkey: x}\n      - {pubkey: y}\n"
    )

    def place(*loc: Any) -> tuple[int, int, str]:
        problem = found.places(loc, "m", warning=True)
        assert problem.warning
        return problem.line, problem.column, problem.key

    assert place() == (1, 1, "")
    assert place("projects", "p") == (3, 3, "projects.p")
    assert place("projects", "p", "match", "path", 0) == (5, 19, "projects.p.match.path")
    assert place("projects", "p", "wallets") == (6, 5, "projects.p.wallets")
    assert place("projects", "p", "wallets", 1) == (8, 9, "projects.p.wallets[1]")
    assert place("projects", "p", "wallets", 1, "pubkey") == (8, 18, "projects.p.wallets[1].pubkey")
    assert place("projects", "p", "wallets", 1, "name") == (8, 9, "projects.p.wallets[1].name")
    assert place("projects", "p", "keys", 3, "kid") == (3, 3, "projects.p.keys[3].kid")
    in_preset = found.places(("projects", "p", "signature", "window"), "m")
    assert in_preset.file.endswith("presets/nodius.yaml")
    assert in_preset.line > 1


def test_a_path_is_shown_as_it_was_given(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("registry.yaml", "version: 2")
    monkeypatch.chdir(path.parent)
    found = examine(Path("registry.yaml"), {})
    assert {problem.file for problem in found.problems} == {"registry.yaml"}
    assert found.files == (str(path),)


@pytest.mark.timeout(60)
def test_ten_thousand_keys_load(look_at: Any) -> None:
    keys = "\n".join(f"      - {{kid: k{n}, alg: ES256, public_key: x}}" for n in range(10_000))
    found = look_at(f"version: 1\nprojects:\n  p:\n    preset: bearer\n    keys:\n{keys}")
    assert found.problems == ()
    assert len(found.registry.projects["p"].keys) == 10_000


def test_a_mistake_that_pydantic_tells_in_new_words_is_told_without_them() -> None:
    assert (
        validate._message("brand_new", {"input": "hunter2"}, None) == "not acceptable (brand_new)"
    )


def test_leaving_out_ends(look_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_ROUNDS", 1)
    found = look_at("version: 1\nprojects: {p: {preset: bearer, leeway: never}}")
    assert (found.registry, len(found.problems)) == (None, 1)
