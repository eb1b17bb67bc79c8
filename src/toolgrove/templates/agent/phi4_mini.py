"""Phi-4-mini: a JSON list between <|tool_call|> and <|/tool_call|>."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.call_list import ListForm, list_grammar, scan_list, write_list
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import (
    Grammar,
)
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

_FORM = ListForm("<|tool_call|>", "<|/tool_call|>")
_NO_SYSTEM = "You are a helpful assistant with some tools."


@agent_registry.add("phi4_mini")
class Phi4Mini(AgentTemplate):
    """The tools' functions stand as a JSON list between ``<|tool|>`` marks right behind the system
    prompt; a row without one gets the model card's.

    Source: the model card and the chat template of Phi-4-mini-instruct, which shows the tools and
    leaves calls to the caller; the marks around calls are its tokenizer's.
    """

    results: ClassVar[Place] = Place.TOOL
    marks: ClassVar[tuple[str, ...]] = (_FORM.open,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        functions = Span(dump([tool.function for tool in tools]), Kind.TOOLS)
        lead = system_span(_NO_SYSTEM if text is None else text, system)
        return ToolText([lead, scaffold("<|tool|>"), functions, scaffold("<|/tool|>")], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return write_list(calls, _FORM)

    def scan(self, window: Window) -> Scan:
        return scan_list(window, _FORM)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        return list_grammar(tools, parallel, _FORM)
