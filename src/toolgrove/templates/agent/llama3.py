"""Llama 3: bare JSON calls with "parameters", tools in the first user message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import call_of
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

_PYTHON_TAG = "<|python_tag|>"
_CALL_OPEN = '{"nam'
_ASK = (
    "Given the following functions, please respond with a JSON for a function call with its proper "
    "arguments that best answers the given prompt.\n\n"
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and '
    "its value}.Do not use variables.\n\n"
)
_TAG = r"(?:<\|python_tag\|>\s*)?"
_LONGEST_HEAD = 256
_START = re.compile(rf'(?:^|(?<=\n))[ \t]*{_TAG}(?=\{{)|{_TAG}(?=\{{\s*"name"\s*:)')
_NAME_SO_FAR = r'\{\s*(?:"(?:n(?:a(?:m(?:e(?:"\s*)?)?)?)?)?)?'
_MAYBE = re.compile(rf"(?:(?:^|(?<=\n))[ \t]*)?(?:<[|\w]*>?\s*)?(?:{_NAME_SO_FAR})?$")
_BEFORE = re.compile(rf"\s*{_TAG}")
_BETWEEN = re.compile(rf"[\s;,]*{_TAG}")


@agent_registry.add("llama3")
class Llama3Agent(AgentTemplate):
    """A call is an object with a name and parameters that opens a line, or stands anywhere with
    its name first.

    Source: the chat template of Llama-3.1-8B-Instruct. Parallel calls stand on lines of their own,
    and text before a call on the lines before; the maker's template writes neither.
    """

    results: ClassVar[Place] = Place.TOOL
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = ("{",)
    call_opening: ClassVar[re.Pattern[str] | None] = _START
    between: ClassVar[str] = "\n"
    """what stands between two calls"""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        body = [system_span(text.strip(), system)] if text and text.strip() else []
        return ToolText(body, [scaffold(_ASK), *tool_list(tools)])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if index:
                spans.append(Span(self.between, Kind.SEPARATOR, None, index))
            arguments = dump(call.arguments) if call.given is None else call.given
            spans += (
                Span('{"name": "', Kind.CALL_MARK, None, index),
                Span(dump(call.name)[1:-1], Kind.CALL_NAME, None, index),
                Span('", "parameters": ', Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
                Span("}", Kind.CALL_MARK, None, index),
            )
        return [span for span in spans if span.text]

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        while True:
            start = self._next_start(window, position)
            if start is None:
                known = window.final or window.limit <= len(text)
                safe = len(text) if known else self._held(window)
                return Scan(safe, safe)
            begin, brace = start
            if begin >= window.limit:
                return Scan(begin, begin)
            end = object_end(text, brace)
            if end == INCOMPLETE and not window.final:
                return Scan(begin, len(text))
            call = None if end in (INCOMPLETE, BROKEN) else _read(text[brace:end])
            if call is not None:
                return Scan(begin, end, (call,))
            position = brace + 1

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        """Text may hold braces, but not the key that would make an object of it a call."""

        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f'e": {dump(tool.name)}, "parameters": ')
            return f'{opening} {arguments} "}}"'

        form = CallForm(call, literal(self.between + _CALL_OPEN))
        calls, notes = json_calls(tools, parallel, form)
        return Grammar((Opening(_CALL_OPEN, calls),), ('"name"', "'name'"), notes)

    def _next_start(self, window: Window, position: int) -> tuple[int, int] | None:
        """Where the markup of the next candidate begins, and its brace."""
        text = window.text
        if position <= window.fresh:
            between = (_BETWEEN if window.fresh else _BEFORE).match(text, window.fresh)
            if between and text.startswith("{", between.end()):
                return window.fresh, between.end()
        match = _START.search(text, max(position, window.fresh), window.limit + _LONGEST_HEAD)
        if match is None:
            return None
        return match.start(), match.end()

    def _held(self, window: Window) -> int:
        """Up to where the text cannot become a call any more."""
        text = window.text
        tail = text[window.fresh :].lstrip(" \t\n;," if window.fresh else " \t\n")
        if not tail or _PYTHON_TAG.startswith(tail) or tail.rstrip() == _PYTHON_TAG:
            return window.start
        match = _MAYBE.search(text, window.start)
        return match.start() if match else len(text)


def tool_list(tools: Sequence[Tool]) -> list[Span]:
    """The tools as JSON with an indent of four, a blank line after each."""
    return [
        span
        for tool in tools
        for span in (Span(dump(tool.spec, indent=4), Kind.TOOLS), scaffold("\n\n"))
    ]


def _read(text: str) -> ToolCall | None:
    try:
        value = loads_object(text)
    except ValueError:
        return None
    if "parameters" not in value and "arguments" not in value:
        return None
    return call_of(value, ("parameters", "arguments"))
