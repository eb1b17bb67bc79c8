"""Mistral: a JSON list of calls after [TOOL_CALLS], each with an id of nine characters."""

from __future__ import annotations

import hashlib
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
from toolgrove.templates.scanning import call_of, find_call, past_space
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

CALLS = "[TOOL_CALLS]"
TOOLS = "[AVAILABLE_TOOLS]"
_TOOLS_END = "[/AVAILABLE_TOOLS]"
_BETWEEN = re.compile(r"[\s,]*")
_ID_LENGTH = 9
_ID = re.compile(rf"[A-Za-z0-9]{{{_ID_LENGTH}}}")
ID_RULE = f"[A-Za-z0-9]{{{_ID_LENGTH}}}"
"""an id as a rule of a grammar"""


@agent_registry.add("mistral")
class Mistral(AgentTemplate):
    """Source: the chat template of Mistral-Nemo-Instruct-2407.

    The maker's template asks for ids of nine characters; a composed dialect makes one, always the
    same for the same call at the same place, where the row has none. The tools stand before the
    first user message. Read are lists with or without commas.
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
            arguments = dump(call.arguments) if call.given is None else call.given
            spans += (
                Span(", " if index else f"{CALLS}[", Kind.CALL_MARK, None, index),
                Span('{"name": "', Kind.CALL_MARK, None, index),
                Span(dump(call.name)[1:-1], Kind.CALL_NAME, None, index),
                Span('", "arguments": ', Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
                Span(', "id": "', Kind.CALL_MARK, None, index),
                Span(
                    id_of_call(call, step.earlier + index, step.native), Kind.CALL_NAME, None, index
                ),
                Span('"}' if index < len(calls) - 1 else '"}]', Kind.CALL_MARK, None, index),
            )
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        answered = Span(id_of_result(result), Kind.RESULT)
        return [
            scaffold('{"content": '),
            *body,
            scaffold(', "call_id": "'),
            answered,
            scaffold('"}'),
        ]

    def scan(self, window: Window) -> Scan:
        text, fresh = window.text, window.fresh
        if window.start == fresh and fresh and text[fresh - 1] == "}":  # inside a list
            found = _call_at(window, fresh, fresh)
            if found is not None:
                return found
        return find_call(window, CALLS, _first_call)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f'{{"name": {dump(tool.name)}, "arguments": ')
            return f'{opening} {arguments} {middle} {ID_RULE} "\\"}}"'

        middle = literal(', "id": "')
        form = CallForm(call, literal(", "), literal("["), literal("]"))
        calls, notes = json_calls(tools, parallel, form)
        return Grammar((Opening(CALLS, calls),), notes=notes)


def tool_text(tools: Sequence[Tool], system: str | None, default: str | None) -> ToolText:
    """The system prompt as it is, and the tools before the first user message."""
    text = default if system is None else system
    body = [system_span(text, system)] if text else []
    return ToolText(body, marked_tools([Span(dump([t.spec for t in tools]), Kind.TOOLS)]))


def marked_tools(tools: Sequence[Span]) -> list[Span]:
    """The tools between their marks."""
    return [scaffold(TOOLS), *tools, scaffold(_TOOLS_END)]


def id_of_call(call: ToolCall, order: int, native: bool) -> str:
    """The id to write for a call, which is the ``order``-th of its conversation."""
    return _checked(call.id) if native else _made(call.id, call.name, order)


def id_of_result(result: Result) -> str:
    """The id of the call that a result answers."""
    if result.native:
        return _checked(result.message.call_id)
    call = result.call
    return _made(call.id if call else result.message.call_id, result.name, result.order)


def _checked(given: str | None) -> str:
    if given is None or len(given) != _ID_LENGTH:
        raise TemplateError(
            f"the maker's template takes call ids of {_ID_LENGTH} characters only, not {given!r}",
            hint='name an agent template, which makes such ids: agent="mistral"',
        )
    return given


def _made(given: str | None, name: str, order: int) -> str:
    if given is not None and _ID.fullmatch(given):
        return given
    return hashlib.sha256(f"{order} {name}".encode("utf-8", "replace")).hexdigest()[:_ID_LENGTH]


def _first_call(window: Window, begin: int) -> Scan | None:
    """The call behind the mark at ``begin``; None when it is none."""
    start = past_space(window.text, begin + len(CALLS))
    return _call_at(window, begin, start + window.text.startswith("[", start))


def _call_at(window: Window, begin: int, start: int) -> Scan | None:
    """The call that opens at ``start``, commas and white space left out; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    start = _past_comma(text, start)
    if start == len(text):
        return waiting
    end = object_end(text, start) if text[start] == "{" else BROKEN
    if end == INCOMPLETE:
        return waiting
    call = None if end == BROKEN else _read(text[start:end])
    if call is None:
        return None
    after = _past_comma(text, end)
    if after == len(text) and waiting:
        return waiting
    return Scan(begin, after + 1 if text.startswith("]", after) else end, (call,))


def _past_comma(text: str, position: int) -> int:
    match = _BETWEEN.match(text, position)
    return match.end() if match else position


def _read(text: str) -> ToolCall | None:
    try:
        value = loads_object(text)
    except ValueError:
        return None
    call = call_of(value, ("arguments", "parameters"))
    given = value.get("id")
    if call is None or not isinstance(given, str):
        return call
    return ToolCall(call.name, call.arguments, id=given)
