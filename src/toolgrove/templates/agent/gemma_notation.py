"""The notation of Gemma 4 and FunctionGemma: sorted keys, strings between quote marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from math import isfinite
from typing import Any, NamedTuple, cast

from toolgrove.core.jsonish import BROKEN, INCOMPLETE, loads_object, object_end
from toolgrove.core.messages import Tool
from toolgrove.templates.notations import Notation as ValueNotation
from toolgrove.templates.scanning import past_space

_PLAIN_KEY = re.compile(r"[\w.\-$@/]+")
_KEY = re.compile(r"[^:,{}\[\]<]*")
_BARE = re.compile(r"[^,{}\[\]<]*")
_INTEGER = re.compile(r"-?\d{1,4000}")
_FLOAT = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "none": None}
_NOT_SHOWN = frozenset({"description", "type", "properties", "required", "nullable"})
_DEPTH = 100


class Piece(NamedTuple):
    """Text, and whether it is a quote mark and not data."""

    text: str
    mark: bool = False


_COMMA, _COLON = Piece(","), Piece(":")


class Keys(Enum):
    """How the keys of an object are written."""

    BARE = auto()
    """as they are"""
    SAFE = auto()
    """as they are where they read back so, else quoted"""
    QUOTED = auto()
    """all between quote marks"""


class Notation:
    """Writes and reads values with one quote mark, which cannot be escaped."""

    def __init__(self, quote: str) -> None:
        self._quote = quote
        self._mark = Piece(quote, mark=True)

    def members(self, value: Mapping[str, Any], keys: Keys) -> Iterator[Piece]:
        """What stands between the braces of an object."""
        for index, (key, item) in enumerate(_sorted(value)):
            if index:
                yield _COMMA
            yield from self._key(key, keys)
            yield from self._value(item, keys)

    def declaration(self, tool: Tool, native: bool) -> Iterator[Piece]:
        """A tool's name, description and parameters. ``native``: with the maker's omissions, which
        are parameters named like words of JSON Schema, and a brace where parameters have no type.
        """
        function = tool.function
        yield Piece(f"{tool.name}{{description:")
        yield from self._string(function.get("description", ""))
        parameters = _mapping(function.get("parameters"))
        if parameters:
            yield Piece(",parameters:{")
            if parameters.get("properties"):
                yield Piece("properties:{")
                yield from self._schemas(_mapping(parameters["properties"]), native)
                yield Piece("},")
            if parameters.get("required"):
                yield from self._required(parameters["required"])
                yield Piece(",")
            if parameters.get("type"):
                yield Piece("type:")
                yield from self._string(_upper(parameters["type"]))
            yield Piece("}" if parameters.get("type") or not native else "")
        if "response" in function:
            yield from self._response(_mapping(function["response"]), native)
        yield Piece("}")

    def for_grammar(self) -> ValueNotation:
        """The same notation for a grammar, as calls are written."""
        return ValueNotation(
            write=lambda value: self._text(self._value(value, Keys.SAFE)),
            key=lambda key: self._text(self._key(key, Keys.SAFE))[:-1],
            quotes=(self._quote,),
            escapes="",
            comma=",",
            colon=":",
            words=(("true",), ("false",), ("None", "null")),
            sort=True,
            bare_keys="\\u0000-#%-,:-?\\[-\\^`{-\\U0010ffff",
        )

    def read(self, text: str, brace: int) -> tuple[int, dict[str, Any] | None]:
        """Where the object that opens at ``brace`` ends, and its value.

        (INCOMPLETE, None) when the text ends first, (BROKEN, None) when it can become none. An
        object in JSON is read as such, also inside the braces.
        """
        first = past_space(text, brace + 1)
        if text.startswith(('"', "{"), first):
            return _read_json(text, brace if text[first] == '"' else first, brace)
        try:
            end, value = self._read_object(text, brace, 0)
        except _EndOfTextError:
            return INCOMPLETE, None
        except ValueError:
            return BROKEN, None
        return end, value

    def _string(self, text: Any) -> Iterator[Piece]:
        yield self._mark
        yield Piece(str(text))
        yield self._mark

    def _key(self, key: str, keys: Keys) -> Iterator[Piece]:
        """A key and its colon."""
        if keys is Keys.BARE or (keys is Keys.SAFE and _PLAIN_KEY.fullmatch(key)):
            yield Piece(key)
        else:
            yield from self._string(key)
        yield _COLON

    @staticmethod
    def _text(pieces: Iterable[Piece]) -> str:
        return "".join(piece.text for piece in pieces)

    def _value(self, value: Any, keys: Keys) -> Iterator[Piece]:
        if isinstance(value, str):
            yield from self._string(value)
        elif isinstance(value, bool):
            yield Piece("true" if value else "false")
        elif isinstance(value, Mapping):
            yield Piece("{")
            yield from self.members(cast(Mapping[str, Any], value), keys)
            yield Piece("}")
        elif isinstance(value, Sequence):
            yield Piece("[")
            for index, item in enumerate(cast(Sequence[Any], value)):
                if index:
                    yield _COMMA
                yield from self._value(item, keys)
            yield Piece("]")
        else:
            yield Piece(str(value))

    def _response(self, response: Mapping[str, Any], native: bool) -> Iterator[Piece]:
        yield Piece(",response:{")
        if response.get("description"):
            yield Piece("description:")
            yield from self._string(response["description"])
            yield Piece(",")
        is_object = _upper(response.get("type", "")) == "OBJECT"
        if is_object:
            yield Piece("type:")
            yield from self._string("OBJECT")
        yield Piece("}" if is_object or not native else "")

    def _schemas(self, properties: Mapping[str, Any], native: bool) -> Iterator[Piece]:
        shown = [item for item in _sorted(properties) if not (native and item[0] in _NOT_SHOWN)]
        for index, (key, schema) in enumerate(shown):
            yield Piece(f"{',' if index else ''}{key}:{{")
            yield from self._schema(_mapping(schema), native)
            yield Piece("}")

    def _schema(self, schema: Mapping[str, Any], native: bool) -> Iterator[Piece]:
        kind = _upper(schema.get("type", ""))
        if schema.get("description"):
            yield Piece("description:")
            yield from self._string(schema["description"])
            yield Piece(",")
        if kind == "STRING" and schema.get("enum"):
            yield Piece("enum:")
            yield from self._value(schema["enum"], Keys.QUOTED)
            yield Piece(",")
        if kind == "ARRAY" and _mapping(schema.get("items")):
            yield Piece("items:{")
            yield from self._items(_mapping(schema["items"]), native)
            yield Piece("},")
        if schema.get("nullable"):
            yield Piece("nullable:true,")
        if kind == "OBJECT":
            inner = schema.get("properties")
            yield Piece("properties:{")
            if isinstance(inner, Mapping):
                yield from self._schemas(_mapping(cast(Any, inner)), native)
            else:
                yield from self._schemas(schema, native=True)
            yield Piece("},")
            if schema.get("required"):
                yield from self._required(schema["required"])
                yield Piece(",")
        yield Piece("type:")
        yield from self._string(kind)

    def _items(self, items: Mapping[str, Any], native: bool) -> Iterator[Piece]:
        given = [(key, value) for key, value in _sorted(items) if value is not None]
        for index, (key, value) in enumerate(given):
            yield Piece("," if index else "")
            if key == "properties":
                yield Piece("properties:{")
                yield from self._schemas(_mapping(value), native)
                yield Piece("}")
            elif key == "required":
                yield from self._required(value)
            elif key == "type":
                yield Piece("type:")
                kinds = value if isinstance(value, str) else [_upper(kind) for kind in value]
                yield from self._value(_upper(kinds) if kinds is value else kinds, Keys.QUOTED)
            else:
                yield Piece(f"{key}:")
                yield from self._value(value, Keys.QUOTED)

    def _required(self, names: Iterable[Any]) -> Iterator[Piece]:
        yield Piece("required:[")
        for index, name in enumerate(names):
            yield Piece("," if index else "")
            yield from self._string(name)
        yield Piece("]")

    def _read_value(self, text: str, start: int, depth: int) -> tuple[int, Any]:
        at = _past(text, start)
        if text.startswith(self._quote, at):
            return self._read_string(text, at)
        self._refuse_half_a_quote(text, at)
        if text[at] == "{":
            return self._read_object(text, at, depth + 1)
        if text[at] == "[":
            return self._read_list(text, at, depth + 1)
        end = _match_end(_BARE, text, at)
        if end == at or text[end] not in ",}]":
            raise ValueError("no value")
        return end, _scalar(text[at:end].strip())

    def _read_string(self, text: str, at: int) -> tuple[int, str]:
        start = at + len(self._quote)
        end = text.find(self._quote, start)
        if end < 0:
            raise _EndOfTextError
        return end + len(self._quote), text[start:end]

    def _refuse_half_a_quote(self, text: str, at: int) -> None:
        if len(text) - at < len(self._quote) and self._quote.startswith(text[at:]):
            raise _EndOfTextError

    def _read_key(self, text: str, start: int) -> tuple[int, str]:
        at = _past(text, start)
        if text.startswith(self._quote, at):
            end, key = self._read_string(text, at)
        else:
            self._refuse_half_a_quote(text, at)
            end = _match_end(_KEY, text, at)
            key = text[at:end].strip()
            if not key:
                raise ValueError("no key")
        colon = _past(text, end)
        if text[colon] != ":":
            raise ValueError("no colon after a key")
        return colon + 1, key

    def _read_object(self, text: str, brace: int, depth: int) -> tuple[int, dict[str, Any]]:
        found: dict[str, Any] = {}
        at = _past(text, brace + 1)
        while text[at] != "}":
            at, key = self._read_key(text, at)
            at, found[key] = self._read_value(text, at, _checked(depth))
            at = _after_item(text, at, "}")
        return at + 1, found

    def _read_list(self, text: str, bracket: int, depth: int) -> tuple[int, list[Any]]:
        found: list[Any] = []
        at = _past(text, bracket + 1)
        while text[at] != "]":
            at, value = self._read_value(text, at, _checked(depth))
            found.append(value)
            at = _after_item(text, at, "]")
        return at + 1, found


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same text, with neighbours of one sort in one piece and no empty piece."""
    found: list[Piece] = []
    held, kind = "", False
    for text, mark in pieces:
        if mark is not kind and held:
            found.append(Piece(held, kind))
            held = ""
        kind = mark if text or not held else kind
        held += text
    if held:
        found.append(Piece(held, kind))
    return found


class _EndOfTextError(Exception):
    """More text may follow."""


def _past(text: str, start: int) -> int:
    at = past_space(text, start)
    if at == len(text):
        raise _EndOfTextError
    return at


def _match_end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    end = match.end() if match else start
    if end == len(text):
        raise _EndOfTextError
    return end


def _after_item(text: str, start: int, closes: str) -> int:
    """Where the next item begins, or the bracket that closes the row of items stands."""
    at = _past(text, start)
    if text[at] == ",":
        return _past(text, at + 1)
    if text[at] != closes:
        raise ValueError("neither a comma nor an end")
    return at


def _checked(depth: int) -> int:
    if depth > _DEPTH:
        raise ValueError("too deep")
    return depth


def _scalar(text: str) -> Any:
    word = text.lower()
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(float(text)):
        return float(text)
    return text


def _read_json(text: str, start: int, brace: int) -> tuple[int, dict[str, Any] | None]:
    """The JSON object at ``start``; where that is not ``brace``, a brace must follow it."""
    end = object_end(text, start)
    if end < 0:
        return end, None
    try:
        value = loads_object(text[start:end])
        if start != brace:
            after = _past(text, end)
            end = after + 1 if text[after] == "}" else BROKEN
    except _EndOfTextError:
        return INCOMPLETE, None
    except ValueError:
        return BROKEN, None
    return end, None if end == BROKEN else value


def _sorted(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(value.items(), key=lambda item: item[0].lower())


def _upper(value: Any) -> str:
    return str(value).upper()


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
