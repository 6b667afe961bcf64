"""
What the models of the vocabulary have in common, and the validator that is built of their fields.

It is the validator that pydantic would build, without what pydantic does besides: whatever is
validated is shown to each plugin of pydantic that is installed (some send what they see elsewhere,
and a registry holds secrets), and to look for plugins reads the metadata of every installed
distribution, which took longer than all else of a load. `tests/registry/test_models.py` holds that
both say the same.
"""

from __future__ import annotations

import functools
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, SchemaValidator, core_schema


class Model(BaseModel):
    """A mapping of the vocabulary: no other keys than its fields, and no value in an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,  # `validator` is used in place of what would be built
    )

    def check(self) -> None:
        """Raise a `fields.fault` where fields contradict each other."""

    @model_validator(mode="after")
    def _checked(self) -> Self:  # as `_checked` below, should pydantic build one
        self.check()
        return self


def _config(model: type[Model]) -> core_schema.CoreConfig:
    return core_schema.CoreConfig(
        title=model.__name__, extra_fields_behavior="forbid", hide_input_in_errors=True
    )


@functools.cache
def validator(model: type[Model]) -> SchemaValidator:
    """Return what turns mappings, lists and texts into a *model*, or raises `ValidationError`."""
    return SchemaValidator(_of_model(model), _config(model))


def _of_model(model: type[Model]) -> CoreSchema:
    fields = {
        name: core_schema.model_field(_of_field(info)) for name, info in model.model_fields.items()
    }
    inner = core_schema.model_fields_schema(fields, model_name=model.__name__)
    made = core_schema.model_schema(model, inner, frozen=True, config=_config(model))
    return core_schema.no_info_after_validator_function(_checked, made)


def _checked(model: Model) -> Model:
    model.check()
    return model


def _of_field(info: FieldInfo) -> CoreSchema:
    schema = _of_marked(info.annotation, tuple(info.metadata))
    if info.is_required():
        return schema
    if info.default_factory is not None:
        return core_schema.with_default_schema(schema, default_factory=info.default_factory)
    return core_schema.with_default_schema(schema, default=info.default)


def _of_marked(annotation: Any, marks: tuple[Any, ...]) -> CoreSchema:
    """Return the schema of *annotation*, on which each of *marks* is put in turn."""
    if not marks:
        return _of(annotation)
    *below, mark = marks
    inner = _Below(*below)
    if isinstance(mark, WithJsonSchema):  # which says something to editors alone
        return inner(annotation)
    schema: CoreSchema = mark.__get_pydantic_core_schema__(annotation, inner)
    return schema


class _Below(GetCoreSchemaHandler):
    """How a mark asks for the schema of what it is put on."""

    def __init__(self, *marks: Any) -> None:
        self._marks = marks

    def __call__(self, source_type: Any, /) -> CoreSchema:
        return _of_marked(source_type, self._marks)

    def generate_schema(self, source_type: Any, /) -> CoreSchema:
        return _of(source_type)


def _of(annotation: Any) -> CoreSchema:
    """
    Return the schema of a type that the vocabulary uses.

    Raises:
        TypeError: If it is another.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_marked(arguments[0], arguments[1:])
    if origin is list:
        return core_schema.list_schema(_of(arguments[0]))
    if origin is dict:
        return core_schema.dict_schema(_of(arguments[0]), _of(arguments[1]))
    if origin is Literal:
        return core_schema.literal_schema(list(arguments))
    if origin in (Union, UnionType) and len(arguments) == 2 and arguments[1] is NoneType:
        return core_schema.nullable_schema(_of(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _of_model(annotation)
    raise TypeError(f"no type of the vocabulary: {annotation}")
