"""Granite: a JSON list behind <|tool_call|> (3.x), JSON in <tool_call> tags (4.x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.call_list import ListForm, list_grammar, scan_list, write_list
from toolgrove.templates.agent.hermes import Hermes
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import (
    Grammar,
)
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_FORM = ListForm("<|tool_call|>", "")
TOOLS_NOTE = (
    "You are a helpful assistant with access to the following tools. When a tool is required to "
    "answer the user's query, respond only with <|tool_call|> followed by a JSON list of tools "
    "used. If a tool does not exist in the provided list of tools, notify the user that you do not "
    "have the ability to fulfill the request."
)
_BEFORE = (
    "You are a helpful assistant with access to the following tools. You may call one or more "
    "tools to assist with the user query.\n\nYou are provided with function signatures within "
    "<tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nFor each tool call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
    "<args-json-object>}\n</tool_call>. If a tool does not exist in the provided list of tools, "
    "notify the user that you do not have the ability to fulfill the request."
)
_HERMES = Hermes()


@agent_registry.add("granite")
class Granite(AgentTemplate):
    """Granite 3.x: the model answers with ``<|tool_call|>`` and a JSON list.

    Source: the chat template of Granite-3.3-Instruct, which shows tools in a turn of their own and
    drops calls; where another chat template frames the turns, the tools follow the note.
    """

    results: ClassVar[Place] = Place.TOOL
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = (_FORM.open,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        listed = Span(dump([tool.spec for tool in tools], indent=4), Kind.TOOLS)
        return ToolText([*lead, scaffold(f"{TOOLS_NOTE}\n\n"), listed], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return write_list(calls, _FORM)

    def scan(self, window: Window) -> Scan:
        return scan_list(window, _FORM)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar | None:
        return list_grammar(tools, parallel, _FORM)


@agent_registry.add("granite4")
class Granite4(AgentTemplate):
    """Granite 4.x: calls and tools as Hermes has them, under IBM's words; each result on lines of
    its own.

    Source: the chat template of Granite-4.0.
    """

    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = Hermes.text_separator
    marks: ClassVar[tuple[str, ...]] = Hermes.marks

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [] if text is None else [system_span(text, system), scaffold("\n\n")]
        lines = [s for tool in tools for s in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))]
        return ToolText([*lead, scaffold(_BEFORE), *lines, scaffold(_AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return _HERMES.write_calls(calls, step)

    def write_result(self, result: Result) -> list[Span]:
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [scaffold("\n<tool_response>\n"), *body, scaffold("\n</tool_response>")]

    def scan(self, window: Window) -> Scan:
        return _HERMES.scan(window)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar | None:
        return _HERMES.call_grammar(tools, parallel)
