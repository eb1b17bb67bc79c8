"""SmolLM3: JSON calls in <tool_call> tags, tools listed under "### Tools"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.hermes import Hermes
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import (
    Grammar,
)
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

_BEFORE = (
    "### Tools\n\nYou may call one or more functions to assist with the user query.\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n\n<tools>\n"
)
_AFTER = (
    "</tools>\n\nFor each function call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
    "<args-json-object>}\n</tool_call>"
)
_HERMES = Hermes()


@agent_registry.add("smollm3")
class SmolLM3Agent(AgentTemplate):
    """What Hugging Face's template of SmolLM3-3B writes for its variable ``xml_tools``: one tool a
    line, printed as Python prints a dictionary. Results are user turns of their own.

    ``python_tools`` asks for code instead of calls and has no form here.
    """

    results: ClassVar[Place] = Place.TOOL
    text_separator: ClassVar[str] = Hermes.text_separator
    marks: ClassVar[tuple[str, ...]] = Hermes.marks

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        lines = [s for tool in tools for s in (Span(str(tool.spec), Kind.TOOLS), scaffold("\n"))]
        return ToolText([*lead, scaffold(_BEFORE), *lines, scaffold(_AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return _HERMES.write_calls(calls, step)

    def scan(self, window: Window) -> Scan:
        return _HERMES.scan(window)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar | None:
        return _HERMES.call_grammar(tools, parallel)
