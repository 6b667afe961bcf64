"""
The types of the registry's fields, for pydantic: every value arrives as the text in the file.

Each `Spelled` type is one of `grammars`, with the JSON Schema of what an editor sees in its place
(an editor takes `true` for a boolean and `30` for a number; here they are texts until now).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rpcguard.registry import grammars

YEAR = 365 * 86400.0
_REFERENCE = r".*\$\{(?:env|file):[^{}]+\}.*"  # `${env:PORT}` is a string to an editor


def fault(*found: tuple[tuple[str | int, ...], str]) -> PydanticCustomError:
    """Return the error for rules between fields: (steps below the model, message) for each."""
    return PydanticCustomError("faults", "see its context", {"faults": found})


@dataclass(frozen=True)
class Spelled:
    """
    A scalar with a grammar of its own.

    Attributes:
        parse: Text to value; raises ValueError.
        seen: JSON Schema of what an editor sees.
    """

    parse: Callable[[str], Any]
    seen: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the validator."""
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema for editors."""
        return dict(self.seen)  # the caller adds to it

    def _validate(self, value: object) -> Any:
        if not isinstance(value, str):
            raise PydanticCustomError("not_text", "expected one value")
        try:
            return self.parse(value)
        except ValueError as error:
            raise PydanticCustomError("grammar", "{message}", {"message": str(error)}) from None


@dataclass(frozen=True)
class _Text:
    """
    A text that pydantic-core checks by itself.

    Attributes:
        schema: Its validator.
        seen: What an editor sees besides.
    """

    schema: CoreSchema = field(hash=False)
    seen: dict[str, Any] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the validator."""
        return {**self.schema}  # the caller adds to it

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema for editors."""
        return handler(schema) | self.seen


def _text(form: str = "") -> dict[str, Any]:
    return {
        "type": "string",
        "pattern": f"^(?:{form}|{_REFERENCE})$" if form else f"^{_REFERENCE}$",
    }


def _seen(form: str = "", **seen: Any) -> dict[str, Any]:
    return {"anyOf": [seen, _text(form)]}


def _count(low: int, high: int) -> Spelled:
    seen = _seen(type="integer", minimum=low, maximum=high)
    return Spelled(partial(grammars.integer, low=low, high=high), seen)


def _size(low: int, high: int) -> Spelled:
    seen = _seen(grammars.SIZE, type="integer", minimum=low, maximum=high)
    return Spelled(partial(grammars.size, low=low, high=high), seen)


def _duration(high: float, *, zero: bool = False) -> Spelled:
    least = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
    seen = _seen(grammars.DURATION, type="number", maximum=high, **least)
    return Spelled(partial(grammars.duration, high=high, zero=zero), seen)


def _form(pattern: str, wanted: str, *, key: bool = False) -> Spelled:
    parse = partial(grammars.pattern, form=re.compile(pattern), wanted=wanted)
    seen = {"type": "string", "pattern": f"^{pattern}$"} if key else _text(pattern)
    return Spelled(parse, seen)


YesNo = Annotated[bool, Spelled(grammars.yes_no, _seen(type="boolean"))]
Version = Annotated[int, Spelled(grammars.version, {"const": 1})]
Count = Annotated[int, _count(1, 1_000_000_000)]
Batch = Annotated[int, _count(1, 100_000)]
SecretBytes = Annotated[int, _count(1, 4096)]
MinVersion = Annotated[int, _count(0, 999)]
Status = Annotated[int, _count(400, 599)]
Code = Annotated[int, _count(-(1 << 31), (1 << 31) - 1)]
CredentialSize = Annotated[int, _size(1, 1 << 20)]
BodySize = Annotated[int, _size(1, 1 << 30)]
Leeway = Annotated[float, _duration(120, zero=True)]
Skew = Annotated[float, _duration(3600, zero=True)]
BodyTimeout = Annotated[float, _duration(3600)]
IssuingTimeout = Annotated[float, _duration(60)]
Window = Annotated[float, _duration(86400)]
Lifetime = Annotated[float, _duration(10 * YEAR)]
Instant = Annotated[float, Spelled(grammars.instant, {"type": "string", "format": "date-time"})]

# No control characters: these texts are logged and compared. The upper bound is beyond any use.
_PRINTABLE = r"^[^\u0000-\u001F\u007F-\u009F]*$"
Text = Annotated[
    str, _Text(core_schema.str_schema(min_length=1, max_length=2048, pattern=_PRINTABLE))
]
# An editor takes an id such as 0123 for a number; here it is the text 0123.
Name = Annotated[Text, WithJsonSchema({"type": ["string", "number"], "minLength": 1})]
_ANY = core_schema.str_schema(min_length=1)
PemText = Annotated[str, _Text(_ANY)]
SecretText = Annotated[
    SecretStr,
    _Text(
        core_schema.no_info_after_validator_function(SecretStr, _ANY),
        {"writeOnly": True, "format": "password"},
    ),
]
ProjectName = Annotated[
    str,
    _form(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
        "a project's name is up to 64 letters, digits, dots, hyphens and underscores, and begins"
        " with a letter or digit",
        key=True,
    ),
]
HeaderName = Annotated[
    str,
    _form(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", "expected the name of an HTTP header (RFC 9110)"),
]
KeyPrefix = Annotated[
    str,
    _form(r"[A-Za-z0-9._~+/-]{1,64}", "expected up to 64 characters that a bearer token may have"),
]
QueryName = Annotated[
    str, _form(r"[A-Za-z0-9_.~-]{1,64}", "expected the name of a query parameter")
]
ServiceName = Annotated[
    str,
    _form(
        r"[a-z][a-z0-9-]{0,31}",
        "expected up to 32 lower-case letters, digits and hyphens that begin with a letter",
    ),
]
Digest = Annotated[
    str,
    _form(r"sha256:[0-9a-f]{64}", "expected sha256: and 64 lower-case hex digits"),
]
AbsolutePath = Annotated[
    str, _form(r"/[^\x00-\x20\x7f?#]{0,2047}", "expected a path that begins with /")
]
Rate = Annotated[tuple[int, int], Spelled(grammars.rate, _text(grammars.RATE))]
Slug = Annotated[str, _form(r"[a-z][a-z0-9_]{0,63}", "expected a reason such as expired")]
AudienceSuffix = Annotated[
    str, Spelled(grammars.audience_suffix, {"type": "string", "pattern": "[^. ]"})
]

Item = TypeVar("Item")


class Filled:
    """A list or mapping with one item at least."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the validator."""
        return {**handler(source), "min_length": 1}


NonEmpty: TypeAlias = Annotated[list[Item], Filled()]


class _OneOrMany:
    """A list, or one value in its place."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the validator."""
        return core_schema.no_info_before_validator_function(
            lambda value: [value] if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema for editors."""
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


OneOrMany: TypeAlias = Annotated[NonEmpty[Item], _OneOrMany()]


class OneOrWord:
    """One word, or a list in its place; what shows are the list's own errors, not a union's."""

    def __init__(self, word: str, many: Any) -> None:
        """Take the word and the type of the list."""
        self.word = word
        self.many = many

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the validator."""
        wanted = f"expected {self.word} or a list"

        def choose(value: object, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if value == self.word:
                return value
            if isinstance(value, str):
                raise PydanticCustomError("grammar", "{message}", {"message": wanted})
            return validate(value)

        return core_schema.no_info_wrap_validator_function(
            choose, handler.generate_schema(self.many)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema for editors."""
        return {"anyOf": [{"const": self.word}, handler(schema)]}
