"""Calls held against their tool's JSON Schema, each schema compiled once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from jsonschema_rs import ValidationError, ValidationErrorKind, Validator, validator_for

from toolgrove.core.messages import JSON, Tool
from toolgrove.data.fields import as_list, as_object, dump

MOST = 4096
"""How many compiled schemas are kept at once."""

PYTHON_TYPES = {
    "dict": "object",
    "float": "number",
    "double": "number",
    "int": "integer",
    "str": "string",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "NoneType": "null",
}
"""Type names that are not JSON Schema's, in its words."""

_KEYWORDS = frozenset(
    {
        "properties",
        "items",
        "not",
        "if",
        "then",
        "else",
        "definitions",
        "dependencies",
        "dependentSchemas",
        "dependentRequired",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "const",
        "default",
        "example",
    }
)
"""Keywords whose values may be objects."""
_BARE = 'arguments at the top, not under "properties"'
_OPEN = ("patternProperties", "$ref", "allOf", "anyOf", "oneOf", "unevaluatedProperties", "if")


class Problem(NamedTuple):
    """What is wrong with a call's arguments: the keyword that is broken, where, and in words.

    ``keyword`` is ``required``, ``type``, ``additionalProperties`` or any other of JSON Schema;
    ``name`` the argument that is missing or unknown; ``types`` those that are allowed.
    """

    keyword: str
    keys: tuple[str | int, ...]
    message: str
    name: str = ""
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A tool's schema, ready to hold arguments against; ``fault`` says why it cannot be."""

    schema: JSON
    validator: Validator | None
    fault: str = ""

    def problems(self, arguments: JSON) -> list[Problem]:
        """What is wrong with the arguments; an argument that no schema names is wrong, too."""
        if self.validator is None:
            return []
        found = [
            problem
            for failure in self.validator.iter_errors(arguments)
            for problem in _problems(failure)
        ]
        mistyped = {problem.keys for problem in found if problem.keyword == "type"}
        found = [p for p in found if p.keyword == "type" or p.keys not in mistyped]
        known = {(problem.keyword, problem.keys, problem.name) for problem in found}
        undeclared = [
            problem
            for problem in _undeclared(self.schema, arguments, ())
            if (problem.keyword, problem.keys, problem.name) not in known
        ]
        return found + undeclared


class Schemas:
    """Compiled schemas by their text; the memory is emptied when it is full."""

    def __init__(self) -> None:
        self._compiled: dict[str, Compiled] = {}

    def of(self, tool: Tool) -> Compiled:
        """The tool's schema, compiled; one with Python's type names counts as what they mean."""
        text = dump(tool.parameters)
        known = self._compiled.get(text)
        if known is None:
            if len(self._compiled) >= MOST:
                self._compiled.clear()
            known = self._compiled[text] = compiled(tool.parameters)
        return known


def compiled(schema: JSON) -> Compiled:
    """The schema ready for use, or with its fault.

    OpenAPI's ``nullable`` counts; arguments that stand at the top, where a schema has its
    keywords, are read as the ``properties`` that they are meant to be.
    """
    if _is_bare(schema):
        meant = compiled({"type": "object", "properties": schema})
        return Compiled(meant.schema, meant.validator, meant.fault or _BARE)
    schema = cast(JSON, _nullable(schema)) if '"nullable"' in dump(schema) else schema
    try:
        return Compiled(schema, validator_for(schema, offline=True))
    except ValueError as error:
        fault = _fault(error)
    renamed = cast(JSON, _in_json_types(schema))
    try:
        return Compiled(renamed, validator_for(renamed, offline=True), fault)
    except ValueError:
        return Compiled(schema, None, fault)


def _is_bare(schema: JSON) -> bool:
    """Whether the schema is a list of arguments: every value a schema, and no key a keyword."""
    return bool(schema) and not any(
        key in _KEYWORDS or key.startswith(("$", "x-")) or as_object(value) is None
        for key, value in schema.items()
    )


def _nullable(value: Any) -> Any:
    """The schema with ``"nullable": true`` in the words of JSON Schema."""
    items = as_list(value)
    if items is not None:
        return [_nullable(item) for item in items]
    schema = as_object(value)
    if schema is None:
        return value
    changed = {key: _nullable(inner) for key, inner in schema.items()}
    if schema.get("nullable") is True:
        if isinstance(schema.get("type"), str):
            changed["type"] = [schema["type"], "null"]
        if (allowed := as_list(schema.get("enum"))) is not None and None not in allowed:
            changed["enum"] = [*allowed, None]
    return changed


def _fault(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    where = "".join(
        f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.instance_path
    )
    what = error.message
    if error.instance_path and error.instance_path[-1] == "type":
        what = f"{dump(error.instance)} is no type of JSON Schema"
    return f"{where.lstrip('.')}: {what}" if where else what


def _in_json_types(value: Any) -> Any:
    """The schema with type names from Python in the words of JSON Schema."""
    items = as_list(value)
    if items is not None:
        return [_in_json_types(item) for item in items]
    schema = as_object(value)
    if schema is None:
        return value
    changed = {key: _in_json_types(inner) for key, inner in schema.items()}
    given = schema.get("type")
    if isinstance(given, str):
        changed["type"] = PYTHON_TYPES.get(given, given)
    return changed


def _problems(failure: ValidationError) -> Iterator[Problem]:
    keys = tuple(failure.instance_path)
    what = failure.kind
    if isinstance(what, ValidationErrorKind.Required):
        yield Problem("required", keys, failure.message, name=what.property)
    elif isinstance(what, ValidationErrorKind.AdditionalProperties):
        for name in what.unexpected:
            yield Problem("additionalProperties", keys, failure.message, name=name)
    elif isinstance(what, ValidationErrorKind.Type):
        yield Problem("type", keys, failure.message, types=tuple(what.types))
    else:
        yield Problem(what.name, keys, failure.message)


def _undeclared(schema: Any, value: Any, keys: tuple[str | int, ...]) -> Iterator[Problem]:
    """Keys that the schema's ``properties`` do not name, where it does not say that it is open."""
    known, given = as_object(schema), as_object(value)
    if known is None:
        return
    items = as_list(value)
    if items is not None:
        for index, item in enumerate(items):
            yield from _undeclared(known.get("items"), item, (*keys, index))
    properties = as_object(known.get("properties"))
    if given is None or properties is None or any(word in known for word in _OPEN):
        return
    closed = "additionalProperties" not in known and bool(properties or not keys)
    for name, inner in given.items():
        if name in properties:
            yield from _undeclared(properties[name], inner, (*keys, name))
        elif closed:
            yield Problem("additionalProperties", keys, f"{dump(name)} is not declared", name=name)
