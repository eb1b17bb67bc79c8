"""Nemotron 3: calls as Qwen3-Coder has them, tools described in tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.qwen3_coder import HOW_TO_CALL, TOOLS_OPEN, QwenXML, described
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Result, ToolText


@agent_registry.add("nemotron3")
class Nemotron3Agent(QwenXML):
    """Source: the chat template of Nemotron-3-Nano-30B-A3B, which prints Python's ``True`` and
    ``None`` in calls; a composed dialect writes JSON's."""

    text_separator: ClassVar[str] = "\n"
    python_scalars: ClassVar[bool] = True
    after_calls: ClassVar[str] = "\n"

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        listed = [Span(described(tool, lists_apart=True), Kind.TOOLS) for tool in tools]
        return ToolText([*lead, scaffold(TOOLS_OPEN), *listed, scaffold(HOW_TO_CALL)], [])

    def write_result(self, result: Result) -> list[Span]:
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [scaffold("<tool_response>\n"), *body, scaffold("\n</tool_response>\n")]
