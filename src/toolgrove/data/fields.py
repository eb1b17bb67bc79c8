"""Typed access to the loose values of a row."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, cast

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON

_BLANKS = re.compile(r"\s*")


class Column(NamedTuple):
    """A column of a row that was found under one of several names."""

    name: str
    value: Any


def bad(path: str, what: str, hint: str | None = None) -> DataError:
    """The error that names a path inside a row."""
    return DataError(f"{path}: {what}", hint=hint)


def as_object(value: Any) -> JSON | None:
    """The value if it is a JSON object, else None."""
    return cast(JSON, value) if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any] | None:
    """The value if it is a list, else None."""
    return cast(list[Any], value) if isinstance(value, list) else None


def filled(row: Mapping[str, Any], name: str) -> bool:
    """Whether the row has the column with a value other than null."""
    return row.get(name) is not None


def pick(row: Mapping[str, Any], names: Sequence[str]) -> Column | None:
    """The column that holds what ``names[0]`` means; the other names are its aliases.

    ``names[0]`` itself wins. Two filled aliases without it are an error, never a guess.
    """
    target = names[0]
    if row.get(target) is not None:
        return Column(target, row[target])
    found = [name for name in names if row.get(name) is not None]
    if not found:
        return None
    if len(found) > 1:
        names_found = " and ".join(f'"{name}"' for name in found)
        raise DataError(
            f"{names_found} could each be the {target}",
            hint=f"choose with --columns '{dump({found[0]: target})}'",
        )
    return Column(found[0], row[found[0]])


def text(value: Any, path: str) -> str:
    """The value if it is a string; anything else is an error."""
    if not isinstance(value, str):
        raise bad(path, f"expected text, found {describe(value)}", "write it as a string")
    return value


def optional_text(entry: Mapping[str, Any], key: str, path: str) -> str | None:
    """The string under ``key``, or None where it is absent or null."""
    value = entry.get(key)
    return None if value is None else text(value, f"{path}.{key}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "the boolean"
    if isinstance(value, int | float):
        return "the number"
    if isinstance(value, str):
        return "the string"
    return "the list" if isinstance(value, list | tuple) else "the object"


def describe(value: Any) -> str:
    """The value's kind with a little of it: ``the number 5``, ``null``."""
    return "null" if value is None else f"{_kind(value)} {show(value)}"


def show(value: Any, limit: int = 60) -> str:
    """A little of the value, for an error message."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= limit else shown[:limit] + "…"


def past_blanks(source: str, position: int) -> int:
    """Where the white space ends that stands at the position."""
    found = _BLANKS.match(source, position)
    return found.end() if found else position


def dump(value: Any) -> str:
    """The value as JSON text, its characters kept."""
    return json.dumps(value, ensure_ascii=False)


def parse_json(source: str) -> Any:
    """The JSON value of the text with exact types; ValueError where it is not JSON."""
    try:
        return _DECODER.decode(source)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_loose(source: str) -> Any:
    """The value of JSON text, or of a Python literal (``str(dict)``); ValueError if neither."""
    try:
        return parse_json(source)
    except ValueError as json_error:
        try:
            return _plain(_literal(source.strip()))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise json_error from None


def _literal(source: str) -> Any:
    """The Python literal; ValueError where a dict has a key twice, as most JSON objects are dicts
    to Python, too."""
    tree = ast.parse(source, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if len(set(keys)) < len(keys):
                raise ValueError("a key stands twice")
    return ast.literal_eval(tree)


def unique(pairs: list[tuple[str, Any]]) -> JSON:
    """The pairs as an object; ValueError where a key stands twice, since one value would be lost.

    For ``object_pairs_hook`` of ``json.loads``.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in made if keys.count(key) > 1)
        raise ValueError(f"the key {dump(twice)} stands twice in one object")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=unique)


def _plain(value: Any) -> Any:
    """A Python literal as JSON values: tuples become lists, what JSON lacks is a ValueError."""
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        if not all(isinstance(key, str) for key, _ in items):
            raise ValueError("a key that is not a string")
        return {key: _plain(inner) for key, inner in items}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast(Sequence[Any], value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"{type(value).__name__} is not JSON")
