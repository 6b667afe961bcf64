"""Whatever the file says, it loads or it is a ConfigError; and no error shows what was in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rpcguard.errors import ConfigError
from rpcguard.registry.merge import examine, load_models
from rpcguard.registry.reader import parse

VALID = b"""\
version: 1
backend: memory://
trusted_proxies: [10.0.0.0/8, unix]
bounds: {max_body: 1MiB}
projects:
  bsc: &p
    preset: meganode
    match: {path: [/v1/]}
    secrets: [{id: a, secret: "${env:A}", not_after: 2026-12-01T00:00:00Z}]
  sol: {preset: nodius, match: {host: h}, wallets: [{pubkey: x, allow: {methods: [a]}}]}
  pay: {preset: oppiwallet, match: {path: /p}, digest_fields: {/p: [a]}}
"""
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
SETTINGS = settings(max_examples=150, suppress_health_check=QUIET)


def load(tmp_path: Path, data: bytes) -> ConfigError | None:
    path = tmp_path / "registry.yaml"
    path.write_bytes(data)
    error: ConfigError | None = None
    try:
        load_models(path, {"A": "a" * 32})
    except ConfigError as raised:
        error = raised
    assert error is None or (error.problems and str(path) in error.files)
    return error


def test_the_unharmed_file_loads(tmp_path: Path) -> None:
    assert load(tmp_path, VALID) is None


@SETTINGS
@given(data=st.binary(max_size=200))
@example(data=b"version: 1\nprojects: {p: {preset: bearer}}")
def test_any_bytes_load_or_are_a_config_error(tmp_path: Path, data: bytes) -> None:
    load(tmp_path, data)


@SETTINGS
@given(text=st.text(alphabet="&*!|>%@`'\"{}[]?:-,#~<$ \n\tae1", max_size=120))
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_any_punctuation_is_parsed_or_told(loader: Any, text: str) -> None:
    document = parse(text.encode(), "f", loader)
    assert document.root is not None or document.problems


@SETTINGS
@given(st.data())
def test_a_file_with_any_harm_done_to_it_loads_or_is_a_config_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(VALID)))
    end = data.draw(st.integers(start, min(len(VALID), start + 30)))
    harm = data.draw(st.one_of(st.binary(max_size=5), st.text("&*!{}[]:- \n\"'a$", max_size=5)))
    load(
        tmp_path, VALID[:start] + (harm if isinstance(harm, bytes) else harm.encode()) + VALID[end:]
    )


def shapes(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(
        [
            "preset",
            "secrets",
            "keys",
            "kid",
            "id",
            "secret",
            "match",
            "path",
            "allow",
            "signature",
            "versions",
            "session",
            "wallets",
            "leeway",
            "digest_fields",
            "x",
        ]
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)
    )


@SETTINGS
@given(project=shapes(st.none() | st.booleans() | st.integers() | st.text(max_size=8)))
def test_any_shape_of_a_project_loads_or_is_told(tmp_path: Path, project: Any) -> None:
    if isinstance(project, dict):
        project.setdefault("preset", "bearer")
    load(tmp_path, json.dumps({"version": 1, "projects": {"p": project}}).encode())


PLACES = [
    "secrets: [{id: a, secret: %s}]",
    "secrets: [{id: a, secret: [%s]}]",
    "secrets: [%s]",
    "secrets: %s",
    "secrets: [{id: a, secret: %s, id: b}]",
    "secrets: [{id: a, secret: %s, nope: 1}]",
    "secrets: [{id: a, secret: {a: %s}}]",
    "keys: [{kid: a, secret: %s, public_key: %s}]",
    "keys: [{auth_key: a, enc_key: %s}, {kid: a, secret: %s, alg: no}]",
    "session: {secret: %s, ttl: no}",
    "keys: [{kid: a, public_key: %s, not_after: %s}]",
    "leeway: %s",
    "api_keys: [{id: a, digest: %s}]",
    "wallets: %s",
    "algorithms: [%s]",
    "single_use: %s",
    "refusal: {status: %s}",
]


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25, suppress_health_check=QUIET)
@given(text=st.text(st.characters(codec="utf-8"), max_size=10))
@example(text="${env:A}")
@example(text="${")
@example(text="\x00\x1b")
def test_no_error_or_model_shows_a_secret(tmp_path: Path, place: str, text: str) -> None:
    value = f"hunter2{text}hunter2"
    line = place.replace("%s", json.dumps(value))
    path = tmp_path / "registry.yaml"
    path.write_text(
        f"version: 1\nprojects:\n  p:\n    preset: bearer\n    {line}\n", encoding="utf-8"
    )
    found = examine(path, {"A": "hunter2"})
    assert "hunter2" not in "\n".join(map(repr, (*found.problems, *found.warnings)))
    if "wallets" not in place and "digest" not in place:
        assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "secret",
    [
        "!hunter2",
        "*hunter2",
        "&hunter2",
        "%hunter2",
        "@hunter2",
        "`hunter2",
        "|hunter2",
        ">hunter2",
        "'hunter2",
        '"hunter2',
        "{hunter2",
        "[hunter2",
        "hunter2: x",
        "- hunter2",
        "? hunter2",
        "#hunter2",
        '"\\hunter2"',
        "!<hunter2> x",
        "!h!hunter2 x",
        "!!hunter2 x",
        "${hunter2}",
        "${env:A}${hunter2",
        "[hunter2, *hunter2]",
        "'hunter2' hunter2",
        "\thunter2",
        "hunter2\x00",
        "!!str [hunter2]",
        "<<: hunter2",
    ],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_no_unquoted_secret_shows_when_yaml_takes_it_for_syntax(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: Any, secret: str
) -> None:
    monkeypatch.setattr(parse, "__defaults__", (loader,))
    path = tmp_path / "registry.yaml"
    path.write_text(f"version: 1\nprojects:\n  p:\n    preset: meganode\n    secrets:\n"
                    f"      - id: a\n        secret: {secret}\n", encoding="utf-8")  # fmt: skip
    found = examine(path, {"A": "hunter2"})
    assert "hunter2" not in "\n".join(map(str, (*found.problems, *found.warnings)))
