"""xLAM rows: a query, the tools on offer, and the calls that answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.data.assemble import assemble
from toolgrove.data.calls import read_tool_calls
from toolgrove.data.fields import as_list, as_object, bad, filled, parse_loose, show, text
from toolgrove.data.format import Format, formats
from toolgrove.data.schemas import from_flat
from toolgrove.data.talk import Talk


@formats.add("xlam")
class XLam(Format):
    """xlam-function-calling-60k: tools and answers as JSON text; parameters by name.

    Python's types in the parameters become those of JSON Schema. Values of arguments stay what
    they are. No answers at all means that no tool fits: the row then awaits its answer.
    """

    rank: ClassVar[int] = 42

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has a query, tools, and a list of calls as answers."""
        if not (isinstance(row.get("query"), str) and filled(row, "tools")):
            return ""
        answers = row.get("answers")
        listed = answers.lstrip()[:1] == "[" if isinstance(answers, str) else as_list(answers)
        calls = listed is True or listed == [] or _are_calls(listed)
        return 'the columns "query", "tools" and "answers", with calls as answers' if calls else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The question and the turn that calls."""
        talk = Talk()
        talk.messages.append(Message(Role.USER, text(row["query"], "query")))
        calls = read_tool_calls(row["answers"], "answers")
        if calls:
            talk.messages.append(Message(Role.ASSISTANT, "", calls=calls))
        tools = {"tools": _tools(row["tools"])}
        return assemble({**row, **tools}, talk, ["query", "answers"])


def _are_calls(items: Any) -> bool:
    objects = [as_object(item) for item in as_list(items) or ()]
    return bool(objects) and all(item is not None and "name" in item for item in objects)


def _tools(value: Any) -> list[JSON]:
    if isinstance(value, str):
        try:
            value = parse_loose(value)
        except ValueError as error:
            raise bad("tools", f"not JSON ({error}): {show(value)}") from None
    found: list[JSON] = []
    for index, item in enumerate(as_list(value) or ()):
        tool = as_object(item)
        if tool is None:
            raise bad(f"tools[{index}]", f"not an object: {show(item)}")
        parameters = as_object(tool.get("parameters"))
        if parameters is not None and _is_flat(parameters):
            flat = from_flat(parameters, f"tools[{index}].parameters")
            tool = {**tool, "parameters": flat}
        found.append(tool)
    return found


def _is_flat(parameters: JSON) -> bool:
    """Whether parameters are named one by one, and not a JSON Schema."""
    return not (isinstance(parameters.get("type"), str) or "properties" in parameters)
