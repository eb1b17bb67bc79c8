"""MiniMax-M3: calls as XML whose tags follow the mark ]<]minimax[>[, nested values as elements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span, text_of
from toolgrove.templates.agent.minimax_m2 import (
    Block,
    block_at,
    system_lead,
    tool_lines,
    write_response,
)
from toolgrove.templates.agent.minimax_m3_rules import (
    CLOSE,
    FORM,
    INVOKE_OPENS,
    ITEM,
    NS,
    OPEN,
    ElementRules,
    item_schema,
    member_schema,
)
from toolgrove.templates.base import AgentTemplate, agent_registry
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.readback import is_plain_value, same_calls
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.tag_rules import tagged_calls
from toolgrove.templates.typed import read_value, schema_types
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

_INVOKE = re.compile(re.escape(INVOKE_OPENS) + r'([^"\n]+)">\s*')
_BLOCK = Block(OPEN, CLOSE, INVOKE_OPENS, _INVOKE)
_INVOKE_END = re.compile(re.escape(f"{NS}</invoke>") + r"\s*")
_TAG = re.compile(re.escape(f"{NS}<") + r"((?!/)[^>]*)>")
_DEPTH = 64
_STRING = frozenset({"string"})
_EMPTY: Mapping[frozenset[str], type[Any]] = {
    frozenset({"array"}): list,
    frozenset({"object"}): dict,
}
_BEFORE = (
    "# Tools\nYou may call one or more tools to assist with the user query.\n"
    "Here are the tools available in JSONSchema format:\n\n<tools>\n"
)
_AFTER = (
    f"</tools>\n\nTo call tools, wrap all invocations in a single {OPEN}{CLOSE} block. Parameter "
    "values containing nested objects or arrays are recursively expanded into XML elements. "
    f"Example:\n\n{OPEN}\n"
    f'{NS}<invoke name="tool-name-1">{NS}<param-1>value-1{NS}</param-1>{NS}<param-2>'
    f"{NS}<item>{NS}<key-a>val-a{NS}</key-a>{NS}<key-b>val-b{NS}</key-b>{NS}</item>"
    f"{NS}</param-2>{NS}</invoke>\n"
    f'{NS}<invoke name="tool-name-2">{NS}<param-1>value-1{NS}</param-1>{NS}</invoke>\n'
    f"{CLOSE}"
)


class _Node(NamedTuple):
    """An element: its text, or the elements in it."""

    key: str
    text: str
    children: tuple[_Node, ...]


class _Schema(NamedTuple):
    """The JSON Schema of a value (None: unknown), and the one that it stands in."""

    here: Any
    root: Mapping[str, Any]


@agent_registry.add("minimax_m3")
class MiniMaxM3Calls(AgentTemplate):
    """Objects become elements, lists ``item`` elements, and a leaf's type is the schema's.

    Source: the chat template of MiniMax-M3, which leaves null out and cannot tell an empty list
    from an empty string, nor "2" from 2 where the schema is silent. A composed dialect writes an
    argument whose elements would read back changed as JSON in one element, which reads back.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.USER
    marks: ClassVar[tuple[str, ...]] = (OPEN,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        return ToolText([*system_lead(system, default), *tool_lines(_BEFORE, tools, _AFTER)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        mark = f"{OPEN}\n"
        for index, call in enumerate(calls):
            spans.append(Span(mark + INVOKE_OPENS, Kind.CALL_MARK, None, index))
            spans.append(Span(call.name, Kind.CALL_NAME, None, index))
            schema = None if step.native else _schema(step.tools, call.name)
            mark = '">'
            for key, value in call.arguments.items():
                if value is None and step.native:
                    continue
                safe = schema is None or _reads_back(key, value, _property(schema, key))
                mark = _add_element(spans, mark, key, value if safe else dump(value), index)
            last = index == len(calls) - 1
            end = f"{NS}</invoke>\n{CLOSE}" if last else f"{NS}</invoke>\n"
            spans.append(Span(mark + end, Kind.CALL_MARK, None, index))
            mark = ""
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        return write_response(result)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        return tagged_calls(tools, parallel, FORM, ElementRules)

    def scan(self, window: Window) -> Scan:
        return find_call(window, OPEN, self._block_at)

    def _block_at(self, window: Window, begin: int) -> Scan | None:
        """The calls of the block that opens at ``begin``; None when there is none."""
        return block_at(window, begin, _BLOCK, _call_at)


def _add_element(spans: list[Span], mark: str, key: str, value: Any, call: int) -> str:
    """Write a value as an element after a mark, but for its last mark, which is returned: the tags
    are markup, their names and the leaves are arguments."""
    spans.append(Span(f"{mark}{NS}<", Kind.CALL_MARK, None, call))
    spans.append(Span(key, Kind.CALL_ARGS, None, call))
    mark = ">"
    if isinstance(value, dict):
        for name, member in cast(dict[str, Any], value).items():
            if member is not None:
                mark = _add_element(spans, mark, name, member, call)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            mark = _add_element(spans, mark, ITEM, item, call)
    else:
        spans.append(Span(mark, Kind.CALL_MARK, None, call))
        spans.append(Span(_leaf(value), Kind.CALL_ARGS, None, call))
        mark = ""
    spans.append(Span(f"{mark}{NS}</", Kind.CALL_MARK, None, call))
    spans.append(Span(key, Kind.CALL_ARGS, None, call))
    return ">"


def _leaf(value: Any) -> str:
    if value is None:
        return ""
    return dump(value) if isinstance(value, bool) else str(value)


def _reads_back(key: str, value: Any, schema: _Schema) -> bool:
    types = schema_types(schema.here, schema.root)
    if is_plain_value(value, types) or (isinstance(value, str) and types == _STRING):
        return True
    spans: list[Span] = []
    mark = _add_element(spans, "", key, value, 0)
    text = text_of(spans) + mark
    found = _element_at(text, 0, 0)
    if found is None or found[1] != len(text):
        return False
    back = _value(found[0], schema)
    return same_calls([ToolCall("", {key: value})], [ToolCall("", {key: back})])


def _call_at(window: Window, invoke: re.Match[str]) -> tuple[ToolCall, int] | None:
    """The call that ``invoke`` opens and where it ends; None when it is not whole."""
    name, position = invoke.group(1), invoke.end()
    schema = _schema(window.tools, name)
    arguments: dict[str, Any] = {}
    while found := _element_at(window.text, position, 0):
        node, position = found
        position = past_space(window.text, position)
        arguments[node.key] = _value(node, _property(schema, node.key))
    end = _INVOKE_END.match(window.text, position)
    return None if end is None else (ToolCall(name, arguments), end.end())


def _element_at(text: str, position: int, depth: int) -> tuple[_Node, int] | None:
    """The element that opens at ``position`` and its end; None when there is no whole one."""
    tag = _TAG.match(text, position)
    if tag is None or depth > _DEPTH:
        return None
    key = tag.group(1)
    close = f"{NS}</{key}>"
    start = position = tag.end()
    children: list[_Node] = []
    while found := _element_at(text, position, depth + 1):
        child, position = found
        children.append(child)
    end = position if children else text.find(NS, start)
    if end < 0 or not text.startswith(close, end):
        return None
    leaf = "" if children else text[start:end]
    return _Node(key, leaf, tuple(children)), end + len(close)


def _value(node: _Node, schema: _Schema) -> Any:
    """An element's value, with the types that the schema allows."""
    types = schema_types(schema.here, schema.root)
    if not node.children:
        empty = _EMPTY.get(types) if types is not None and not node.text else None
        return empty() if empty else read_value(node.text, types)
    items = all(child.key == ITEM for child in node.children)
    if items and (types is None or "array" in types):
        inner = _Schema(item_schema(schema.here, schema.root), schema.root)
        return [_value(child, inner) for child in node.children]
    return {child.key: _value(child, _property(schema, child.key)) for child in node.children}


def _schema(tools: Sequence[Tool], name: str) -> _Schema:
    """The schema of a tool's arguments."""
    for tool in tools:
        if tool.name == name:
            return _Schema(tool.parameters, tool.parameters)
    return _Schema(None, {})


def _property(schema: _Schema, key: str) -> _Schema:
    return _Schema(member_schema(schema.here, schema.root, key), schema.root)
