"""The registry's JSON Schema, for editors: a server has no use for it, and does not load it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from rpcguard.registry import schema
from rpcguard.registry.presets import shipped


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a registry."""
    schema.Bounds.model_rebuild()  # older pydantics need it built to write the default that is one
    described = schema.Registry.model_json_schema(schema_generator=EditorSchema)
    definitions = described["$defs"]
    _describe({**definitions, schema.Registry.__name__: described})
    for merged in (schema.SignatureSpec, schema.SignatureHeaders, schema.SignatureVersion):
        # what the operator leaves out is in the preset
        del definitions[merged.__name__]["required"]
    preset = definitions["Project"]["properties"]["preset"]
    preset["anyOf"] = [{"enum": shipped()}, {"type": "string", "pattern": r"\.yaml$"}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}


def _describe(definitions: dict[str, dict[str, Any]]) -> None:
    """
    Give every key the docstring below its field.

    pydantic can read them itself, but does so whenever `schema` is imported, and that was a quarter
    of the time that the import took.
    """
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(schema)).body:
        if isinstance(node, ast.ClassDef):
            docs: dict[str, str] = {}
            for base in node.bases:
                docs |= found.get(ast.unparse(base), {})
            found[node.name] = docs | dict(_docstrings(node))
    for name, definition in definitions.items():
        for key, described in definition["properties"].items():
            described["description"] = found[name][key]


def _docstrings(model: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Give the name and the docstring of each field of *model*."""
    for field, below in pairwise(model.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)


class EditorSchema(GenerateJsonSchema):
    """JSON Schema without null: here a key that is not wanted is left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        """Return the schema of the value that is there."""
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> dict[str, Any]:
        """Return the schema of a mapping whose keys have a form and no others are taken."""
        described = super().dict_schema(schema)
        if "patternProperties" in described:
            described["additionalProperties"] = False
        return described

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Return the schema with its default, unless that is absence."""
        if schema.get("default", None) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)
