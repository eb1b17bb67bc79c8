"""Youtu-LLM: JSON calls in <tool_call> tags without line breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.hermes import Hermes
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_BEFORE = (
    "<|begin_of_tool_description|>Tool calling capabilities.\n"
    "You may call one or more functions to assist with the user query. You have the following "
    "functions available:\n"
)
_AFTER = (
    "For tool call returns, you MUST use the following format:\n"
    '<tool_call>{"name": "function-name", "arguments": {"param1": "value1", "param2": "value2"}}'
    "</tool_call>\n<|end_of_tool_description|>"
)
_READER = Hermes()


@agent_registry.add("youtu")
class Youtu(AgentTemplate):
    """Calls are read as Hermes reads them. Source: what ms-swift writes for Youtu-LLM."""

    results: ClassVar[Place] = Place.USER
    marks: ClassVar[tuple[str, ...]] = ("<tool_call>",)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        fenced = [
            span
            for tool in tools
            for span in (
                scaffold("```json\n"),
                Span(dump(tool.spec), Kind.TOOLS),
                scaffold("\n```\n"),
            )
        ]
        return ToolText([*lead, scaffold(_BEFORE), *fenced, scaffold(_AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            spans += (
                Span('<tool_call>{"name": "', Kind.CALL_MARK, None, index),
                Span(dump(call.name)[1:-1], Kind.CALL_NAME, None, index),
                Span('", "arguments": ', Kind.CALL_MARK, None, index),
                Span(dump(call.arguments), Kind.CALL_ARGS, None, index),
                Span("}</tool_call>", Kind.CALL_MARK, None, index),
            )
        return spans

    def write_result(self, result: Result) -> list[Span]:
        return [
            scaffold("\n<tool_response>" if result.index else "<tool_response>"),
            Span(result.content, Kind.RESULT),
            scaffold("</tool_response>"),
        ]

    def scan(self, window: Window) -> Scan:
        return _READER.scan(window)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f'{{"name": {dump(tool.name)}, "arguments": ')
            return f"{opening} {arguments} {closing}"

        closing = literal("}</tool_call>")
        calls, notes = json_calls(tools, parallel, CallForm(call, literal("<tool_call>")))
        return Grammar((Opening("<tool_call>", calls),), notes=notes)
