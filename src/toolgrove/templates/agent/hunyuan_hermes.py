"""Hunyuan: <tool_calls> with a name and fenced JSON arguments for each call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import call_of, held, past_marks, past_space
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_OPEN = "<tool_calls>"
_CALL = "<tool_call>"
_CLOSE = "</tool_call>"
_END = "</tool_calls>"
_FENCE = "```"
_START = re.compile("<tool_calls?>")
_NAME = re.compile(r"[^\s<>{}`]+")
_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nFor function call returns, you should first print <tool_calls>"
    "For each function call, you should return object like:\n"
    "<tool_call>function_name\n```json\nfunction_arguments_in_json_format\n```</tool_call>"
    "At the end of function call returns, you should print </tool_calls>"
)


@agent_registry.add("hunyuan_hermes")
class HunyuanHermes(AgentTemplate):
    """Calls are written as the tool text asks for them (ms-swift, whose tool text this is, writes
    Hermes' JSON objects instead); both forms are read."""

    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = (_OPEN, _CALL)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        lines = [
            span for tool in tools for span in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))
        ]
        return ToolText([*lead, scaffold(_BEFORE), *lines, scaffold(_AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans = [Span(_OPEN, Kind.CALL_MARK, call=0)]
        for index, call in enumerate(calls):
            if not _NAME.fullmatch(call.name):
                raise TemplateError(
                    f"the tool's name {call.name!r} would not read back from a line of its own",
                    hint='rename the tool, or use another agent template, such as "hermes"',
                )
            spans += (
                Span(_CALL, Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span(f"\n{_FENCE}json\n", Kind.CALL_MARK, None, index),
                Span(dump(call.arguments), Kind.CALL_ARGS, None, index),
                Span(f"\n{_FENCE}{_CLOSE}", Kind.CALL_MARK, None, index),
            )
        return [*spans, Span(_END, Kind.CALL_MARK, call=len(calls) - 1)]

    def write_result(self, result: Result) -> list[Span]:
        start = "\n<tool_response>" if result.index else "<tool_responses><tool_response>"
        last = result.index == result.count - 1
        return [
            scaffold(start),
            Span(result.content, Kind.RESULT),
            scaffold("</tool_response></tool_responses>" if last else "</tool_response>"),
        ]

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        while True:
            match = _START.search(text, position, window.limit + len(_OPEN) - 1)
            if match is None:
                marks = () if window.final else self.marks
                safe = min((held(text, window.start, mark) for mark in marks), default=len(text))
                return Scan(safe, safe)
            begin, position = match.span()
            if begin >= window.limit:
                return Scan(begin, begin)
            end, call = _call_at(window, begin)
            if end == INCOMPLETE:  # what a cut-off call holds is data, never a call of its own
                return Scan(len(text) if window.final else begin, len(text))
            if call is not None:
                return Scan(begin, end, (call,))

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f"{_CALL}{tool.name}\n{_FENCE}json\n")
            return f"{opening} {arguments} {closing}"

        closing = literal(f"\n{_FENCE}{_CLOSE}")
        calls, notes = json_calls(tools, parallel, CallForm(call, behind=literal(_END)))
        return Grammar((Opening(_OPEN, calls),), notes=notes)


def _call_at(window: Window, begin: int) -> tuple[int, ToolCall | None]:
    """The call that opens at ``begin`` and where it ends; else INCOMPLETE or BROKEN."""
    text = window.text
    start = begin + len(_OPEN) if text.startswith(_OPEN, begin) else begin
    start = past_space(text, start)
    if not text.startswith(_CALL, start):
        return (INCOMPLETE if _CALL.startswith(text[start:]) else BROKEN), None
    start = past_space(text, start + len(_CALL))
    name = _NAME.match(text, start)
    brace = past_space(text, name.end()) if name else start
    if name:
        for mark in (_FENCE, "json"):
            if text.startswith(mark, brace):
                brace = past_space(text, brace + len(mark))
            elif mark.startswith(text[brace:]):
                return INCOMPLETE, None
    if not text.startswith("{", brace):
        return (INCOMPLETE if brace == len(text) else BROKEN), None
    end = object_end(text, brace)
    if end < 0:
        return end, None
    after = past_marks(window, end, (_FENCE, _CLOSE, _END))
    call = _read(name.group() if name else None, text[brace:end])
    return (after, call) if call is not None or after == INCOMPLETE else (BROKEN, None)


def _read(name: str | None, text: str) -> ToolCall | None:
    try:
        value = loads_object(text)
    except ValueError:
        return None
    return call_of(value, ("arguments", "parameters")) if name is None else ToolCall(name, value)
