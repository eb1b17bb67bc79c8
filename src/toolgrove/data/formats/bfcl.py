"""Rows of the Berkeley Function Calling Leaderboard: a question, functions, accepted answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import JSON, Conversation, Message, Role, ToolCall
from toolgrove.data.assemble import assemble
from toolgrove.data.fields import as_list, as_object, bad, describe, show
from toolgrove.data.format import Format, formats
from toolgrove.data.schemas import BFCL_TYPES, json_types
from toolgrove.data.talk import Talk, add_messages

_ANSWERS = ("ground_truth", "possible_answer")
_LEFT_OUT = ""


@formats.add("bfcl")
class Bfcl(Format):
    """A case with its possible answers beside it is answered by the first accepted values.

    An argument whose first accepted value is "" may be left out and is, like one without any. The
    accepted answers stay in ``extra``; a case without answers awaits one.
    """

    rank: ClassVar[int] = 41

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has a question of turns and functions."""
        turns = as_list(row.get("question"))
        functions = row.get("function")
        listed = bool(turns) and (as_list(functions) is not None or as_object(functions))
        nested = listed and as_list((turns or [None])[0]) is not None
        return 'the columns "question" (a list of turns) and "function"' if nested else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The question with its tools and, where the row has answers, the calls."""
        turns = as_list(row["question"]) or []
        if len(turns) != 1:
            raise bad("question", f"{len(turns)} turns without the answers between them")
        talk = Talk()
        add_messages(talk, as_list(turns[0]) or [], "question[0]")
        listed = as_list(row["function"])
        functions = [row["function"]] if listed is None else listed
        tools = [_tool(item, f"function[{i}]") for i, item in enumerate(functions)]
        calls = _calls(row, tools)
        if calls:
            talk.messages.append(Message(Role.ASSISTANT, "", calls=calls))
        return assemble({**row, "tools": tools}, talk, ["question", "function"])


def _tool(item: Any, path: str) -> JSON:
    function = as_object(item)
    if function is None:
        raise bad(path, f"not an object but {describe(item)}")
    given = function.get("parameters")
    parameters = {} if given is None else as_object(given)
    if parameters is None:
        raise bad(f"{path}.parameters", f"not an object but {describe(given)}")
    return {**function, "parameters": json_types(parameters, BFCL_TYPES)}


def _calls(row: Mapping[str, Any], tools: list[JSON]) -> tuple[ToolCall, ...]:
    column = next((name for name in _ANSWERS if row.get(name) is not None), None)
    if column is None:
        return ()
    items = as_list(row[column])
    if items is None:
        raise bad(column, f"not a list but {describe(row[column])}")
    required = {tool.get("name"): tool["parameters"].get("required", ()) for tool in tools}
    return tuple(_call(item, f"{column}[{i}]", required) for i, item in enumerate(items))


def _call(item: Any, path: str, required: Mapping[Any, Any]) -> ToolCall:
    answer = as_object(item)
    if answer is None or len(answer) != 1:
        raise bad(path, f"no accepted call: {show(item)}", '{"name": {"argument": [values]}}')
    (name, accepted), *_ = answer.items()
    arguments: JSON = {}
    for key, values in (as_object(accepted) or {}).items():
        listed = as_list(values)
        if listed == [] and key not in required.get(name, ()):
            continue
        if not listed:
            what = "no accepted value for a required argument"
            if listed is None:
                what = f"no list of accepted values: {show(values)}"
            raise bad(f"{path}.{name}.{key}", what)
        if listed[0] != _LEFT_OUT or key in required.get(name, ()):
            arguments[key] = _first(listed[0])
    return ToolCall(name, arguments)


def _first(value: Any) -> Any:
    """The value; inside an object each key lists its accepted values, and the first is taken."""
    given = as_object(value)
    if given is None:
        items = as_list(value)
        return [_first(item) if as_object(item) else item for item in items] if items else value
    first: JSON = {}
    for key, inner in given.items():
        values = as_list(inner)
        if values is None:
            first[key] = inner
        elif values and values[0] != _LEFT_OUT:
            first[key] = _first(values[0])
    return first
