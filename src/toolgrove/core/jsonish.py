"""JSON as models write it: strict first, then with the slips that models make."""

from __future__ import annotations

import ast
import json
import re
from functools import lru_cache
from math import isfinite
from typing import Any, cast

from toolgrove.core.errors import TemplateError

INCOMPLETE = -1
"""``object_end``: the text ends before the object does."""
BROKEN = -2
"""``object_end``: what follows cannot become a JSON object."""

_PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]|<(?=/?[a-zA-Z_|｜])', re.DOTALL)


def finite(text: str) -> float:
    """The number; ValueError for one that is too large to be written again, or none at all."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


_DECODER = json.JSONDecoder(strict=False, parse_float=finite, parse_constant=finite)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)


def dump(value: Any, *, indent: int | None = None) -> str:
    """JSON text as the makers' templates write it: ``, `` and ``: ``, no escapes beyond JSON's own.

    A float that JSON cannot carry (NaN, infinity) is refused, as is a value that holds itself.
    """
    try:
        text = _ENCODER.encode(value)
        return text if indent is None else _indented(text, indent)
    except (ValueError, RecursionError) as error:
        raise TemplateError(
            f"a value that JSON cannot carry: {error}",
            hint="replace NaN and infinities by null or by a string",
        ) from error


@lru_cache(maxsize=1024)
def _indented(text: str, indent: int) -> str:
    """JSON text on several lines. Python indents slowly, and tools come with every conversation."""
    return json.dumps(json.loads(text), ensure_ascii=False, indent=indent)


def object_end(text: str, start: int) -> int:
    """Where the object that opens at ``text[start] == "{"`` ends (exclusive).

    INCOMPLETE when the text ends first, BROKEN when a tag stands outside a string before the
    object is closed. Law: a decision other than INCOMPLETE does not change with more text.
    """
    if text.find("}", start) >= 0:  # the decoder is five times as fast, but knows sound JSON only
        try:
            return _DECODER.raw_decode(text, start)[1]
        except (ValueError, RecursionError):
            pass
    closers: list[str] = []
    for piece in _PIECE.finditer(text, start):
        mark = piece.group()
        if mark == '"':
            return INCOMPLETE
        if mark == "<":
            return BROKEN
        if mark == "{":
            closers.append("}")
        elif mark == "[":
            closers.append("]")
        elif mark in "}]":
            if closers.pop() != mark:
                return BROKEN
            if not closers:
                return piece.end()
    return INCOMPLETE


def loads(text: str) -> Any:
    """The value of a JSON text; Python literals, trailing commas and missing closers are mended.

    ValueError when it cannot be read as a value.
    """
    text = text.strip()
    try:
        value, end = _DECODER.raw_decode(text)
        if end == len(text):
            return value
    except (ValueError, RecursionError):
        pass
    for candidate in (_without_trailing_commas(text), _closed(text)):
        if candidate != text:
            try:
                return _DECODER.decode(candidate)
            except (ValueError, RecursionError):
                continue
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError("neither JSON nor a Python literal") from error
    if not _is_json(value):
        raise ValueError("a Python literal that JSON cannot carry")
    return value


def loads_object(text: str) -> dict[str, Any]:
    """Like ``loads``, for objects only; ValueError for any other value."""
    value = loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast(dict[str, Any], value)


def _without_trailing_commas(text: str) -> str:
    return re.sub(
        r'("[^"\\]*(?:\\.[^"\\]*)*")|,(\s*[}\]])',
        lambda m: m.group(1) or m.group(2),
        text,
        flags=re.DOTALL,
    )


def _closed(text: str) -> str:
    closers: list[str] = []
    for piece in _PIECE.finditer(text):
        mark = piece.group()
        if mark in "{[":
            closers.append("}" if mark == "{" else "]")
        elif mark in "}]" and closers:
            closers.pop()
    return text + "".join(reversed(closers))


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value)
        return all(isinstance(key, str) and _is_json(item) for key, item in items.items())
    if isinstance(value, list):
        return all(_is_json(element) for element in cast(list[Any], value))
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, (str, int, bool))
