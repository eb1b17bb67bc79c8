"""Tools on offer, from the shapes that rows have them in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from toolgrove.core.messages import JSON, Tool
from toolgrove.data.fields import as_list, as_object, bad, describe, parse_loose, show

_LONGEST_SHARED = 50_000
"""Longer lists of tools are read anew for each row, so that the memory of them stays small."""
_LIST_HINT = 'tools is a list: [{"type": "function", "function": {"name": ...}}]'


def read_tools(value: Any, path: str = "tools") -> tuple[Tool, ...]:
    """The tools of a row's column: a list, or a list as JSON text; null and "" mean none."""
    if value is None:
        return ()
    if isinstance(value, str):
        return _shared(value, path) if len(value) <= _LONGEST_SHARED else _listed(value, path)
    return _listed(value, path)


@lru_cache(maxsize=1024)
def _shared(source: str, path: str) -> tuple[Tool, ...]:
    """The tools of a text that many rows have: read once, since nobody changes a tool."""
    return _listed(source, path)


def _listed(value: Any, path: str) -> tuple[Tool, ...]:
    if isinstance(value, str):
        value = _parsed(value, path)
    items = as_list(value)
    if items is None:
        raise bad(path, f"not a list but {describe(value)}", _LIST_HINT)
    return tuple(_tool(item, f"{path}[{index}]") for index, item in enumerate(items))


def _parsed(source: str, path: str) -> Any:
    if not source.strip():
        return []
    try:
        return parse_loose(source)
    except ValueError as error:
        raise bad(path, f"not JSON ({error}): {show(source)}", _LIST_HINT) from None


def _tool(item: Any, path: str) -> Tool:
    if isinstance(item, str):
        item = _parsed(item, path)
    given = as_object(item)
    if given is None:
        raise bad(path, f"not an object but {describe(item)}", _LIST_HINT)
    tool = Tool(_wrapped(given, path))
    function = tool.function
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise bad(path, "a tool without a name", 'add "name" to its function')
    parameters = function.get("parameters")
    if parameters is not None and as_object(parameters) is None:
        raise bad(
            f"{path} ({name}).parameters",
            f"not an object but {describe(parameters)}",
            'parameters is a JSON Schema: {"type": "object", "properties": {...}}',
        )
    return tool


def _wrapped(given: JSON, path: str) -> JSON:
    """The tool in OpenAI's form, with the row's own keys and their order."""
    if "function" in given:
        if as_object(given["function"]) is None:
            found = given["function"]
            raise bad(f"{path}.function", f"not an object but {describe(found)}")
        return given if "type" in given else {"type": "function", **given}
    flat = {key: value for key, value in given.items() if key != "type"}
    if "input_schema" in flat and "parameters" not in flat:
        renamed = {"input_schema": "parameters"}
        flat = {renamed.get(key, key): value for key, value in flat.items()}
        return {"type": "function", "function": flat}
    return {"type": "function", "function": flat if "type" in given else given}
