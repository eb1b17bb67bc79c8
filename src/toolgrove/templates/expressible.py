"""Schemas as a grammar can hold them: what it cannot is widened, and said by name.

What xgrammar 0.2.8 does with each keyword was tried out; ``test_expressible.py`` holds it to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple, cast

from toolgrove.core.messages import JSON, Tool
from toolgrove.templates.patterns import is_whole
from toolgrove.templates.typed import TYPE_NAMES, schema_types

_LEFT_OUT = (
    *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains"),
    *("dependentRequired", "dependentSchemas", "dependencies"),
    *("unevaluatedProperties", "unevaluatedItems"),
)
_ANNOTATIONS = frozenset(
    (
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly"),
        *("writeOnly", "nullable", "required", "$schema", "$id", "$comment"),
        *("definitions", "$defs"),
    )
)
_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?"
_ZONE = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX = "[0-9a-fA-F]"
_GROUP = f"{_HEX}{{1,4}}"
_IPV6 = "|".join(
    [
        f"({_GROUP}:){{7}}{_GROUP}",
        f"({_GROUP}:){{1,7}}:",
        f":(:{_GROUP}){{1,7}}",
        "::",
        *(f"({_GROUP}:){{1,{7 - n}}}(:{_GROUP}){{1,{n}}}" for n in range(1, 7)),
    ]
)
_FORMATS: Mapping[str, str] = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}{_ZONE}$",
    "date-time": f"^{_DATE}T{_TIME}{_ZONE}$",
    "uuid": f"^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$",
    "ipv6": f"^({_IPV6})$",
    "ipv4": f"^({_BYTE}[.]){{3}}{_BYTE}$",
}
"""formats as patterns: RFC 3339, 4122, 2673 and 4291"""
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_OF_TYPE = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "object": ("properties", "additionalProperties", "patternProperties", "propertyNames"),
}
_DEPTH = 32


class Expressible(NamedTuple):
    """Tools whose schemas a grammar can hold, and what was left out of them, in words."""

    tools: tuple[Tool, ...]
    notes: tuple[str, ...]


def expressible(tools: Sequence[Tool]) -> Expressible:
    """The same tools, each schema as narrow as a grammar can be. Law: a value that is valid for a
    tool's own schema is valid for the one given here; without notes the reverse holds too."""
    found: list[Tool] = []
    notes: list[str] = []
    for tool in tools:
        schema = _Widener(tool.name, tool.parameters, notes).root()
        function = {**tool.function, "parameters": schema}
        found.append(replace(tool, spec={"type": "function", "function": function}))
    return Expressible(tuple(found), tuple(notes))


class _Widener:
    """Rewrites one tool's schema."""

    def __init__(self, name: str, schema: JSON, notes: list[str]) -> None:
        self._name = name
        self._schema = schema
        self._notes = notes

    def root(self) -> JSON:
        """The schema of the whole arguments: always one of an object."""
        schema = self._schema
        types = schema_types(schema, schema)
        if types is not None and "object" not in types:
            self._note("", f"type {'/'.join(sorted(types))}", "any object")
            return {"type": "object"}
        if not schema.keys() - _ANNOTATIONS - {"type"}:
            return {"type": "object", "properties": {}}
        made = self._walk(schema, "", 0)
        for word in ("$defs", "definitions"):
            if isinstance(schema.get(word), dict):
                places = cast(JSON, schema[word])
                made[word] = {k: self._walk(v, f"/{word}/{k}", 1) for k, v in places.items()}
        return made if made.keys() & {"anyOf", "$ref"} else {**made, "type": "object"}

    def _note(self, path: str, word: str, instead: str) -> None:
        place = f" at {path}" if path else ""
        self._notes.append(f'tool "{self._name}": {word}{place} is not enforced; {instead} goes')

    def _walk(self, schema: Any, path: str, depth: int) -> JSON:
        if not isinstance(schema, Mapping):
            if schema is not True:
                self._note(path, f"the schema {schema!r}", "any value")
            return {}
        if depth > _DEPTH:
            self._note(path, "what is nested more deeply", "any value")
            return {}
        given = dict(cast(Mapping[str, Any], schema))
        for word in _LEFT_OUT:
            if word in given:
                del given[word]
                self._note(path, word, "any value that the rest of the schema allows")
        if "$ref" in given:
            return self._reference(given, path)
        for word in ("allOf", "oneOf", "anyOf"):
            options = given.get(word)
            if isinstance(options, list) and options:
                return self._options(given, word, path, depth)
        if "const" in given:
            return _literal(given["const"])
        if isinstance(given.get("enum"), list):
            return self._enum(given)
        return self._typed(given, path, depth)

    def _reference(self, given: JSON, path: str) -> JSON:
        reference = given["$ref"]
        place: Any = self._schema
        steps = str(reference).removeprefix("#").strip("/").split("/")
        for step in steps if str(reference).startswith("#") else ("?",):
            key = step.replace("~1", "/").replace("~0", "~")
            if key:
                place = cast(JSON, place).get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            self._note(path, f"the reference {reference!r}", "any value")
            return {}
        others = given.keys() - _ANNOTATIONS - {"$ref"}
        if others:
            self._note(path, ", ".join(sorted(others)), "what the reference allows")
        return {"$ref": reference}

    def _options(self, given: JSON, word: str, path: str, depth: int) -> JSON:
        options: list[Any] = given.pop(word)
        if word == "allOf":
            for option in options:
                given = self._merged(given, option, path)
            return self._walk(given, path, depth + 1)
        if word == "oneOf" and not self._differ(options):
            self._note(path, "oneOf", "what several options allow")
        made: list[Any] = []
        for number, option in enumerate(options):
            place = f"{path}/{word}/{number}"
            whole = (
                self._merged(given, option, place)
                if given.keys() - _ANNOTATIONS or ("required" in given and "properties" in given)
                else option
            )
            made.append(self._walk(whole, place, depth + 1))
        return made[0] if len(made) == 1 else {"anyOf": made}

    def _differ(self, options: Sequence[Any]) -> bool:
        """Whether no value can be of two options, by their types."""
        types = [schema_types(option, self._schema) for option in options]
        wide = [t and t | {"integer"} if t and "number" in t else t for t in types]
        return all(a and b and not a & b for a, b in combinations(wide, 2))

    def _merged(self, left: JSON, right: Any, path: str) -> JSON:
        """Both at once, as far as that can be said in one schema."""
        if not isinstance(right, Mapping):
            return left
        made = dict(left)
        for key, value in cast(JSON, right).items():
            old = made.get(key)
            if key not in made or key in _ANNOTATIONS - {"required"}:
                made[key] = value
            elif key == "required" and isinstance(old, list) and isinstance(value, list):
                made[key] = [*old, *(name for name in cast(list[Any], value) if name not in old)]
            elif key == "properties" and isinstance(old, dict) and isinstance(value, dict):
                both = cast(JSON, old), cast(JSON, value)
                made[key] = {
                    **both[0],
                    **{
                        name: {"allOf": [both[0][name], inner]} if name in both[0] else inner
                        for name, inner in both[1].items()
                    },
                }
            elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
                made[key] = max(cast(float, old), cast(float, value))
            elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems"):
                made[key] = min(cast(float, old), cast(float, value))
            elif old != value:
                self._note(path, f"a second {key}", "what the first one allows")
        return made

    def _enum(self, given: JSON) -> JSON:
        values = cast(list[Any], given["enum"])
        types = schema_types({k: v for k, v in given.items() if k != "enum"}, self._schema)
        kept = [value for value in values if types is None or _is_one(value, types)] or values
        if given.get("nullable") is True and None not in kept:
            kept = [*kept, None]
        if all(not isinstance(value, (dict, list)) for value in kept):
            own = schema_types({"enum": kept}, {}) or frozenset[str]()
            if types is not None and own < types <= _TYPES:
                return {"type": sorted(types), "enum": kept}  # a reader goes by all of them
            return {"enum": kept}
        return {"anyOf": [_literal(value) for value in kept]}

    def _typed(self, given: JSON, path: str, depth: int) -> JSON:
        types = self._types(given, path)
        made: JSON = {"type": types[0] if len(types) == 1 else types} if types else {}
        wide = {"number"} if "integer" in types else set[str]()
        for kind in {*types} | wide:
            for word in _OF_TYPE.get(kind, ()):
                if word in given:
                    made[word] = given[word]
        if {"number", "integer"} & {*types}:
            self._limits(made, path)
        if "string" in types:
            self._string(made, path)
        if "array" in types:
            self._array(made, path, depth)
        if "object" in types:
            self._object(given, made, path, depth)
        return made

    def _types(self, given: JSON, path: str) -> list[str]:
        stated = given.get("type")
        names = cast(list[Any], stated) if isinstance(stated, list) else [stated] if stated else []
        types = [TYPE_NAMES.get(str(name).lower(), str(name).lower()) for name in names]
        unknown = [name for name in types if name not in _TYPES]
        if unknown:
            self._note(
                path, f'the type "{unknown[0]}", which JSON Schema does not have,', "any value"
            )
            return []
        if not types:
            types = [kind for kind, words in _OF_TYPE.items() if given.keys() & {*words}]
            if not types:
                return []
        if given.get("nullable") is True and "null" not in types:
            types.append("null")
        return list(dict.fromkeys(types))

    def _limits(self, made: JSON, path: str) -> None:
        for word, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(made.get(word), bool) and made.pop(word) and plain in made:
                made[word] = made.pop(plain)
        step = made.get("multipleOf")
        if step is not None and not (isinstance(step, int) and made.get("type") == "integer"):
            del made["multipleOf"]
            self._note(path, "multipleOf", "any number")

    def _string(self, made: JSON, path: str) -> None:
        kind = made.pop("format", None)
        if isinstance(kind, str) and kind in _FORMATS:
            made.setdefault("pattern", _FORMATS[kind])
        given = made.get("pattern")
        if given is not None:
            if not is_whole(given):
                del made["pattern"]
                self._note(path, f"the pattern {given!r}", "any string")
            for word in ("minLength", "maxLength"):
                if "pattern" in made and word in made:
                    del made[word]
                    self._note(path, f"{word} beside a pattern", "any length")

    def _array(self, made: JSON, path: str, depth: int) -> None:
        if isinstance(made.get("items"), list):
            made["prefixItems"] = made.pop("items")
        if isinstance(made.get("prefixItems"), list):
            places = enumerate(cast(list[Any], made["prefixItems"]))
            made["prefixItems"] = [self._walk(s, f"{path}/{n}", depth + 1) for n, s in places]
            made.setdefault("items", {})
        if "items" in made and made["items"] is not False:
            made["items"] = self._walk(made["items"], f"{path}/items", depth + 1)

    def _object(self, given: JSON, made: JSON, path: str, depth: int) -> None:
        wanted = given.get("required")
        required = [str(n) for n in cast(list[Any], wanted)] if isinstance(wanted, list) else []
        properties = made.get("properties")
        if isinstance(properties, dict) or required:
            known = cast(JSON, properties) if isinstance(properties, dict) else {}
            allowed = {key: inner for key, inner in known.items() if inner is not False}
            allowed |= {name: {} for name in required if name not in known}
            made["properties"] = {
                key: self._walk(inner, f"{path}/{key}", depth + 1) for key, inner in allowed.items()
            }
            made["required"] = required
        if made.pop("patternProperties", None) is not None:
            self._note(path, "patternProperties", "any further argument")
            made["additionalProperties"] = {}
        others = made.get("additionalProperties")
        if others not in (None, True, False):
            made["additionalProperties"] = self._walk(others, f"{path}/*", depth + 1)
        for word in ("minProperties", "maxProperties"):
            if word in given:
                made[word] = given[word]


def _literal(value: Any) -> JSON:
    """Exactly this value, however it is spaced."""
    if isinstance(value, dict):
        items = cast(JSON, value)
        inner = {key: _literal(item) for key, item in items.items()}
        return {
            "type": "object",
            "properties": inner,
            "required": list(items),
            "additionalProperties": False,
        }
    if isinstance(value, list):
        elements = [_literal(item) for item in cast(list[Any], value)]
        count = len(elements)
        if not count:
            return {"type": "array", "maxItems": 0}
        return {"type": "array", "prefixItems": elements, "items": False, "minItems": count}
    return {"enum": [value]}


def _is_one(value: Any, types: frozenset[str]) -> bool:
    own = schema_types({"const": value}, {}) or frozenset[str]()
    return bool(own & types) or ("number" in types and "integer" in own)
