"""Calls as labelled lines inside the assistant's turn: a tool's name, then its JSON arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, scaffold
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.values import Place, Result, Scan, Step, Window

_NAME_LINE = re.compile(r"[ \t]*([^\n]*?)[ \t]*\n")


class LineCalls(AgentTemplate):
    """A line with a label and the tool's name, a line with a label and the arguments, for each
    call; after the last one the label of results, at which generation stops."""

    results: ClassVar[Place] = Place.ASSISTANT
    name_label: ClassVar[str]
    """what stands before a tool's name"""
    args_label: ClassVar[str]
    """what stands before its arguments"""

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if not call.name.strip() or call.name != call.name.strip() or "\n" in call.name:
                raise TemplateError(
                    f"a tool's name stands on a line of its own here; {call.name!r} would not "
                    "read back",
                    hint="rename the tool, or use another agent template",
                )
            spans += (
                Span(self.name_label, Kind.CALL_MARK, None, index),
                Span(f" {call.name}\n", Kind.CALL_NAME, None, index),
                Span(self.args_label, Kind.CALL_MARK, None, index),
                Span(f" {dump(call.arguments)}\n", Kind.CALL_ARGS, None, index),
            )
        return [*spans, Span(self.call_stop, Kind.CALL_STOP, call=len(calls) - 1)]

    def scan(self, window: Window) -> Scan:
        return find_call(window, self.name_label, self._call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f" {tool.name}\n{self.args_label} ")
            return f"{opening} {arguments}"

        stop = f'("\\n" {literal(self.call_stop)}?)?'
        form = CallForm(call, literal(f"\n{self.name_label}"), behind=stop)
        calls, notes = json_calls(tools, parallel, form)
        return Grammar((Opening(self.name_label, calls),), notes=notes)

    def _call_at(self, window: Window, begin: int) -> Scan | None:
        """The call whose name's label stands at ``begin``; None when it is none."""
        text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
        name = _NAME_LINE.match(text, begin + len(self.name_label))
        if name is None:
            return waiting
        label = past_space(text, name.end())
        if not text.startswith(self.args_label, label):
            return waiting if self.args_label.startswith(text[label:]) else None
        brace = past_space(text, label + len(self.args_label))
        if brace == len(text):
            return waiting
        end = object_end(text, brace) if text[brace] == "{" else BROKEN
        if end == INCOMPLETE:
            return waiting
        if end == BROKEN or not name.group(1):
            return None
        try:
            arguments = loads_object(text[brace:end])
        except ValueError:
            return None
        after = past_space(text, end)
        stopped = text.startswith(self.call_stop, after)
        if waiting and not stopped and self.call_stop.startswith(text[after:]):
            return waiting
        call = ToolCall(name.group(1), arguments)
        return Scan(begin, after + len(self.call_stop) if stopped else end, (call,))


class ToolLine(NamedTuple):
    """What agents of this kind are told about a tool."""

    human: str
    about: str
    parameters: str


def tool_line(tool: Tool) -> ToolLine:
    """The tool's name for people, its description, and its parameters as JSON text."""
    function = tool.function
    about = function.get("description") or function.get("description_for_model") or ""
    parameters: Any = function.get("parameters") or {}
    return ToolLine(
        str(function.get("name_for_human") or tool.name),
        str(about),
        parameters if isinstance(parameters, str) else dump(parameters),
    )


def labelled_result(label: str, result: Result) -> list[Span]:
    """A result after its label (the first one's is the model's own), ending in a newline."""
    content = result.content
    spans = [scaffold(label)] if result.index else []
    spans += [Span(content, Kind.RESULT)] if content else []
    return spans if content.endswith("\n") else [*spans, scaffold("\n")]


def labelled_orphan(label: str, result: Result) -> list[Span]:
    """A result that answers no call, at the end of the user's message."""
    return [scaffold(f"\n{label}\n"), Span(result.content, Kind.RESULT)]
