"""Kimi K2: JSON arguments behind the call's id, functions.NAME:NUMBER, in a section of calls."""

from __future__ import annotations

import re
from abc import abstractmethod
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
from toolgrove.templates.scanning import find_call, past_marks, past_space
from toolgrove.templates.tool_json import tools_json
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_SECTION = "<|tool_calls_section_begin|>"
_SECTION_END = "<|tool_calls_section_end|>"
_CALL = "<|tool_call_begin|>"
_ARGUMENTS = "<|tool_call_argument_begin|>"
_CALL_END = "<|tool_call_end|>"
_MARK = "<|tool_call"
_ID = re.compile(r"[^<]*")
_NAME = re.compile(r"\s*(?:functions\.)?(.*?)(?::\d+)?\s*", re.DOTALL)
_ASK = (
    "You may call the functions that are listed below. To call some, write this after your text, "
    "with the number of all earlier calls behind the function's name:\n"
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:NUMBER"
    '<|tool_call_argument_begin|>{"argument": "value"}<|tool_call_end|>'
    "<|tool_calls_section_end|>\n\n"
)


class KimiAgent(AgentTemplate):
    """Calls as Kimi K2 and K2.5 write them.

    The number in an id counts all calls of the conversation. Kimi's own chat templates declare the
    tools in a turn of their own; under others they stand in the system prompt, with words of this
    project's. A tool's name that would not read back is refused.
    """

    results: ClassVar[Place] = Place.TOOL
    elsewhere: ClassVar[Place | None] = Place.USER
    marks: ClassVar[tuple[str, ...]] = (_SECTION, _CALL)

    @abstractmethod
    def declare(self, tools: Sequence[Tool]) -> list[Span]:
        """The tools as Kimi's own chat template declares them."""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        return ToolText([*lead, scaffold(_ASK), *self.declare(tools)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            number = step.earlier + index
            back = _name_of(f"functions.{call.name}:{number}")
            if not step.native and (not back or back != call.name):
                raise TemplateError(
                    f"the tool's name {call.name!r} would not read back",
                    hint='rename the tool, or use an agent template such as "hermes"',
                )
            arguments = dump(call.arguments) if call.given is None else call.given
            opening = f"{_CALL}functions." if index else f"{_SECTION}{_CALL}functions."
            closing = _CALL_END if index < len(calls) - 1 else f"{_CALL_END}{_SECTION_END}"
            spans += (
                Span(opening, Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span(f":{number}", Kind.CALL_MARK, None, index),
                Span(_ARGUMENTS, Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
                Span(closing, Kind.CALL_MARK, None, index),
            )
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        name = result.call.name if result.call else result.name or "unknown"
        return returned(f"functions.{name}:{result.order}", result.content)

    def scan(self, window: Window) -> Scan:
        return find_call(window, _MARK, _call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f"{_CALL}functions.{tool.name}:")
            return f"{opening} [0-9]{{1,6}} {middle} {arguments} {closing}"

        middle, closing = literal(_ARGUMENTS), literal(_CALL_END)
        calls, notes = json_calls(tools, parallel, CallForm(call, behind=literal(_SECTION_END)))
        return Grammar((Opening(_SECTION, calls),), notes=notes)


@agent_registry.add("kimi_k2")
class KimiK2Agent(KimiAgent):
    """Source: the chat template of Kimi-K2-Instruct. The tools are one JSON list."""

    def declare(self, tools: Sequence[Tool]) -> list[Span]:
        return [Span(tools_json(tools), Kind.TOOLS)]


def returned(call_id: str, content: str, joint: str = "\n") -> list[Span]:
    """The text of a tool's turn."""
    body = [Span(content, Kind.RESULT)] if content else []
    named = [Span(call_id, Kind.RESULT)] if call_id else []
    return [scaffold("## Return of "), *named, scaffold(joint), *body]


def numbered_by_turn(spans: Sequence[Span]) -> list[Span]:
    """The same calls, each with its number within its own turn."""
    return [
        span._replace(text=f":{span.call}")
        if span.kind is Kind.CALL_MARK and span.text.startswith(":")
        else span
        for span in spans
    ]


def _name_of(call_id: str) -> str:
    """The tool's name in an id; empty where there is none."""
    match = _NAME.fullmatch(call_id) if _ID.fullmatch(call_id) else None
    return match.group(1) if match else ""


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call whose first mark stands at ``begin``; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    position = begin
    for mark, needed in ((_SECTION, False), (_CALL, True)):
        if text.startswith(mark, position):
            position = past_space(text, position + len(mark))
        elif mark.startswith(text[position : position + len(mark)]):
            return waiting
        elif needed:
            return None
    found = _ID.match(text, position)
    call_id = found.group() if found else ""
    position += len(call_id)
    if not text.startswith(_ARGUMENTS, position):
        return waiting if _ARGUMENTS.startswith(text[position:]) else None
    start = past_space(text, position + len(_ARGUMENTS))
    end = object_end(text, start) if text.startswith("{", start) else BROKEN
    if end < 0:
        undecided = end == INCOMPLETE or _CALL_END.startswith(text[start:])
        end = text.find(_CALL_END, start)
        if waiting and (undecided or end < 0):
            return waiting
    name = _name_of(call_id)
    call = _read(name, call_id.strip(), text[start:end]) if name and end >= 0 else None
    if call is None:
        return None
    after = past_marks(window, end, (_CALL_END, _SECTION_END))
    return waiting if after == INCOMPLETE else Scan(begin, after, (call,))


def _read(name: str, call_id: str, arguments: str) -> ToolCall | None:
    try:
        return ToolCall(name, loads_object(arguments) if arguments.strip() else {}, id=call_id)
    except ValueError:
        return None
