"""Tool calls, from the shapes that rows have them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolgrove.core.errors import did_you_mean
from toolgrove.core.messages import JSON, ToolCall
from toolgrove.data.fields import as_list, as_object, bad, describe, parse_json, parse_loose, show

_HEAVIEST = 1e9
_CALL_HINT = 'a call is {"name": "...", "arguments": {...}}'


def read_calls(value: Any, path: str) -> tuple[ToolCall, ...]:
    """The calls of a ``tool_call`` message: one or a list of them, as JSON text or as values."""
    if isinstance(value, str):
        value = _parsed(value, path)
    items = as_list(value)
    if items is None:
        return (read_call(value, path),)
    if not items:
        raise bad(path, "an empty list of calls", _CALL_HINT)
    return tuple(read_call(item, f"{path}[{index}]") for index, item in enumerate(items))


def read_tool_calls(value: Any, path: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant's ``tool_calls`` key; null and an empty list mean none."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = _parsed(value, path) if value.strip() else []
    items = as_list(value)
    if items is None:
        raise bad(path, f"not a list but {describe(value)}", "tool_calls is a list")
    return tuple(read_call(item, f"{path}[{index}]") for index, item in enumerate(items))


def read_call(value: Any, path: str) -> ToolCall:
    """One call: flat, in OpenAI's ``function`` wrapper, or as JSON text of either."""
    if isinstance(value, str):
        value = _parsed(value, path)
    outer = as_object(value)
    if outer is None:
        raise bad(path, f"a call that is no object but {describe(value)}", _CALL_HINT)
    inner = outer
    if outer.get("function") is not None and outer.get("name") is None:
        path = f"{path}.function"
        wrapped = as_object(outer["function"])
        if wrapped is None:
            raise bad(path, f"not an object: {show(outer['function'])}", _CALL_HINT)
        inner = wrapped
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise bad(path, f"a call without a name: {show(inner)}", f'add "name"; {_CALL_HINT}')
    arguments, given = _arguments(inner, path)
    call_id = outer.get("id")
    if call_id is not None and not isinstance(call_id, str):
        call_id = str(call_id)
    return with_weights(ToolCall(name, arguments, id=call_id, given=given), outer, path)


def with_weights(call: ToolCall, entry: Mapping[str, Any], path: str) -> ToolCall:
    """The call with the weights that the entry carries, where it carries any."""
    loss, loss_scale = read_loss(entry, path), read_loss_scale(entry, path)
    if loss is None and loss_scale is None:
        return call
    return replace(
        call,
        loss=call.loss if loss is None else loss,
        loss_scale=call.loss_scale if loss_scale is None else loss_scale,
    )


def read_loss(entry: Mapping[str, Any], path: str) -> bool | None:
    """The entry's own ``loss`` flag, or None."""
    value = entry.get("loss")
    if value is None or isinstance(value, bool):
        return value
    raise bad(f"{path}.loss", f"expected true or false, found {describe(value)}")


def read_loss_scale(entry: Mapping[str, Any], path: str) -> float | None:
    """The entry's own ``loss_scale`` weight, or None."""
    value = entry.get("loss_scale")
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < _HEAVIEST:
        raise bad(
            f"{path}.loss_scale",
            f"expected a number from 0 up, found {describe(value)}",
        )
    return float(value)


def _arguments(call: JSON, path: str) -> tuple[JSON, str | None]:
    """The arguments as values, and their own text where the row has them as a string."""
    found = [key for key in ("arguments", "parameters") if call.get(key) is not None]
    if len(found) == 2:
        raise bad(path, 'a call with both "arguments" and "parameters"', 'keep "arguments"')
    if not found:
        _refuse_misspelled(call, path)
        return {}, None
    path = f"{path}.{found[0]}"
    value, given = call[found[0]], None
    if isinstance(value, str):
        value, given = _from_text(value, path)
    arguments = as_object(value)
    if arguments is None:
        raise bad(
            path,
            f"arguments that are no object but {describe(value)}",
            "name each argument: {...}",
        )
    return arguments, given


def _from_text(source: str, path: str) -> tuple[Any, str | None]:
    """The value of the text, with the text itself where it is JSON (a Python literal is not)."""
    if not source.strip():
        return {}, None
    try:
        return parse_json(source), source
    except ValueError:
        return _parsed(source, path), None


def _refuse_misspelled(call: JSON, path: str) -> None:
    """Arguments may be left out, but not be written under a name that nobody reads."""
    for key, value in call.items():
        near = key in {"args", "params", "input", "kwargs"} or did_you_mean(key, ["arguments"])
        if near and key not in {"arguments", "parameters"} and value is not None:
            raise bad(path, f'a call with "{key}" in place of "arguments"', 'rename it "arguments"')


def _parsed(source: str, path: str) -> Any:
    try:
        return parse_loose(source)
    except ValueError as error:
        raise bad(path, f"not JSON ({error}): {show(source)}", _CALL_HINT) from None
