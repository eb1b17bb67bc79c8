"""Hermes: JSON calls in <tool_call> tags (Hermes 2 Pro, Qwen2.5, Qwen3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import call_of, find_call, past_space
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"
_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
    "<args-json-object>}\n</tool_call>"
)


@agent_registry.add("hermes")
class Hermes(AgentTemplate):
    """Source: the chat templates of Qwen2.5 and Qwen3, which took the format from Hermes 2 Pro."""

    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = (_OPEN,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [] if text is None else [system_span(text, system), scaffold("\n\n")]
        lines = [
            span for tool in tools for span in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))
        ]
        return ToolText([*lead, scaffold(_BEFORE), *lines, scaffold(_AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if index:
                spans.append(Span("\n", Kind.SEPARATOR, None, index))
            name = dump(call.name)[1:-1]
            arguments = call.given if call.given is not None else dump(call.arguments)
            spans += (
                Span(f'{_OPEN}\n{{"name": "', Kind.CALL_MARK, None, index),
                Span(name, Kind.CALL_NAME, None, index),
                Span('", "arguments": ', Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
                Span(f"}}\n{_CLOSE}", Kind.CALL_MARK, None, index),
            )
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        newline = "\n" if result.index else ""
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [
            scaffold(f"{newline}<tool_response>\n"),
            *body,
            scaffold("\n</tool_response>"),
        ]

    def scan(self, window: Window) -> Scan:
        return find_call(window, _OPEN, self._call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f'\n{{"name": {dump(tool.name)}, "arguments": ')
            return f"{opening} {arguments} {closing}"

        closing = literal(f"}}\n{_CLOSE}")
        calls, notes = json_calls(tools, parallel, CallForm(call, literal(f"\n{_OPEN}")))
        return Grammar((Opening(_OPEN, calls),), notes=notes)

    def _call_at(self, window: Window, begin: int) -> Scan | None:
        """The call that opens at ``begin``; None when it is none."""
        text = window.text
        start = past_space(text, begin + len(_OPEN))
        if start == len(text):
            return None if window.final else Scan(begin, len(text))
        if text[start] != "{":
            return None
        end = object_end(text, start)
        if end in (INCOMPLETE, BROKEN):
            if end == INCOMPLETE and not window.final:
                return Scan(begin, len(text))
            close = text.find(_CLOSE, start)
            end = close
        if end < 0:
            return Scan(begin, len(text)) if not window.final else None
        after = past_space(text, end)
        if not window.final and _CLOSE.startswith(text[after:]) and text[after:] != _CLOSE:
            return Scan(begin, len(text))
        calls = _read(text[start:end])
        if calls is None:
            return None
        closes = text.startswith(_CLOSE, after)
        return Scan(begin, after + len(_CLOSE) if closes else end, (calls,))


def _read(text: str) -> ToolCall | None:
    try:
        value = loads_object(text)
    except ValueError:
        return None
    return call_of(value, ("arguments", "parameters"))
