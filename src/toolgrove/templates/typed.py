"""Argument values in wire formats without types: a tool's JSON Schema says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from toolgrove.core.jsonish import dump, finite, loads
from toolgrove.core.messages import JSON, Tool

_DEPTH = 8
_PYTHON: Mapping[type[Any], str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
}


def argument_types(tools: Sequence[Tool], name: str, key: str) -> frozenset[str] | None:
    """The JSON types that the argument ``key`` of the tool ``name`` may have.

    None when nothing is known: an unknown tool, no schema for the key, or a schema without types.
    ``$ref`` within the parameters, ``anyOf``, ``oneOf``, ``allOf``, ``enum``, ``const`` and
    ``nullable`` are looked into.
    """
    for tool in tools:
        if tool.name == name:
            root = tool.parameters
            schema = _entry(root.get("properties"), key)
            return schema_types(
                root.get("additionalProperties") if schema is None else schema, root
            )
    return None


def schema_types(schema: Any, root: Mapping[str, Any], depth: int = 0) -> frozenset[str] | None:
    """The JSON types that a schema allows; None when it does not say."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return None
    schema = cast(JSON, schema)
    given = schema.get("type")
    if isinstance(given, str) and given in _ONE_TYPE and not _ODD & schema.keys():
        return _ONE_TYPE[given]
    found = _own_types(schema)
    if isinstance(schema.get("$ref"), str):
        found = schema_types(referred(schema["$ref"], root), root, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if found is None and isinstance(schema.get(word), list):
            options = cast(list[Any], schema[word])
            types = [schema_types(option, root, depth + 1) for option in options]
            found = _joined(types, every=word != "allOf")
    if found is not None and schema.get("nullable") is True:
        found |= {"null"}
    return found


def referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What a ``$ref`` into ``root`` names; None when there is no such place."""
    place: Any = root
    for step in reference.removeprefix("#/").split("/"):
        place = _entry(place, step.replace("~1", "/").replace("~0", "~"))
    return place


def read_value(text: str, types: frozenset[str] | None) -> Any:
    """The value of an argument's text: the text itself for a string, else what its JSON says.

    Where the types are unknown, or allow a string beside others, JSON of another allowed type is
    read as such and everything else is a string. What its type cannot be stays a string.
    """
    if types == _STRING:
        return text
    may_be_string = types is None or "string" in types
    try:
        value = _STRICT.decode(text) if may_be_string else loads(text)
    except (ValueError, RecursionError):
        return text
    if types is None:
        return text if isinstance(value, str) else value
    if "number" in types and isinstance(value, int) and not isinstance(value, bool):
        return value
    kind = json_type(value)
    return text if may_be_string and (kind == "string" or kind not in types) else value


def write_value(value: Any) -> str:
    """A string as it is, everything else as JSON."""
    return value if isinstance(value, str) else dump(value)


def json_type(value: Any) -> str:
    """The JSON type of a value; whole numbers are ``integer``."""
    kind = cast(type[Any], type(value))
    return _PYTHON.get(kind, "array" if isinstance(value, list) else "object")


_STRICT = json.JSONDecoder(parse_float=finite, parse_constant=finite)


def _own_types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    given = schema.get("type")
    if isinstance(given, str):
        return frozenset({TYPE_NAMES.get(given.lower(), given.lower())})
    if isinstance(given, list):
        names = [str(name).lower() for name in cast(list[Any], given)]
        return frozenset(TYPE_NAMES.get(name, name) for name in names)
    if isinstance(schema.get("enum"), list):
        return frozenset(json_type(value) for value in cast(list[Any], schema["enum"]))
    return frozenset({json_type(schema["const"])}) if "const" in schema else None


_STRING = frozenset({"string"})
_ODD = frozenset({"$ref", "nullable"})
_ONE_TYPE = {name: frozenset({name}) for name in (*_PYTHON.values(), "array", "object")}
TYPE_NAMES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "none": "null",
}


def _joined(types: Sequence[frozenset[str] | None], every: bool) -> frozenset[str] | None:
    """The types of all options; None when one (``every``) or all of them do not say."""
    known = [found for found in types if found is not None]
    if not known or (every and len(known) < len(types)):
        return None
    return frozenset[str]().union(*known)


def _entry(value: Any, key: str) -> Any:
    return cast(JSON, value).get(key) if isinstance(value, dict) else None
