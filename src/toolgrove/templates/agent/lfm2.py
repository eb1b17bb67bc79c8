"""LFM2: Python calls between <|tool_call_start|> and <|tool_call_end|>."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.call_list import ListForm, scan_list
from toolgrove.templates.agent.pythonic import pythonic_end, read_pythonic, write_pythonic
from toolgrove.templates.agent.pythonic_rules import python_list
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening, rules_of
from toolgrove.templates.rules import Rules, literal
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

_OPEN = "<|tool_call_start|>"
_CLOSE = "<|tool_call_end|>"
_FORM = ListForm(_OPEN, _CLOSE, ")", pythonic_end, read_pythonic)


@agent_registry.add("lfm2")
class Lfm2Agent(AgentTemplate):
    """A list of Python calls; the tools stand as JSON behind the system prompt.

    Sources: the chat template of LFM2-8B-A1B, which writes the tools but no calls, and the model
    card of LFM2, which shows a call.
    """

    results: ClassVar[Place] = Place.TOOL
    marks: ClassVar[tuple[str, ...]] = (_OPEN,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n")] if text else []
        listed = [s for tool in tools for s in (scaffold(", "), Span(dump(tool.spec), Kind.TOOLS))]
        opening = scaffold("List of tools: <|tool_list_start|>[")
        return ToolText([*lead, opening, *listed[1:], scaffold("]<|tool_list_end|>")], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return write_pythonic(calls, f"{_OPEN}[", f"]{_CLOSE}")

    def scan(self, window: Window) -> Scan:
        return scan_list(window, _FORM)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        rules, notes = Rules(), list[str]()
        calls = python_list(tools, parallel, rules, notes)
        text = rules.text(f'"[" {calls} {literal(f"]{_CLOSE}")}')
        return Grammar((Opening(_OPEN, rules_of(text)),), notes=tuple(notes))
