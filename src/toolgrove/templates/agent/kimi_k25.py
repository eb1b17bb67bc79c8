"""Kimi K2.5: the calls of Kimi K2, the tools as TypeScript types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from toolgrove.core.jsonish import dump, loads_object
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.kimi_k2 import KimiAgent
from toolgrove.templates.base import agent_registry, scaffold
from toolgrove.templates.repeated import written_once

_STEP = "  "
_UNION = {"integer": "number", "object": "{}", "array": "Array<any>"}
_LIMITS = {
    "string": ("maxLength", "minLength", "pattern"),
    "number": ("maximum", "minimum"),
    "integer": ("maximum", "minimum"),
    "array": ("maxItems", "minItems"),
}
_SELF = "parameters"


@agent_registry.add("kimi_k25")
class KimiK25Agent(KimiAgent):
    """Source: the tool declarations that Kimi K2.5's tokenizer makes: keys in the order of the
    alphabet, required ones first; descriptions, limits and defaults as comments.

    Where the maker fails on a schema without a known type, ``any`` is written.
    """

    def declare(self, tools: Sequence[Tool]) -> list[Span]:
        types = "\n".join([_declaration(tool) for tool in tools])
        opening = "# Tools\n\n## functions\nnamespace functions {\n"
        return [scaffold(opening), Span(types, Kind.TOOLS), scaffold("\n}\n")]


@written_once
def _declaration(tool: Tool) -> str:
    """The tool's TypeScript."""
    return _function(_sorted(loads_object(dump(tool.function))))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        return {key: _sorted(item) for key, item in sorted(items, key=lambda item: str(item[0]))}
    return [_sorted(item) for item in cast(list[Any], value)] if isinstance(value, list) else value


def _function(function: Mapping[str, Any]) -> str:
    given = function.get("parameters")
    parameters = cast(dict[str, Any], given) if isinstance(given, dict) else {}
    lines: list[str] = []
    refers_to_itself = _has_self_reference(parameters)
    if refers_to_itself:
        lines.append(f"interface {_SELF} {_object(parameters, '')}")
    for name, schema in _definitions(parameters).items():
        lines.append(f"{_about(schema, '')}interface {name} {_type(schema, '')}")
    about = _about(function, "")
    signature = _SELF if refers_to_itself else _object(parameters, "")
    return "\n".join([*lines, f"{about}type {function['name']} = (_: {signature}) => any;"])


def _about(schema: Any, indent: str) -> str:
    """The description as comment lines."""
    text = cast(Mapping[str, Any], schema).get("description") if isinstance(schema, dict) else None
    if not isinstance(text, str) or not text:
        return ""
    return "".join(f"{indent}// {line}\n" if line else "\n" for line in text.split("\n"))


def _comments(schema: Any, indent: str) -> str:
    """The description and, for plain types, the limits."""
    if not isinstance(schema, dict):
        return ""
    schema = cast(dict[str, Any], schema)
    kind = schema.get("type")
    is_plain = isinstance(kind, str) and not {"$ref", "anyOf", "enum"} & schema.keys()
    keys = _LIMITS.get(kind, ()) if is_plain else ()
    limits = ", ".join(f"{key}: {schema[key]}" for key in sorted(keys) if key in schema)
    return _about(schema, indent) + (f"{indent}// {limits}\n" if limits else "")


def _type(schema: Any, indent: str) -> str:
    """A schema's type in TypeScript."""
    if not isinstance(schema, dict):
        return "null" if schema is False else "any"
    schema = cast(dict[str, Any], schema)
    kind = schema.get("type")
    if isinstance(schema.get("$ref"), str):
        reference = schema["$ref"]
        return _SELF if reference == "#" else reference.rpartition("/")[2]
    if isinstance(schema.get("anyOf"), list):
        return " | ".join(_type(option, indent) for option in schema["anyOf"])
    if isinstance(schema.get("enum"), list):
        return " | ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in schema["enum"])
    if isinstance(kind, list):
        return " | ".join(_UNION.get(str(k), str(k)) for k in cast(list[Any], kind))
    if kind == "object":
        return _object(schema, indent)
    if kind == "array":
        return _array(schema.get("items"), indent)
    return {"integer": "number"}.get(kind, kind) if isinstance(kind, str) else "any"


def _array(items: Any, indent: str) -> str:
    inner = indent + _STEP
    comments = _comments(items, inner)
    if not comments:
        return f"Array<{_type(items, indent) if items else 'any'}>"
    return f"Array<\n{comments}{inner}{_type(items, inner)}\n{indent}>"


def _object(schema: Mapping[str, Any], indent: str) -> str:
    inner = indent + _STEP
    given = schema.get("properties")
    properties = cast(dict[str, Any], given) if isinstance(given, dict) else {}
    wanted = schema.get("required")
    required = cast(list[Any], wanted) if isinstance(wanted, list) else []
    names = sorted(properties, key=lambda name: (name not in required, name))
    fields = [
        _field(name, properties[name], "" if name in required else "?", inner) for name in names
    ]
    others = schema.get("additionalProperties")
    if others is not None:
        fields.append(f"{inner}[k: string]: {'never' if others is False else _type(others, inner)}")
    return "{\n" + ",\n".join(fields) + f"\n{indent}}}" if fields else "{}"


def _field(name: str, schema: Any, mark: str, indent: str) -> str:
    default = cast(dict[str, Any], schema).get("default") if isinstance(schema, dict) else None
    note = ""
    if default is not None:
        plain = isinstance(default, int | float)
        note = (
            f"{indent}// Default: {default!r}\n"
            if plain
            else f"{indent}// Default: {dump(default)}\n"
        )
    return f"{_comments(schema, indent)}{note}{indent}{name}{mark}: {_type(schema, indent)}"


def _definitions(schema: Any) -> dict[str, Any]:
    """All that stands under $defs, anywhere in a schema."""
    found: dict[str, Any] = {}
    if isinstance(schema, dict):
        schema = cast(dict[str, Any], schema)
        own = schema.get("$defs")
        if isinstance(own, dict):
            found |= cast(dict[str, Any], own)
        for key, value in schema.items():
            found |= {} if key == "$defs" else _definitions(value)
    elif isinstance(schema, list):
        for value in cast(list[Any], schema):
            found |= _definitions(value)
    return found


def _has_self_reference(schema: Any) -> bool:
    if isinstance(schema, dict):
        schema = cast(dict[str, Any], schema)
        return schema.get("$ref") == "#" or any(_has_self_reference(v) for v in schema.values())
    return isinstance(schema, list) and any(map(_has_self_reference, cast(list[Any], schema)))
