"""ToolBench rows: ReAct steps whose prompt lists the APIs as JSON or as Python literals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message
from toolgrove.data.fields import bad
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import Dialect, has_tools, structured, system_text
from toolgrove.data.react_prompt import Recovered, joined, listed_tools, passage
from toolgrove.data.react_text import REACT, read_transcript

_TASK = ("ou can use many tools(functions) to do the following task.", "the following APIs:")
_OPENINGS = ("You are AutoGPT, y", "Y")


@formats.add("toolbench")
class ToolBench(Format):
    """ToolLLM's data: the list of APIs ends the prompt, results are turns of the role function.

    ``Finish`` is a tool like the others, as it is in the list.
    """

    rank: ClassVar[int] = 47

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the system prompt is ToolBench's task with a list of APIs."""
        if has_tools(row):
            return ""
        text = system_text(row)
        if "following APIs:" not in text or not passage(text, 0, _TASK):
            return ""
        return "ToolBench's task description with a list of APIs as the system prompt"

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The steps as messages, the tools out of the prompt."""
        return structured(row, Dialect(_prompt, _reply))


def _prompt(text: str, path: str) -> Recovered:
    task = passage(text, 0, _TASK)
    if task is None:
        raise bad(path, "no task description of ToolBench")
    before = text[: task[0]]
    for opening in _OPENINGS:
        if before.endswith(opening):
            before = before.removesuffix(opening)
            break
    tools = listed_tools(text[task[1] :], path)
    return Recovered(tools, joined([before.removesuffix("\n\n")]))


def _reply(text: str, path: str) -> list[Message]:
    return read_transcript(text, REACT, path)
