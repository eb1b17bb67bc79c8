"""DeepSeek V3.1: calls with a name and JSON between tool tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.deepseek_v3 import (
    CALL_CLOSE,
    CALL_OPEN,
    CALLS_CLOSE,
    CALLS_OPEN,
    MARK,
    SEPARATOR,
    call_at,
    check_name,
    tool_text,
    written_arguments,
)
from toolgrove.templates.base import AgentTemplate, agent_registry
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import find_call
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

_ASK = (
    "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
    f"{CALLS_OPEN}{CALL_OPEN}tool_call_name{SEPARATOR}tool_call_arguments{CALL_CLOSE}"
    f"{{additional_tool_calls}}{CALLS_CLOSE}\n\n"
    "Where:\n"
    "- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema"
    "\n- For multiple tool calls, chain them directly without separators or spaces"
)


@agent_registry.add("deepseek_v3_1")
class DeepSeekV31Agent(AgentTemplate):
    """Source: the chat template of DeepSeek-V3.1, which shows no tools; the words about them are
    those of its model card."""

    results: ClassVar[Place] = Place.TOOL
    marks: ClassVar[tuple[str, ...]] = (MARK,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        return tool_text(tools, default if system is None else system, system, _ASK)

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            check_name(call)
            opening = CALL_OPEN if index else CALLS_OPEN + CALL_OPEN
            closing = CALL_CLOSE + (CALLS_CLOSE if index == len(calls) - 1 else "")
            spans += (
                Span(opening, Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span(SEPARATOR, Kind.CALL_MARK, None, index),
                Span(written_arguments(call), Kind.CALL_ARGS, None, index),
                Span(closing, Kind.CALL_MARK, None, index),
            )
        return spans

    def scan(self, window: Window) -> Scan:
        return find_call(window, MARK, call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f"{CALL_OPEN}{tool.name}{SEPARATOR}")
            return f"{opening} {arguments} {literal(CALL_CLOSE)}"

        calls, notes = json_calls(tools, parallel, CallForm(call, behind=literal(CALLS_CLOSE)))
        return Grammar((Opening(CALLS_OPEN, calls),), (CALL_OPEN,), notes)
