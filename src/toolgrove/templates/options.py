"""A JSON Schema taken apart into plain options, each of one JSON type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, cast

from toolgrove.core.messages import JSON
from toolgrove.templates.typed import json_type, referred, schema_types

ANY = "any"
"""the kind of an option that allows every value"""
KINDS = ("string", "integer", "number", "boolean", "null", "array", "object")
_DEPTH = 8
_JOINING = frozenset({"$ref", "anyOf", "oneOf", "allOf", "nullable"})
_TAKEN_APART = _JOINING | {"enum", "const"}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "object": (
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
    ),
}
_ALWAYS = ("not", "if", "enum", "const")


class Option(NamedTuple):
    """Values of one kind: a JSON type, or ``ANY``. ``values``: only these (None: not listed)."""

    kind: str
    schema: JSON
    values: tuple[Any, ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether every value of the kind is allowed."""
        words = (*_WORDS.get(self.kind, ()), *_ALWAYS)
        return self.values is None and not any(
            word in self.schema and not _says_nothing(word, self.schema[word]) for word in words
        )


def options(schema: Any, root: Mapping[str, Any]) -> list[Option]:
    """The options of a schema: a value is allowed when one of them allows it. ``$ref`` is looked
    up in ``root``; what is nested too deep counts as allowing everything."""
    kind = plain_kind(schema)
    if kind is not None:
        return [Option(kind, schema)]
    found: list[Option] = []
    for flat in _flat(schema, root, 0):
        found += _typed(flat)
    if any(option.kind == ANY and option.plain for option in found):
        return [Option(ANY, {})]
    return found


def plain_kind(schema: Any) -> str | None:
    """The JSON type of a schema that is one option as it stands; None where it is to be taken
    apart."""
    if not isinstance(schema, dict) or _TAKEN_APART & cast(JSON, schema).keys():
        return None
    kind = cast(JSON, schema).get("type")
    return kind if isinstance(kind, str) and kind in KINDS else None


def _flat(schema: Any, root: Mapping[str, Any], depth: int) -> list[JSON]:
    """Schemas without joining words, one of which must hold."""
    if schema is False:
        return []
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return [{}]
    schema = cast(Mapping[str, Any], schema)
    found: list[JSON] = [{k: v for k, v in schema.items() if k not in _JOINING}]
    parts: list[list[JSON]] = []
    if isinstance(schema.get("$ref"), str):
        parts.append(_flat(referred(schema["$ref"], root), root, depth + 1))
    parts += [_flat(part, root, depth + 1) for part in _listed(schema.get("allOf"))]
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            several = _listed(schema[word])
            parts.append([flat for one in several for flat in _flat(one, root, depth + 1)])
    for part in parts:
        found = [_merged(left, right) for left, right in product(found, part)]
    if schema.get("nullable") is True:
        found.append({"type": "null"})
    return found


def _merged(left: JSON, right: JSON) -> JSON:
    """Both schemas at once; where they speak of one property, the second one counts."""
    both = {**left, **right}
    if "properties" in left and "properties" in right:
        both["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left and "required" in right:
        both["required"] = [*left["required"], *right["required"]]
    return both


def _typed(schema: JSON) -> list[Option]:
    """The schema's options by type."""
    kinds = _kinds(schema)
    given = _values(schema)
    if given is None:
        return [Option(kind, schema) for kind in kinds]
    found: dict[str, list[Any]] = {}
    for value in given:
        kind = json_type(value)
        if kind == "integer" and "integer" not in kinds and "number" in kinds:
            kind = "number"
        if kind in kinds or ANY in kinds:
            found.setdefault(kind, []).append(value)
    return [Option(kind, schema, tuple(values)) for kind, values in found.items()]


def _values(schema: JSON) -> Sequence[Any] | None:
    if "const" in schema:
        return (schema["const"],)
    return cast(list[Any], schema["enum"]) if isinstance(schema.get("enum"), list) else None


def _kinds(schema: JSON) -> list[str]:
    """The types that a schema names, else the one that its words speak of, else ``ANY``."""
    if "type" in schema:
        named = schema_types({"type": schema["type"]}, {}) or frozenset()
        if named and named <= set(KINDS):
            return [kind for kind in KINDS if kind in named]
        return [ANY]
    if _values(schema) is None:
        for kind in ("object", "array", "string", "number"):
            if any(word in schema for word in _WORDS[kind]):
                return [kind]
    return [ANY]


def _says_nothing(word: str, value: Any) -> bool:
    """Whether a word of a schema with this value allows everything."""
    if word in ("items", "additionalProperties"):
        return value is True or value == {}
    return (
        value is None or value == [] or (word.startswith("min") and word != "minimum" and not value)
    )


def _listed(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
