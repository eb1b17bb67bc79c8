"""Gemma 3: bare JSON calls that the prompt asks for, results in ```tool_output blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.llama3 import Llama3Agent
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_ASK = (
    "You have access to functions. If you decide to invoke any of the function(s),\n"
    'you MUST put it in the format of\n{"name": function name, "parameters": dictionary of '
    "argument name and its value}\n\n"
    "You SHOULD NOT include any other text in the response if you call a function\n"
)
_JSON = Llama3Agent()


@agent_registry.add("gemma3")
class Gemma3Agent(AgentTemplate):
    """Gemma 3 has no marks for calls: its maker documents prompts that ask for them. Of the two
    forms there, Python calls and JSON objects, this is JSON, which keeps every type; several calls
    stand on lines of their own, and text before a call on the lines before.

    Source: "Function calling with Gemma" at ai.google.dev; the ```tool_output blocks are those of
    the maker's guides. Calls are read as Llama 3's are.
    """

    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = _JSON.marks
    call_opening: ClassVar[re.Pattern[str] | None] = _JSON.call_opening

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        listed = Span(dump([tool.function for tool in tools], indent=2), Kind.TOOLS)
        return ToolText([*lead, scaffold(_ASK), listed], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return _JSON.write_calls(calls, step)

    def write_result(self, result: Result) -> list[Span]:
        newline = "\n" if result.index else ""
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [scaffold(f"{newline}```tool_output\n"), *body, scaffold("\n```")]

    def scan(self, window: Window) -> Scan:
        return _JSON.scan(window)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar | None:
        return _JSON.call_grammar(tools, parallel)
