"""Xing 4.0: <tool_call> with <param_key> and <param_value> pairs, all on one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.spark2_5 import spark_response
from toolgrove.templates.agent.tagged import CallForm, TaggedCalls
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Place, Result, ToolText

_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nFor each function call, output the function name and arguments within the "
    "following XML format:\n<tool_call>{function-name}"
    "<param_key>{param-key-1}</param_key><param_value>{param-value-1}</param_value>"
    "<param_key>{param-key-2}</param_key><param_value>{param-value-2}</param_value>...</tool_call>"
)


@agent_registry.add("xing4_0")
class Xing40Calls(TaggedCalls):
    """Under another family's chat template results stand inside the assistant's turn, between
    Xing's own marks. Source: what ms-swift writes for Xing 4.0."""

    results: ClassVar[Place] = Place.TOOLS
    elsewhere: ClassVar[Place | None] = Place.ASSISTANT
    call_stop: ClassVar[str] = "<_end>"
    marks: ClassVar[tuple[str, ...]] = ("<tool_call>",)
    form: ClassVar[CallForm] = CallForm(
        open="<tool_call>",
        named="",
        key="<param_key>",
        value="</param_key><param_value>",
        ended="</param_value>",
        close="</tool_call>",
    )

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system)] if text else []
        lines = [
            span for tool in tools for span in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))
        ]
        return ToolText([*lead, scaffold("\n" + _BEFORE), *lines, scaffold(_AFTER)], [])

    def write_result(self, result: Result) -> list[Span]:
        start = "" if result.index else "\n<_observation>"
        end = "<_bot>" if result.index == result.count - 1 else ""
        return [scaffold(start), *spark_response(result.content), scaffold(end)]

    def write_orphan(self, result: Result) -> list[Span]:
        start = "" if result.index else "<_observation>"
        return [scaffold(start), *spark_response(result.content)]
