"""Spark 2.5: <tool_call> with keys and values in tags, all on one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.tagged import CallForm, TaggedCalls
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Place, Result, ToolText


@agent_registry.add("spark2_5")
class Spark25Calls(TaggedCalls):
    """Source: the chat template of Spark 2.5. It shows each tool without its outer ``type``."""

    results: ClassVar[Place] = Place.TOOLS
    elsewhere: ClassVar[Place | None] = Place.USER
    marks: ClassVar[tuple[str, ...]] = ("<tool_call>",)
    form: ClassVar[CallForm] = CallForm(
        open="<tool_call>",
        named="",
        key="<arg_key>",
        value="</arg_key><arg_value>",
        ended="</arg_value>",
        close="</tool_call>",
    )

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        return ToolText([*lead, *spark_tools(tools)], [])

    def write_result(self, result: Result) -> list[Span]:
        return spark_response(result.content)


def spark_tools(tools: Sequence[Tool]) -> list[Span]:
    """The list of tools."""
    lines = [
        span for tool in tools for span in (scaffold("\n"), Span(dump(tool.function), Kind.TOOLS))
    ]
    opening = "## Tools\nYou have access to the following functions:\n<tools>"
    return [scaffold(opening), *lines, scaffold("\n</tools>")]


def spark_response(content: str, message: int | None = None) -> list[Span]:
    """One tool result in its tags."""
    return [
        scaffold("<tool_response>"),
        Span(content, Kind.RESULT, message),
        scaffold("</tool_response>"),
    ]
