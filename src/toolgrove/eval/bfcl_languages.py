"""The benchmark's Java and JavaScript functions: every argument is source text of the language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from toolgrove.core.messages import JSON

JAVA, JAVASCRIPT = "Java", "JavaScript"

_SYNTAX = {
    JAVA: " Note that the provided function is in Java 8 SDK syntax.",
    JAVASCRIPT: " Note that the provided function is in JavaScript syntax.",
}
_ELEMENTS = " The list elements are of type {}; they are not in string representation."
_ENTRIES = (
    " The dictionary entries have the following schema; they are not in string representation. {}"
)
_LISTS = {JAVA: ("ArrayList", "Array"), JAVASCRIPT: ("array",)}


def shown_function(function: Mapping[str, Any], language: str) -> JSON:
    """The function as the benchmark shows it to a model, in the benchmark's own words.

    Every argument is a string, and the description says of which type of the language it is.
    """
    properties = function["parameters"]["properties"]
    return {
        **function,
        "description": function["description"] + _SYNTAX[language],
        "parameters": {
            **function["parameters"],
            "properties": {name: _shown(value, language) for name, value in properties.items()},
        },
    }


def _shown(schema: Mapping[str, Any], language: str) -> JSON:
    kind = schema["type"]
    if kind == "any":
        more = f" This parameter can be of any type of {language} object in string representation."
    else:
        more = f" This is {language} {kind} type parameter in string representation."
    dropped = {"type"}
    if kind in _LISTS[language]:
        more += _ELEMENTS.format(schema["items"]["type"])
        dropped.add("items")
    if language == JAVASCRIPT and kind == "dict" and "properties" in schema:
        more += _ENTRIES.format(json.dumps(schema["properties"]))
        dropped.add("properties")
    kept = {key: value for key, value in schema.items() if key not in dropped}
    return {**kept, "type": "string", "description": schema.get("description", "") + more}


def source_text(value: Any, schema: Mapping[str, Any], language: str) -> str:
    """A value of the answers as source text of the language, as the checker reads it."""
    if isinstance(value, str):
        return value
    return _java(value, schema) if language == JAVA else _javascript(value)


def _java(value: Any, schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "any")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value}{ {'long': 'L', 'float': 'f'}.get(kind, '') }"
    inner = schema.get("items") or {}
    if kind == "ArrayList" and isinstance(value, list):
        return f"new ArrayList<>(Arrays.asList({_joined(value, inner)}))"
    if isinstance(value, list):
        return f"new {inner.get('type', 'Object')}[]{{{_joined(value, inner)}}}"
    puts = " ".join(f'put("{name}", {_quoted(item, {})});' for name, item in value.items())
    return f"new HashMap<String, Object>() {{{{ {puts} }}}}"


def _joined(values: Sequence[Any], schema: Mapping[str, Any]) -> str:
    return ", ".join(_quoted(value, schema) for value in values)


def _quoted(value: Any, schema: Mapping[str, Any]) -> str:
    if not isinstance(value, str):
        return _java(value, schema)
    return f"'{value}'" if schema.get("type") == "char" else f'"{value}"'


def _javascript(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
