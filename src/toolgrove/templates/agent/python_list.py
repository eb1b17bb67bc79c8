"""Pythonic: a bare Python list of calls, [f(a=1), g(b="x")], as Llama 3.2 and 4 write it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump
from toolgrove.core.messages import JSON, Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.agent.pythonic import pythonic_end, read_pythonic, write_pythonic
from toolgrove.templates.agent.pythonic_rules import python_list
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening, line_starts, rules_of
from toolgrove.templates.rules import Rules
from toolgrove.templates.scanning import past_space
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

_START = re.compile(r"(?:^|(?<=\n))[ \t]*\[")
_BETWEEN = re.compile(r"[\s,]*")
_SPACES = "".join(char for char in map(chr, range(0x3001)) if char.isspace())
_ASK = (
    "You may call the functions that are listed below as JSON. To call some, write a Python list "
    "of calls on a line of its own. Give every argument by its name, as a Python literal:\n"
    "[first_function(argument=1), second_function(argument='text')]\n\n"
)


@agent_registry.add("pythonic")
class Pythonic(AgentTemplate):
    """A list that opens a line and holds nothing but calls with literal arguments is calls.

    Source of the call's form: Meta's prompt format of Llama 3.2 and 4 (zero-shot function calling);
    the words that describe the tools are this project's.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.TOOL
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = ("[",)
    call_opening: ClassVar[re.Pattern[str] | None] = _START

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        lines = [s for tool in tools for s in (scaffold("\n"), Span(dump(tool.spec), Kind.TOOLS))]
        return ToolText([*lead, scaffold(_ASK), *lines[1:]], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        return write_pythonic(calls, "[", "]")

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        if position <= window.fresh:
            first = past_space(text, window.fresh)
            found = _list_at(window, first) if text.startswith("[", first) else None
            if found is not None:
                return found
            position = first
        while match := _START.search(text, position, window.limit):
            found = _list_at(window, match.end() - 1)
            if found is not None:
                return found
            position = match.end()
        known = window.final or window.limit <= len(text)
        safe = len(text) if known else _held(window)
        return Scan(safe, safe)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        """Text neither begins with a bracket nor has a line that does."""
        rules, notes = Rules(), list[str]()
        calls = python_list(tools, parallel, rules, notes)
        listed = rules_of(rules.text(f'{calls} "]"'))
        openings = (Opening("[", listed, first=True), Opening("\n[", listed))
        return Grammar(openings, notes=tuple(notes), text=_text)


def _text(never: Sequence[str]) -> JSON:
    """Free text that holds no list."""
    rules = Rules()
    body = rules.text_without([*never, *line_starts("[")], first=f"[{_SPACES}")
    return rules_of(rules.text(f'Regex("[ \\n\\t\\r]{{0,8}}") {body}'))


def _held(window: Window) -> int:
    """Up to where a list cannot begin any more: a line's leading white space is undecided."""
    bare = len(window.text.rstrip(" \t"))
    opens_line = bare <= window.fresh or window.text[bare - 1] == "\n"
    only_space = not window.text[window.fresh :].strip()
    if only_space:
        return window.start
    return max(bare, window.start) if opens_line else len(window.text)


def _list_at(window: Window, begin: int) -> Scan | None:
    """The calls of the list that opens at ``begin``; None where it holds anything else."""
    text = window.text
    waiting = None if window.final else Scan(begin, len(text))
    calls: list[ToolCall] = []
    position = begin + 1
    while True:
        between = _BETWEEN.match(text, position)
        position = between.end() if between else position
        if position == len(text):
            break
        if text[position] == "]":
            return Scan(begin, position + 1, tuple(calls)) if calls else None
        end = pythonic_end(text, position)
        if end == INCOMPLETE:
            break
        call = None if end == BROKEN else read_pythonic(text[position:end], window.tools)
        if call is None:
            return None
        calls.append(call)
        position = end
    if waiting or not calls:
        return waiting
    return Scan(begin, position, tuple(calls))
