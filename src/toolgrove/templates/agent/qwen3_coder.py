"""Qwen3-Coder: calls as <function=...> and <parameter=...> tags inside <tool_call>."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump
from toolgrove.core.messages import JSON, Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.repeated import written_once
from toolgrove.templates.scanning import held, past_space
from toolgrove.templates.tag_rules import TagForm, tagged_calls
from toolgrove.templates.typed import argument_types, read_value, write_value
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_CALL = "<tool_call>"
_CALL_END = "</tool_call>"
_FUNCTION = "<function="
_FUNCTION_END = "</function>"
_PARAMETER = "<parameter="
_NEXT = (_PARAMETER, _FUNCTION_END, _CALL_END)
_OPENS = re.compile(f"{_CALL}|{_FUNCTION}")
_LABEL = re.compile(r"([^>\n]*)>")
_LABEL_BROKEN = re.compile(r"[^>\n]*\n")
_STEP = re.compile(rf"\s*(?:{_PARAMETER}([^>\n]*)>|{_FUNCTION_END}|(?={_CALL_END}))")
_VALUE_END = re.compile(rf"</parameter>(?=\s*(?:{'|'.join(_NEXT)}))")
_LAST_VALUE_END = re.compile(rf"</parameter>(?=\s*(?:{'|'.join(_NEXT)}|\Z))")

_IDENTITY = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
TOOLS_OPEN = "# Tools\n\nYou have access to the following functions:\n\n<tools>"
HOW_TO_CALL = (
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO "
    "suffix:\n\n<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\n"
    "value_1\n</parameter>\n<parameter=example_parameter_2>\nThis is the value for the second "
    "parameter\nthat can span\nmultiple lines\n</parameter>\n</function>\n</tool_call>\n\n"
    "<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified format: an inner "
    "<function=...></function> block must be nested within <tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n- You may provide optional reasoning for your "
    "function call in natural language BEFORE the function call, but NOT after\n- If there is no "
    "function call available, answer the question like normal with your current knowledge and do "
    "not tell the user about function calls\n</IMPORTANT>"
)


class QwenXML(AgentTemplate):
    """Calls in tags; a value is the text between two line breaks, a string as it is and all else
    as JSON. Where the maker prints Python's ``True`` and ``None`` (``python_scalars``), the native
    dialect does too.

    Reading takes the types from the tool's parameters. A value ends at the first ``</parameter>``
    that another tag follows. Missing end tags are accepted at the end of a reply, after a whole
    parameter; a missing ``<tool_call>`` is accepted everywhere.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.USER
    text_separator: ClassVar[str] = "\n\n"
    marks: ClassVar[tuple[str, ...]] = (_CALL, _FUNCTION)
    python_scalars: ClassVar[bool]
    after_calls: ClassVar[str] = ""
    """what the family's chat template writes after calls"""

    @abstractmethod
    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText: ...

    @abstractmethod
    def write_result(self, result: Result) -> list[Span]: ...

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if index:
                spans.append(Span("\n", Kind.SEPARATOR, None, index))
            spans += (
                Span(f"{_CALL}\n{_FUNCTION}", Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
            )
            mark = ">\n"
            write = _as_python if step.native and self.python_scalars else write_value
            for key, value in call.arguments.items():
                spans += (
                    Span(mark + _PARAMETER, Kind.CALL_MARK, None, index),
                    Span(key, Kind.CALL_ARGS, None, index),
                    Span(">\n", Kind.CALL_MARK, None, index),
                    Span(write(value), Kind.CALL_ARGS, None, index),
                )
                mark = "\n</parameter>\n"
            spans.append(Span(f"{mark}{_FUNCTION_END}\n{_CALL_END}", Kind.CALL_MARK, None, index))
        return [span for span in spans if span.text]

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        form = TagForm(
            mark=_CALL,
            head=f"{_CALL}\n{_FUNCTION}",
            named=">\n",
            key=_PARAMETER,
            value=">\n",
            ended="\n</parameter>\n",
            close=f"{_FUNCTION_END}\n{_CALL_END}",
            next=f"\n{_CALL}\n{_FUNCTION}",
            after=self.after_calls,
            barred=("</parameter>",),
            python_words=self.python_scalars,
        )
        return tagged_calls(tools, parallel, form)

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        while True:
            mark = _OPENS.search(text, position, window.limit + len(_CALL) - 1)
            if mark is None:
                if window.final:
                    return Scan(len(text), len(text))
                safe = min(held(text, window.start, opening) for opening in self.marks)
                return Scan(safe, safe)
            if mark.start() >= window.limit:
                return Scan(mark.start(), mark.start())
            found = _call_at(window, mark.start())
            if found is not None:
                return found
            position = mark.end()


@agent_registry.add("qwen3_coder")
class Qwen3Coder(QwenXML):
    """Tools described in tags; results in a user turn, a line break after each.

    Source: the chat template of Qwen3-Coder-30B-A3B-Instruct. Without a system prompt it writes one
    of its own before the tools.
    """

    python_scalars: ClassVar[bool] = True

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = (_IDENTITY if default is None else default) if system is None else system
        listed = [Span(described(tool), Kind.TOOLS) for tool in tools]
        lead = [system_span(text, system), scaffold(f"\n\n{TOOLS_OPEN}")]
        return ToolText([*lead, *listed, scaffold(HOW_TO_CALL)], [])

    def write_result(self, result: Result) -> list[Span]:
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        return [scaffold("<tool_response>\n"), *body, scaffold("\n</tool_response>\n")]


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call whose markup opens at ``begin``; None when it is none."""
    text, waiting = window.text, Scan(begin, len(window.text))
    start = begin
    if text.startswith(_CALL, begin):
        start = past_space(text, begin + len(_CALL))
        if not text.startswith(_FUNCTION, start):
            return waiting if not window.final and _begins(_FUNCTION, text, start) else None
    read = _read(window, start + len(_FUNCTION))
    if isinstance(read, int):
        if read == BROKEN:
            return None
        return Scan(len(text), len(text)) if window.final else waiting
    call, end = read
    after = past_space(text, end)
    if text.startswith(_CALL_END, after):
        end = after + len(_CALL_END)
    elif _begins(_CALL_END, text, after):
        if not window.final:
            return waiting
        end = len(text)
    return Scan(begin, end, (call,))


def _read(window: Window, position: int) -> tuple[ToolCall, int] | int:
    """The call whose name stands at ``position``, and where it ends; else INCOMPLETE or BROKEN."""
    text, arguments = window.text, dict[str, Any]()
    name = _LABEL.match(text, position)
    if name is None or not name.group(1):
        return BROKEN if name or _LABEL_BROKEN.match(text, position) else INCOMPLETE
    place = name.end()
    while True:
        step = _STEP.match(text, place)
        if step is None:
            return _unfinished(window, place, ToolCall(name.group(1), arguments))
        key = step.group(1)
        if key is None:
            return ToolCall(name.group(1), arguments), step.end()
        close = (_LAST_VALUE_END if window.final else _VALUE_END).search(text, step.end())
        if close is None:
            return INCOMPLETE
        value = text[step.end() : close.start()].removeprefix("\n").removesuffix("\n")
        arguments[key] = read_value(value, argument_types(window.tools, name.group(1), key))
        place = close.end()


def _unfinished(window: Window, position: int, call: ToolCall) -> tuple[ToolCall, int] | int:
    """A call that no whole tag goes on: at the end of a reply one with arguments counts."""
    text, place = window.text, past_space(window.text, position)
    if window.final and place == len(text) and call.arguments:
        return call, place
    if any(_begins(tag, text, place) for tag in _NEXT):
        return INCOMPLETE
    named = text.startswith(_PARAMETER, place)
    return INCOMPLETE if named and not _LABEL_BROKEN.match(text, place) else BROKEN


def _begins(tag: str, text: str, position: int) -> bool:
    """Whether the text ends within ``tag``, from ``position`` on."""
    return tag.startswith(text[position : position + len(tag) + 1])


def _as_python(value: Any) -> str:
    return dump(value) if isinstance(value, (dict, list)) else str(value)


@written_once
def described(tool: Tool, *, lists_apart: bool = False) -> str:
    """A tool in tags: what the format has no tag for stands in tags named by its key.

    ``lists_apart``: ``enum`` stands right behind a parameter's description and ``required`` behind
    all else of the parameters, not in the order of the row.
    """
    function = tool.function
    parts = [f"\n<function>\n<name>{tool.name}</name>"]
    if "description" in function:
        parts.append(f"\n<description>{str(function['description']).strip()}</description>")
    parts.append("\n<parameters>")
    properties = tool.parameters.get("properties")
    if isinstance(properties, dict):
        for name, schema in cast(JSON, properties).items():
            field = _field(schema, lists_apart)
            parts += ("\n<parameter>", f"\n<name>{name}</name>", *field, "\n</parameter>")
    apart = ("required",) if lists_apart else ()
    parts += _other_keys(tool.parameters, ("type", "properties", *apart))
    parts += _as_json(tool.parameters, apart)
    parts.append("\n</parameters>")
    parts += _other_keys(function, ("type", "name", "description", "parameters"))
    return "".join([*parts, "\n</function>"])


def _field(schema: Any, lists_apart: bool) -> list[str]:
    if not isinstance(schema, Mapping):
        return []
    schema = cast(Mapping[str, Any], schema)
    parts: list[str] = []
    if "type" in schema:
        parts.append(f"\n<type>{schema['type']}</type>")
    if "description" in schema:
        parts.append(f"\n<description>{str(schema['description']).strip()}</description>")
    apart = ("enum",) if lists_apart else ()
    parts += _as_json(schema, apart)
    return [*parts, *_other_keys(schema, ("name", "type", "description", *apart))]


def _as_json(schema: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return [f"\n<{key}>{dump(schema[key])}</{key}>" for key in keys if key in schema]


def _other_keys(schema: Mapping[str, Any], handled: Sequence[str]) -> list[str]:
    return [
        f"\n<{key}>{_as_python(value)}</{key}>"
        for key, value in schema.items()
        if key not in handled
    ]
