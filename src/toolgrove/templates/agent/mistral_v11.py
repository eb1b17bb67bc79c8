"""Mistral v11: [TOOL_CALLS]name[CALL_ID]id[ARGS]{...}, once for each call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.mistral import CALLS, ID_RULE, id_of_call, id_of_result, tool_text
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_CALL_ID = "[CALL_ID]"
_ARGS = "[ARGS]"
_CONTENT = "[TOOL_CONTENT]"
_WORD = re.compile(r"[^\s\[\]{}]+")


@agent_registry.add("mistral_v11")
class MistralV11(AgentTemplate):
    """Source: the chat template of Mistral-Small-3.2-24B-Instruct-2506.

    Ids are as in ``mistral``. A tool's name with brackets or white space would not read back and is
    refused. Read are also calls without an id or without [ARGS].
    """

    results: ClassVar[Place] = Place.TOOL
    elsewhere: ClassVar[Place | None] = Place.USER
    marks: ClassVar[tuple[str, ...]] = (CALLS,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        return tool_text(tools, system, default)

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if not step.native and not _WORD.fullmatch(call.name):
                raise TemplateError(
                    f"the tool's name {call.name!r} would not read back",
                    hint='rename the tool, or use an agent template such as "mistral"',
                )
            arguments = dump(call.arguments) if call.given is None else call.given
            spans += (
                Span(CALLS, Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span(_CALL_ID, Kind.CALL_MARK, None, index),
                Span(
                    id_of_call(call, step.earlier + index, step.native), Kind.CALL_NAME, None, index
                ),
                Span(_ARGS, Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
            )
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [Span(id_of_result(result), Kind.RESULT), scaffold(_CONTENT), *body]

    def scan(self, window: Window) -> Scan:
        return find_call(window, CALLS, _call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f"{tool.name}{_CALL_ID}")
            return f"{opening} {ID_RULE} {literal(_ARGS)} {arguments}"

        calls, notes = json_calls(tools, parallel, CallForm(call, literal(CALLS)))
        return Grammar((Opening(CALLS, calls),), notes=notes)


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call whose mark stands at ``begin``; None when it is none."""
    text = window.text
    waiting = None if window.final else Scan(begin, len(text))
    name = _WORD.match(text, past_space(text, begin + len(CALLS)))
    if name is None:
        return waiting if past_space(text, begin + len(CALLS)) == len(text) else None
    position, given = past_space(text, name.end()), None
    for mark in (_CALL_ID, _ARGS):
        if len(text) - position < len(mark) and mark.startswith(text[position:]):
            return waiting
        if text.startswith(mark, position):
            position = past_space(text, position + len(mark))
            if mark is _CALL_ID:
                given = _WORD.match(text, position)
                position = past_space(text, given.end() if given else position)
    if position == len(text):
        return waiting
    end = object_end(text, position) if text[position] == "{" else None
    if end is None or end < 0:
        return waiting if end == INCOMPLETE else None
    try:
        arguments = loads_object(text[position:end])
    except ValueError:
        return None
    return Scan(begin, end, (ToolCall(name.group(), arguments, given.group() if given else None),))
