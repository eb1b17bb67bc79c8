"""DeepSeek's markup language DSML: typed parameters in tags of its own (V4, V4.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

from toolgrove.core.jsonish import dump, loads
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.tag_rules import TagForm, tagged_calls
from toolgrove.templates.typed import argument_types, read_value, write_value
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_MARK = "<｜DSML｜"
_BLOCKS = ("tool_calls", "calls", "function_calls")
_SPACES = ("", " ")
_INVOKES = tuple(f'<｜DSML｜{space}invoke name="' for space in _SPACES)
_OPENINGS = (
    *_INVOKES,
    *(f"<｜DSML｜{space}{block}>" for space in _SPACES for block in _BLOCKS),
)
_BLOCK_CLOSES = tuple(f"</｜DSML｜{space}{block}>" for space in _SPACES for block in _BLOCKS)
_INVOKE_CLOSES = tuple(f"</｜DSML｜{space}invoke>" for space in _SPACES)
_BARRED = tuple(f"</｜DSML｜{space}{letter}" for space in _SPACES for letter in "ip")
"""what no value holds in a grammar: the beginnings of the closing tags, which take fewer states"""
_PARAMETERS = tuple(f'<｜DSML｜{space}parameter name="' for space in _SPACES)

_BLOCK = re.compile(r"<｜DSML｜ ?(?:tool_calls|calls|function_calls)>\s*")
_INVOKE = re.compile(r'<｜DSML｜ ?invoke name="([^"\n]*)">')
_INVOKE_SO_FAR = re.compile(r'<｜DSML｜ ?invoke name="[^"\n]*"?\Z')
_PARAMETER = re.compile(r'<｜DSML｜ ?parameter name="(.*?)"(?: string="([^"\n]*)")?>', re.DOTALL)
_VALUE_END = re.compile(
    r'</｜DSML｜ ?parameter>(?=\s*(?:<｜DSML｜ ?(?:parameter|invoke) name="'
    r"|</｜DSML｜ ?(?:invoke|tool_calls|calls|function_calls)>))"
)
_INVOKE_END = re.compile(r"</｜DSML｜ ?invoke>")
_NEXT = re.compile(r'<｜DSML｜ ?invoke name="|</｜DSML｜ ?(?:tool_calls|calls|function_calls)>')
_BLOCK_END = re.compile(r"</｜DSML｜ ?(?:tool_calls|calls|function_calls)>")

_BEFORE = """\
## Tools

You have access to a set of tools to help answer the user's question. \
You can invoke tools by writing a "<{d}{block}>" block like the following:

<{d}{block}>
<{d}invoke name="$TOOL_NAME">
<{d}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{d}parameter>
...
</{d}invoke>
<{d}invoke name="$TOOL_NAME2">
...
</{d}invoke>
</{d}{block}>

String parameters should be specified as is and set `string="true"`. For all other types \
(numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside \
<think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

"""
_AFTER = (
    "\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool "
    "calls.\n"
)


class Dsml(AgentTemplate):
    """A block of calls; each parameter says whether it is a string as it stands, or JSON.

    Values need no types to read back; what holds the closing tags itself may not, and is refused.
    """

    exact: ClassVar[bool] = False
    text_separator: ClassVar[str] = "\n\n"
    marks: ClassVar[tuple[str, ...]] = (_MARK,)
    prefix: ClassVar[str]
    """what opens the name of every tag"""
    block: ClassVar[str]
    """the tag around all calls"""
    before: ClassVar[str] = _BEFORE
    """the words before the tools, with {d} and {block} for the dialect's own tags"""
    after: ClassVar[str] = _AFTER
    """the words after the tools"""
    empty: ClassVar[str] = "\n"
    """what stands in a call without arguments"""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        lines = [
            span
            for tool in tools
            for span in (Span(dump(tool.function), Kind.TOOLS), scaffold("\n"))
        ]
        return ToolText(
            [
                *lead,
                scaffold(_named(self.before, self.prefix, self.block)),
                *lines,
                scaffold(self.after),
            ],
            [],
        )

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        d, mark = self.prefix, Kind.CALL_MARK
        spans = [] if step.message.text else [Span(self.text_separator, Kind.SEPARATOR, None, 0)]
        opening = f'<{d}{self.block}>\n<{d}invoke name="'
        for index, call in enumerate(calls):
            spans.append(Span(opening, mark, None, index))
            if call.name:
                spans.append(Span(call.name, Kind.CALL_NAME, None, index))
            before = '">\n' if call.arguments else f'">\n{self.empty}'
            for key, value in call.arguments.items():
                is_string = "true" if isinstance(value, str) else "false"
                spans += (
                    Span(f'{before}<{d}parameter name="', mark, None, index),
                    Span(key, Kind.CALL_ARGS, None, index),
                    Span(f'" string="{is_string}">', mark, None, index),
                    Span(write_value(value), Kind.CALL_ARGS, None, index),
                )
                before = f"</{d}parameter>\n"
            closing = f"</{d}{self.block}>" if index == len(calls) - 1 else ""
            spans.append(Span(f"{before}</{d}invoke>\n{closing}", mark, None, index))
            opening = f'<{d}invoke name="'
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        between = "\n\n" if result.index else ""
        return [scaffold(f"{between}<tool_result>"), *body, scaffold("</tool_result>")]

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        d = self.prefix
        form = TagForm(
            mark=_MARK,
            head=f'<{d}{self.block}>\n<{d}invoke name="',
            named='">\n',
            key=f'<{d}parameter name="',
            value='" string="true">',
            value_of_others='" string="false">',
            ended=f"</{d}parameter>\n",
            bare=self.empty,
            close=f"</{d}invoke>\n",
            next=f'<{d}invoke name="',
            tail=f"</{d}{self.block}>",
            barred=_BARRED,
        )
        return tagged_calls(tools, parallel, form)

    def scan(self, window: Window) -> Scan:
        return find_call(window, _MARK, _call_at)


@agent_registry.add("deepseek_v4")
class DeepSeekV4Agent(Dsml):
    """Source: the chat template of DeepSeek-V4."""

    results: ClassVar[Place] = Place.USER
    prefix: ClassVar[str] = "｜DSML｜"
    block: ClassVar[str] = "tool_calls"


@agent_registry.add("deepseek_v41")
class DeepSeekV41Agent(Dsml):
    """A space after the DSML token, and a shorter name for the block.

    Source: the agent template ``deepseek_v41`` of ms-swift 4.6.
    """

    results: ClassVar[Place] = Place.USER
    prefix: ClassVar[str] = "｜DSML｜ "
    block: ClassVar[str] = "calls"


@cache
def _named(words: str, prefix: str, block: str) -> str:
    """The words before the tools, with the dialect's own tags."""
    return words.replace("{d}", prefix).replace("{block}", block)


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call that opens at ``begin``, with or without its block; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    block = _BLOCK.match(text, begin)
    position = block.end() if block else begin
    invoke = _INVOKE.match(text, position)
    if invoke is None:
        rest = text[position:]
        partial = _starts(_INVOKES if block else _OPENINGS, rest) or _INVOKE_SO_FAR.match(rest)
        return waiting if partial else None
    arguments: dict[str, Any] = {}
    end = invoke.end()
    while True:
        at = past_space(text, end)
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            break
        close = _VALUE_END.search(text, parameter.end())
        if close is None:
            return waiting
        raw, end = text[parameter.end() : close.start()], close.end()
        if _INVOKE_END.search(raw):
            return None
        key = parameter.group(1)
        arguments[key] = _value(raw, parameter.group(2), window.tools, (invoke.group(1), key))
    closing = _INVOKE_END.match(text, at)
    if closing is None and _NEXT.match(text, at) is None:
        rest = text[at:]
        tags = (*_PARAMETERS, *_INVOKE_CLOSES, *_INVOKES, *_BLOCK_CLOSES)
        return waiting if _starts(tags, rest) or rest.startswith(_PARAMETERS) else None
    after = _past_block(window, closing.end() if closing else end)
    call = ToolCall(invoke.group(1), arguments)
    return waiting if after is None else Scan(begin, after, (call,))


def _value(raw: str, is_string: str | None, tools: Sequence[Tool], place: tuple[str, str]) -> Any:
    """The value of a parameter at (tool, key); a parameter that does not say is read by schema."""
    if is_string not in ("true", "false"):
        return read_value(raw, argument_types(tools, *place))
    if is_string == "true":
        return raw
    try:
        return loads(raw)
    except ValueError:
        return raw


def _past_block(window: Window, end: int) -> int | None:
    """The end of a call, its block's closing tag included; None while that may yet come."""
    at = past_space(window.text, end)
    close = _BLOCK_END.match(window.text, at)
    if close is not None:
        return close.end()
    partial = _starts(_BLOCK_CLOSES, window.text[at : at + len(_BLOCK_CLOSES[-1])])
    return None if partial and not window.final else end


def _starts(tags: Sequence[str], rest: str) -> bool:
    """Whether one of the tags begins with ``rest``."""
    return any(tag.startswith(rest) for tag in tags)
