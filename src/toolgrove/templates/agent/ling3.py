"""Ling 3: <tool_call>, the name on a line, keys and values in tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.tagged import CallForm, TaggedCalls
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Place, Result, ToolText

_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nIf none of the functions can be used, point it out. If the given question lacks "
    "the parameters required by the function, also point it out.\n"
    "If you need to use a function, for each function call, output the function name and arguments "
    "within the following XML format:\n"
    "<tool_call>{function-name}\n"
    "<arg_key>{arg-key-1}</arg_key>\n"
    "<arg_value>{arg-value-1}</arg_value>\n"
    "<arg_key>{arg-key-2}</arg_key>\n"
    "<arg_value>{arg-value-2}</arg_value>\n"
    "...\n"
    "</tool_call>\n"
)


@agent_registry.add("ling3")
class Ling3Calls(TaggedCalls):
    """Source: the chat template of Ling-3.0-flash."""

    results: ClassVar[Place] = Place.TOOLS
    elsewhere: ClassVar[Place | None] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = ("<tool_call>",)
    form: ClassVar[CallForm] = CallForm(
        open="<tool_call>",
        named="\n",
        key="<arg_key>",
        value="</arg_key>\n<arg_value>",
        ended="</arg_value>",
        close="\n</tool_call>",
        between="\n",
    )

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [] if text is None else [system_span(text, system), scaffold("\n")]
        lines = [
            span for tool in tools for span in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))
        ]
        return ToolText([*lead, scaffold(_BEFORE), *lines, scaffold(_AFTER)], [])

    def write_result(self, result: Result) -> list[Span]:
        return [scaffold("\n" if result.index else ""), *_response(result.content)]


def _response(content: str) -> list[Span]:
    return [
        scaffold("<tool_response>\n"),
        Span(content, Kind.RESULT),
        scaffold("\n</tool_response>"),
    ]
