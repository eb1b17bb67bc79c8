"""MiniMax-M2: <invoke> elements with <parameter> elements, in one <minimax:tool_call>."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.tag_rules import TagForm, tagged_calls
from toolgrove.templates.typed import argument_types, read_value, write_value
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_OPEN = "<minimax:tool_call>"
_CLOSE = "</minimax:tool_call>"
_INVOKE_END = re.compile(r"</invoke>\s*")
_PARAMETER = re.compile(r'<parameter name="(.*?)">', re.DOTALL)
_VALUE_ENDS = re.compile(r"</parameter>\s*(?=<parameter name=|</invoke>)")
_BEFORE = (
    "# Tools\nYou may call one or more tools to assist with the user query.\n"
    "Here are the tools available in JSONSchema format:\n\n<tools>\n"
)
_AFTER = (
    "</tools>\n\nWhen making tool calls, use XML format to invoke tools and pass parameters:\n\n"
    f"{_OPEN}\n"
    '<invoke name="tool-name-1">\n'
    '<parameter name="param-key-1">param-value-1</parameter>\n'
    '<parameter name="param-key-2">param-value-2</parameter>\n'
    f"...\n</invoke>\n{_CLOSE}"
)


@agent_registry.add("minimax_m2")
class MiniMaxM2Calls(AgentTemplate):
    """A string stands as it is between its tags and everything else as JSON, so a tool's schema
    says what is read. A parameter ends at the first closing tag that another parameter or the end
    of the call follows. Of a block that is cut off, the whole calls are read.

    Source: the chat template of MiniMax-M2.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = (_OPEN,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        return ToolText([*system_lead(system, default), *tool_lines(_BEFORE, tools, _AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        mark = f"{_OPEN}\n"
        for index, call in enumerate(calls):
            spans += (
                Span(f'{mark}<invoke name="', Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
            )
            mark = '">\n'
            for key, value in call.arguments.items():
                spans += (
                    Span(f'{mark}<parameter name="', Kind.CALL_MARK, None, index),
                    Span(key, Kind.CALL_ARGS, None, index),
                    Span('">', Kind.CALL_MARK, None, index),
                    Span(write_value(value), Kind.CALL_ARGS, None, index),
                )
                mark = "</parameter>\n"
            last = index == len(calls) - 1
            end = f"</invoke>\n{_CLOSE}" if last else "</invoke>\n"
            spans.append(Span(mark + end, Kind.CALL_MARK, None, index))
            mark = ""
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        return write_response(result)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        form = TagForm(
            mark=_OPEN,
            head=f'{_OPEN}\n<invoke name="',
            named='">\n',
            key='<parameter name="',
            value='">',
            ended="</parameter>\n",
            close="</invoke>\n",
            next='<invoke name="',
            tail=_CLOSE,
            barred=("</parameter>",),
        )
        return tagged_calls(tools, parallel, form)

    def scan(self, window: Window) -> Scan:
        return find_call(window, _OPEN, self._block_at)

    def _block_at(self, window: Window, begin: int) -> Scan | None:
        """The calls of the block that opens at ``begin``; None when there is none."""
        return block_at(window, begin, _BLOCK, _call_at)


class Block(NamedTuple):
    """What frames a block of calls, and what opens a call: its beginning and the whole tag."""

    open: str
    close: str
    invoke_opens: str
    invoke: re.Pattern[str]


_BLOCK = Block(_OPEN, _CLOSE, '<invoke name="', re.compile(r'<invoke name="([^"\n]*)">\s*'))


def block_at(
    window: Window,
    begin: int,
    block: Block,
    call_at: Callable[[Window, re.Match[str]], tuple[ToolCall, int] | None],
) -> Scan | None:
    """The calls of the block that opens at ``begin``; None when there is none.

    ``call_at`` reads the call that a tag opens and says where it ends; None: it is not whole.
    """
    text, calls = window.text, list[ToolCall]()
    position = past_space(text, begin + len(block.open))
    while invoke := block.invoke.match(text, position):
        found = call_at(window, invoke)
        if found is None:
            break
        call, position = found
        calls.append(call)
    if calls and text.startswith(block.close, position):
        return Scan(begin, position + len(block.close), tuple(calls))
    if window.final:
        return Scan(begin, position, tuple(calls)) if calls else None
    rest = text[position : position + len(block.invoke_opens)]
    goes_on = calls or rest.startswith(block.invoke_opens) or block.invoke_opens.startswith(rest)
    return Scan(begin, len(text)) if goes_on else None


def system_lead(system: str | None, default: str | None) -> list[Span]:
    """The system prompt before the tools; an empty one gives way to the template's own."""
    text = system or default
    given = system or None
    return [system_span(text, given), scaffold("\n\n")] if text else []


def tool_lines(before: str, tools: Sequence[Tool], after: str) -> list[Span]:
    """The tools' JSON, each on a line of its own, between two texts."""
    lines = [
        span
        for tool in tools
        for span in (
            scaffold("<tool>"),
            Span(dump(tool.function), Kind.TOOLS),
            scaffold("</tool>\n"),
        )
    ]
    return [scaffold(before), *lines, scaffold(after)]


def write_response(result: Result) -> list[Span]:
    """A result in its tags, on a line of its own."""
    before = "\n" if result.index else ""
    body = [Span(result.content, Kind.RESULT)] if result.content else []
    return [scaffold(f"{before}<response>"), *body, scaffold("</response>")]


def _call_at(window: Window, invoke: re.Match[str]) -> tuple[ToolCall, int] | None:
    """The call that ``invoke`` opens and where it ends; None when it is not whole."""
    text, name, position = window.text, invoke.group(1), invoke.end()
    arguments: dict[str, Any] = {}
    while parameter := _PARAMETER.match(text, position):
        end = _VALUE_ENDS.search(text, parameter.end())
        if end is None:
            return None
        key = parameter.group(1)
        value = text[parameter.end() : end.start()]
        arguments[key] = read_value(value, argument_types(window.tools, name, key))
        position = end.end()
    end = _INVOKE_END.match(text, position)
    return None if end is None or not name else (ToolCall(name, arguments), end.end())
