"""Qwen3.5: tools as JSON lines with the system prompt behind them, calls in Qwen3-Coder's tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.qwen3_coder import HOW_TO_CALL, TOOLS_OPEN, QwenXML
from toolgrove.templates.base import agent_registry, scaffold, system_span
from toolgrove.templates.values import Result, ToolText


class QwenXMLWithJSONTools(QwenXML):
    """Source: the chat template of Qwen3.5-4B, which trims the system prompt and the results; a
    composed dialect leaves the results as they are."""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        lines = [
            span for tool in tools for span in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))
        ]
        text = ((default if system is None else system) or "").strip()
        trail = [scaffold("\n\n"), system_span(text, system)] if text else []
        return ToolText([scaffold(TOOLS_OPEN), *lines, scaffold(HOW_TO_CALL), *trail], [])

    def write_result(self, result: Result) -> list[Span]:
        newline = "\n" if result.index else ""
        content = result.content.strip() if result.native else result.content
        body = [Span(content, Kind.RESULT)] if content else []
        return [scaffold(f"{newline}<tool_response>\n"), *body, scaffold("\n</tool_response>")]


@agent_registry.add("qwen3_5")
class Qwen35(QwenXMLWithJSONTools):
    """Qwen3.5, whose own template prints ``True`` and ``None``."""

    python_scalars: ClassVar[bool] = True


@agent_registry.add("qwen3_6")
class Qwen36(QwenXMLWithJSONTools):
    """Qwen3.6 and 3.8, whose own templates print ``true`` and ``null``."""

    python_scalars: ClassVar[bool] = False
