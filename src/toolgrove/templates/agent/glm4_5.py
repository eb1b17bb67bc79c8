"""GLM-4.5 and later: calls in <tool_call> tags with <arg_key> and <arg_value> for each argument."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.tag_rules import TagForm, tagged_calls
from toolgrove.templates.typed import argument_types, read_value, write_value
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"
_KEY = "<arg_key>"
_KEY_END = "</arg_key>"
_VALUE = "<arg_value>"
_VALUE_END = "</arg_value>"
_NAME = re.compile(r"\s*([^\s<{][^<\n]*?)[ \t]*(?=\n|<arg_key>|</tool_call>)")
_NAME_SO_FAR = re.compile(r"\s*(?:[^\s<{][^<\n]*)?(?:<[/a-z_]*)?\Z")
_VALUE_ENDS = re.compile(r"</arg_value>\s*(?=<arg_key>|</tool_call>)")
_LAST_VALUE_ENDS = re.compile(r"</arg_value>\s*(?=<arg_key>|</tool_call>|\Z)")
_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_AFTER = (
    "</tools>\n\nFor each function call, output the function name and arguments within the "
    "following XML format:\n"
)


class ArgumentTags(AgentTemplate):
    """A string stands as it is between its tags and everything else as JSON, so a tool's schema
    says what is read. An argument ends at the first closing tag that another argument or the end
    of the call follows. A call whose end tag is missing at the end of a reply is read when its
    last argument is whole.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.USER
    marks: ClassVar[tuple[str, ...]] = (_OPEN,)
    newline: ClassVar[str]
    """what stands between the parts of a call, between calls, and inside a result's tags"""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        lines = [
            span for tool in tools for span in (Span(dump(tool.spec), Kind.TOOLS), scaffold("\n"))
        ]
        pairs = [
            part
            for n in (1, 2)
            for part in (
                f"{_KEY}{{arg-key-{n}}}{_KEY_END}",
                f"{_VALUE}{{arg-value-{n}}}{_VALUE_END}",
            )
        ]
        form = self.newline.join([f"{_OPEN}{{function-name}}", *pairs, "...", _CLOSE])
        return ToolText([*lead, scaffold(_BEFORE), *lines, scaffold(f"{_AFTER}{form}")], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        newline = self.newline
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if index and newline:
                spans.append(Span(newline, Kind.SEPARATOR, None, index))
            spans.append(Span(_OPEN, Kind.CALL_MARK, None, index))
            spans.append(Span(call.name, Kind.CALL_NAME, None, index))
            mark = newline
            for key, value in call.arguments.items():
                spans += (
                    Span(f"{mark}{_KEY}", Kind.CALL_MARK, None, index),
                    Span(key, Kind.CALL_ARGS, None, index),
                    Span(f"{_KEY_END}{newline}{_VALUE}", Kind.CALL_MARK, None, index),
                    Span(write_value(value), Kind.CALL_ARGS, None, index),
                )
                mark = f"{_VALUE_END}{newline}"
            spans.append(Span(f"{mark}{_CLOSE}", Kind.CALL_MARK, None, index))
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        before = self.newline if result.index else ""
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [
            scaffold(f"{before}<tool_response>{self.newline}"),
            *body,
            scaffold(f"{self.newline}</tool_response>"),
        ]

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        newline = self.newline
        form = TagForm(
            mark=_OPEN,
            head=_OPEN,
            named="",
            key=f"{newline}{_KEY}",
            value=f"{_KEY_END}{newline}{_VALUE}",
            ended=_VALUE_END,
            close=f"{newline}{_CLOSE}",
            next=f"{newline}{_OPEN}",
            barred=(_VALUE_END,),
        )
        return tagged_calls(tools, parallel, form)

    def scan(self, window: Window) -> Scan:
        return find_call(window, _OPEN, _call_at)


@agent_registry.add("glm4_5")
class Glm45Calls(ArgumentTags):
    """Source: the chat templates of GLM-4.5 and GLM-4.6: each part of a call on its own line."""

    text_separator: ClassVar[str] = "\n"
    newline: ClassVar[str] = "\n"


@agent_registry.add("glm4_7")
@agent_registry.add("glm5_1")
class Glm47Calls(ArgumentTags):
    """Source: the chat template of GLM-4.7-Flash: the same tags without newlines."""

    newline: ClassVar[str] = ""


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call that opens at ``begin``; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    start = begin + len(_OPEN)
    match = _NAME.match(text, start)
    if match is None:
        return waiting if _NAME_SO_FAR.match(text, start) else None
    name, arguments = match.group(1), dict[str, object]()
    ends = _LAST_VALUE_ENDS if window.final else _VALUE_ENDS
    position = past_space(text, match.end())
    while text.startswith(_KEY, position):
        key_end = text.find(_KEY_END, position)
        if key_end < 0:
            return waiting
        key = text[position + len(_KEY) : key_end]
        opens = past_space(text, key_end + len(_KEY_END))
        if not text.startswith(_VALUE, opens):
            return waiting if _VALUE.startswith(text[opens:]) else None
        value_start = opens + len(_VALUE)
        end = ends.search(text, value_start)
        if end is None:
            return waiting
        value = text[value_start : end.start()]
        arguments[key] = read_value(value, argument_types(window.tools, name, key))
        position = end.end()
    call = ToolCall(name, arguments)
    if text.startswith(_CLOSE, position):
        return Scan(begin, position + len(_CLOSE), (call,))
    rest = text[position:]
    if window.final:
        return Scan(begin, position, (call,)) if arguments and not rest else None
    return waiting if _KEY.startswith(rest) or _CLOSE.startswith(rest) else None
