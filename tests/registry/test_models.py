"""The validator of the vocabulary: pydantic's own in what it says, and shown to nobody."""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rpcguard.registry import schema
from rpcguard.registry.fields import Text
from rpcguard.registry.models import Model, validator

# Every mapping of the vocabulary, and every kind of value in it.
WHOLE: dict[str, Any] = {
    "version": "1",
    "backend": "memory://",
    "trusted_proxies": ["10.0.0.0/8", "unix"],
    "bounds": {"max_body": "1MiB", "max_batch": "5", "body_timeout": "2s"},
    "max_server_skew": "10s",
    "projects": {
        "keys": {
            "preset": "bearer",
            "match": {"path": "/k", "host": ["h", "i"]},
            "algorithms": ["RS256"],
            "typ": ["JWT"],
            "audience": ["a"],
            "audience_suffix": "example.com",
            "digest_fields": {"/p": ["a", "b"]},
            "allow": {"methods": ["eth_*"], "ips": [], "missing_origin": "allow"},
            "limits": {"per_ip": "10/second", "per_key": ["1/second", "9/day"]},
            "narrowing": ["methods"],
            "refusal": {"status": "403", "code": "-32013", "messages": {"expired": "gone"}},
            "require_https": "true",
            "keys": [
                {"kid": "a", "public_key": "PEM", "alg": "RS256", "limits": {"per_key": "1/day"}},
                {"kid": "b", "secret": "s", "encoding": "hex", "not_after": "2026-12-01T00:00:00Z"},
                {"auth_key": "c", "enc_key": "e", "allow": {"origins": ["https://a.example"]}},
            ],
            "encryption": {"required": "true", "keys": [{"kid": "d", "alg": "dir", "secret": "s"}]},
        },
        "wallets": {
            "preset": "nodius",
            "secrets": [{"id": "a", "secret": "s", "not_before": "2026-11-01T00:00:00Z"}],
            "api_keys": [{"id": "a", "digest": "sha256:" + "0" * 64}],
            "wallets": [{"pubkey": "x", "min_version": "2"}],
            "api_key": {"read": ["bearer", "query"], "query": "key", "prefix": "nod_"},
            "session": {"secrets": [{"id": "a", "secret": "s"}], "ttl": "1h", "refresh": "off"},
            "signature": {
                "headers": {"pubkey": "P", "signature": "S", "timestamp": "T", "nonce": "N"},
                "encoding": "base58",
                "versions": {"1": {"payload": "{nonce}", "echo": {"X-Path": "path"}}},
                "default_version": "1",
                "timestamp": "[0-9]+",
                "window": "30s",
                "nonce": ".+",
            },
        },
        "open": {"preset": "nodius", "wallets": "open", "session": {"secret": "s"}},
    },
}


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[Any]:
    """Return a second copy of the vocabulary, of which pydantic has built nothing yet."""
    spec = importlib.util.spec_from_file_location("rpcguard_vocabulary_again", schema.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for the module of a class
    spec.loader.exec_module(module)
    validator(module.Registry)  # before pydantic's, which would be taken for a part of it
    yield module
    del sys.modules[spec.name]


def _said(validate: Any, data: Any) -> Any:
    """Return the models, or the errors; without pydantic's addresses and the values."""
    try:
        return validate(data)
    except ValidationError as error:
        return error.errors(include_url=False, include_input=False), str(error)


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (mapping or list, key or index) in *tree*."""
    for step in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, step
        if isinstance(tree[step], (dict, list)):
            yield from _nodes(tree[step])


NODES = len(list(_nodes(WHOLE)))
PUT: list[Any] = [
    *("", "x", "1", "-1", "true", "30s", "1/day", "open", "a\x1b", "x" * 2049, "${env:X}"),
    *([], ["x"], ["", "x"], [[]], {}, {"x": "y"}, {"id": "a", "secret": "s"}, None, 1, object()),
]
KEYS = sorted(
    {
        key
        for model in vars(schema).values()
        if isinstance(model, type) and issubclass(model, Model)
        for key in model.model_fields
    }
    | {"nobody_knows_this"}
)


CHANGE = st.tuples(
    st.integers(0, NODES - 1),
    st.sampled_from(["put", "drop", "add"]),
    st.sampled_from(range(len(PUT))),
    st.sampled_from(KEYS),
)


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(CHANGE, max_size=4))
@example(changes=[])
def test_it_says_what_pydantic_says(vocabulary: Any, changes: list[Any]) -> None:
    data = copy.deepcopy(WHOLE)
    for number, kind, value, key in changes:
        nodes = list(_nodes(data))
        if not nodes:
            break
        holder, step = nodes[number % len(nodes)]
        if kind == "drop":
            del holder[step]
        elif kind == "add" and isinstance(holder, dict):
            holder[key] = copy.deepcopy(PUT[value])  # else it could come to stand in itself
        else:
            holder[step] = copy.deepcopy(PUT[value])
    ours = _said(validator(vocabulary.Registry).validate_python, data)

    assert ours == _said(vocabulary.Registry.model_validate, data)


@pytest.mark.parametrize("value", PUT, ids=range(len(PUT)))
def test_it_says_what_pydantic_says_of_each_value_in_each_place(
    vocabulary: Any, value: Any
) -> None:
    accepted = 0
    for number in range(NODES):
        data = copy.deepcopy(WHOLE)
        holder, step = list(_nodes(data))[number]
        holder[step] = value
        ours = _said(validator(vocabulary.Registry).validate_python, data)
        assert ours == _said(vocabulary.Registry.model_validate, data)
        accepted += isinstance(ours, vocabulary.Registry)

    assert accepted < NODES


def test_the_whole_vocabulary_is_taken(vocabulary: Any) -> None:
    found = validator(vocabulary.Registry).validate_python(WHOLE)

    assert isinstance(found, vocabulary.Registry)
    assert found.projects["keys"].keys[1].secret.get_secret_value() == "s"
    assert found.projects["open"].wallets == "open"


def test_a_type_that_the_vocabulary_does_not_have_is_not_guessed_at() -> None:
    class Other(Model):
        number: int | str

    class Marked(Model):
        number: Annotated[Text | int | None, "no mark"]

    with pytest.raises(TypeError, match="no type of the vocabulary"):
        validator(Other)
    with pytest.raises(AttributeError, match="__get_pydantic_core_schema__"):
        validator(Marked)


SPY = """\
class Spy:
    def new_schema_validator(self, schema, kind, path, *rest):
        print("validates", path.name)
        return None, None, None
spy = Spy()
"""
LOAD = """\
import sys
sys.path.insert(0, sys.argv[1])
from rpcguard import Verifier
Verifier.from_yaml(sys.argv[2], watch=False).close()
print("metadata", "importlib.metadata" in sys.modules)
import pydantic
class Seen(pydantic.BaseModel): pass
"""


def test_no_plugin_of_pydantic_sees_a_registry_and_none_is_looked_for(tmp_path: Path) -> None:
    about = tmp_path / "spy-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: spy\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[pydantic]\nspy = spy:spy\n")
    (tmp_path / "spy.py").write_text(SPY)
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "version: 1\nbackend: memory://\nprojects:\n"
        f"  a: {{preset: meganode, match: {{path: /a}}, secrets: [{{id: a, secret: {'s' * 32}}}]}}\n"
        "  b: {preset: nodius, match: {path: /b}, wallets: open,"
        f" session: {{secret: {'s' * 32}}}}}\n"
    )

    # Measuring coverage would load things of its own.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path), str(registry)],
        capture_output=True, text=True, timeout=60, check=False, env=plain,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["metadata False", "validates Seen", ""]
