"""JSON Schemas of tools, from the ways in which data sets list parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from toolgrove.core.messages import JSON
from toolgrove.data.fields import as_object, bad, describe, show

_PYTHON = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "array": "array",
    "dict": "object",
    "object": "object",
    "none": "null",
    "null": "null",
}
BFCL_TYPES = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "list": "array",
    "any": "string",
    "bool": "boolean",
    "String": "string",
}
"""The type names in the schemas of the Berkeley Function Calling Leaderboard."""

_GENERIC = re.compile(r"(\w+)\[(.*)\]", re.DOTALL)
_YES = frozenset({"true", "yes", "1"})
_NO = frozenset({"false", "no", "0", ""})


def python_type(written: str) -> JSON:
    """What JSON Schema says for a Python type: ``List[int]`` is an array of integers.

    A type that has no counterpart in JSON stays as it is written, under ``x-type``.
    """
    text = written.strip().removeprefix("typing.")
    simple = _PYTHON.get(text.lower())
    if simple is not None:
        return {"type": simple}
    generic = _GENERIC.fullmatch(text)
    if generic is None:
        return {"x-type": written.strip()}
    outer, inner = generic.group(1).lower(), _split(generic.group(2))
    if outer in ("list", "set", "sequence", "iterable") and len(inner) == 1:
        return {"type": "array", "items": python_type(inner[0])}
    if outer == "tuple" and len(inner) == 2 and inner[1] == "...":
        return {"type": "array", "items": python_type(inner[0])}
    if outer == "tuple":
        return {"type": "array", "prefixItems": [python_type(part) for part in inner]}
    if outer == "dict" and len(inner) == 2:
        return {"type": "object", "additionalProperties": python_type(inner[1])}
    if outer in ("optional", "union") and inner:
        choices = [python_type(part) for part in inner]
        if outer == "optional":
            choices.append({"type": "null"})
        return choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {"x-type": written.strip()}


def from_named(parameters: Sequence[Any], path: str) -> JSON:
    """A list of parameters, ``[{"name", "description", "required"}, ...]``, as a JSON Schema.

    What a parameter says beside its name and whether it is required stays in its property; one
    without a type gets none.
    """
    properties: JSON = {}
    required: list[str] = []
    for index, item in enumerate(parameters):
        at = f"{path}[{index}]"
        given = as_object(item)
        name = given.get("name") if given is not None else None
        if given is None or not isinstance(name, str) or not name:
            raise bad(at, f"a parameter without a name: {show(item)}", 'a parameter has a "name"')
        if name in properties:
            raise bad(at, f'a second parameter "{name}"', "name each parameter once")
        if _is_required(given.get("required"), f"{at}.required"):
            required.append(name)
        rest = {key: value for key, value in given.items() if key not in ("name", "required")}
        properties[name] = _typed(rest)
    return _schema(properties, required)


def from_flat(parameters: Mapping[str, Any], path: str) -> JSON:
    """xLAM's parameters, ``{"name": {"type": "str, optional", ...}}``, as a JSON Schema.

    A parameter is required unless its type says optional or it has a default.
    """
    properties: JSON = {}
    required: list[str] = []
    for name, value in parameters.items():
        given = as_object(value)
        if given is None:
            raise bad(f"{path}.{name}", f"not an object but {describe(value)}")
        kind = given.get("type")
        words = [part.strip() for part in _split(kind)] if isinstance(kind, str) else []
        optional = "optional" in (word.lower() for word in words[1:])
        others = [w for w in words[1:] if w.lower() != "optional" and not _is_default(w)]
        if words and not others:
            given = {**given, "type": words[0]}
        if not optional and "default" not in given:
            required.append(name)
        properties[name] = _typed(given)
    return _schema(properties, required)


def json_types(schema: Any, names: Mapping[str, str]) -> Any:
    """A schema with other names for its types as JSON Schema, the same keys in the same order."""
    given = as_object(schema)
    if given is None:
        return schema
    converted: JSON = {}
    for key, value in given.items():
        if key == "type" and isinstance(value, str):
            converted[key] = names.get(value, value)
        elif key == "properties" and as_object(value) is not None:
            inner = cast(JSON, value)
            converted[key] = {name: json_types(part, names) for name, part in inner.items()}
        elif key in ("items", "additionalProperties"):
            converted[key] = json_types(value, names)
        else:
            converted[key] = value
    return converted


def _is_default(word: str) -> bool:
    return word.lower().startswith(("default", "defaults"))


def _typed(given: JSON) -> JSON:
    """A property with its type in JSON Schema's words, its keys in their order."""
    kind = given.get("type")
    if not isinstance(kind, str):
        return given
    typed: JSON = {}
    for key, value in given.items():
        typed |= python_type(kind) if key == "type" else {key: value}
    return typed


def _is_required(value: Any, path: str) -> bool:
    word = str(value).strip().lower() if isinstance(value, str | bool | int) else None
    if value is None or word in _NO:
        return False
    if word in _YES:
        return True
    raise bad(path, f"neither true nor false but {describe(value)}")


def _schema(properties: JSON, required: list[str]) -> JSON:
    return {"type": "object", "properties": properties, "required": required}


def _split(text: str) -> list[str]:
    """The parts between commas, brackets kept together."""
    parts: list[str] = []
    depth = start = 0
    for index, mark in enumerate(text):
        depth += (mark in "[(") - (mark in "])")
        if mark == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, text[start:]]]
