"""Kimi K3: tags of control tokens around each argument, which names its type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, cast

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.repeated import written_once
from toolgrove.templates.scanning import find_call, past_marks, past_space
from toolgrove.templates.tag_rules import TagForm, tagged_calls
from toolgrove.templates.typed import argument_types, json_type, read_value, write_value
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

DECLARED = 3
"""how many spans the tools' declaration has, the last ones of the tool text"""
OPEN = "<|open|>"
SEP = "<|sep|>"
_TOOLS = f"{OPEN}tools{SEP}"
_TOOLS_END = f"<|close|>tools{SEP}"
_CALL = f"{OPEN}call "
_CALL_END = f"<|close|>call{SEP}"
_ARGUMENT_END = f"<|close|>argument{SEP}"
_JSON_END = f"<|close|>json{SEP}"
_TAG = re.compile(r"<\|open\|>(call|argument|json)\b([^<]*)<\|sep\|>")
_TAG_SO_FAR = re.compile(r"<\|open\|>[^<]*(?:<(?:\|(?:s(?:e(?:p\|?)?)?)?)?)?")
_ARGUMENT = re.compile(
    r'<\|open\|>argument key="([^"<]*)" type="([a-z]+)"<\|sep\|>(.*?)<\|close\|>argument<\|sep\|>',
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_TYPES = {
    "integer": "number",
    **{kind: kind for kind in ("number", "boolean", "null", "array", "object")},
}
_ASK = (
    "You may call the functions that are listed below. To call some, write this after your text, "
    "with the type that JSON has for each argument:\n"
    '<|open|>tools<|sep|><|open|>call tool="NAME" index="1"<|sep|>'
    '<|open|>argument key="KEY" type="string"<|sep|>value<|close|>argument<|sep|>'
    "<|close|>call<|sep|><|close|>tools<|sep|>\n\n"
)


@agent_registry.add("kimi_k3")
class KimiK3Agent(AgentTemplate):
    """Source: the chat template of Kimi-K3.

    Strings stand as they are, other values as JSON. Arguments that hold a closing tag, and such as
    a row gives as a JSON string, stand as one JSON object, as the maker's template allows. The
    maker declares the tools in a message of their own; under other chat templates they stand in
    the system prompt, with words of this project's.
    """

    results: ClassVar[Place] = Place.TOOLS
    elsewhere: ClassVar[Place | None] = Place.USER
    marks: ClassVar[tuple[str, ...]] = (_TOOLS, _CALL)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        return ToolText([*lead, scaffold(_ASK), *_declared_tools(tools)], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if not step.native and (not call.name or "<" in call.name):
                raise TemplateError(
                    f"the tool's name {call.name!r} would not read back",
                    hint='rename the tool, or use an agent template such as "hermes"',
                )
            opening = f'{_CALL}tool="' if index else f'{_TOOLS}{_CALL}tool="'
            closing = _CALL_END if index < len(calls) - 1 else f"{_CALL_END}{_TOOLS_END}"
            spans += (
                Span(opening, Kind.CALL_MARK, None, index),
                Span(escaped(call.name), Kind.CALL_NAME, None, index),
                Span(f'" index="{index + 1}"{SEP}', Kind.CALL_MARK, None, index),
                *_arguments(call, index, step.native),
                Span(closing, Kind.CALL_MARK, None, index),
            )
        return [span for span in spans if span.text]

    def write_result(self, result: Result) -> list[Span]:
        return result_spans(result.name or "unknown", result.index + 1, result.content)

    def scan(self, window: Window) -> Scan:
        return find_call(window, OPEN, _call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        form = TagForm(
            mark=_TOOLS,
            head=f'{_TOOLS}{_CALL}tool="',
            number='"\\" index=\\"" [0-9]{1,3}',
            named=f'"{SEP}',
            key=f'{OPEN}argument key="',
            value=f'" type="string"{SEP}',
            value_of_others={kind: f'" type="{name}"{SEP}' for kind, name in _TYPES.items()},
            ended=_ARGUMENT_END,
            close=_CALL_END,
            next=f'{_CALL}tool="',
            tail=_TOOLS_END,
            barred=(_ARGUMENT_END,),
            escape=escaped,
            whole=(f'{OPEN}json type="object"{SEP}', _JSON_END),
        )
        return tagged_calls(tools, parallel, form)


def escaped(value: str) -> str:
    """A value as it stands between quotes in a tag."""
    return value.replace("&", "&amp;").replace('"', "&quot;")


def _declared_tools(tools: Sequence[Tool]) -> list[Span]:
    """The tools as JSON without spaces, the keys of each object in the order of the alphabet."""
    opening = "# Tools\nHere are the available tools, described in JSONSchema.\n\n```json\n"
    text = ",".join([_declaration(tool) for tool in tools])
    return [scaffold(opening), Span(f"[{text}]", Kind.TOOLS), scaffold("\n```")]


@written_once
def _declaration(tool: Tool) -> str:
    return _sorted_json(loads_object(dump(tool.spec)))


def result_spans(name: str, index: int, content: str, message: int | None = None) -> list[Span]:
    """A tool's message without the token that ends it."""
    body = [Span(content, Kind.RESULT, message)] if content else []
    return [
        scaffold(f'{OPEN}message role="tool" tool="'),
        Span(escaped(name), Kind.RESULT, message),
        scaffold(f'" index="{index}"{SEP}'),
        *body,
        scaffold(f"<|close|>message{SEP}"),
    ]


def _sorted_json(value: Any) -> str:
    if isinstance(value, dict):
        items = sorted(cast(dict[str, Any], value).items(), key=lambda item: item[0].lower())
        return "{" + ",".join(f"{dump(key)}:{_sorted_json(item)}" for key, item in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_sorted_json, cast(list[Any], value))) + "]"
    return dump(value)


def _arguments(call: ToolCall, index: int, native: bool) -> list[Span]:
    whole = call.given
    if whole is None and not native and _needs_json(call.arguments):
        whole = dump(call.arguments)
    if whole is not None:
        if not whole.strip():
            return []
        return [
            Span(f'{OPEN}json type="object"{SEP}', Kind.CALL_MARK, None, index),
            Span(whole, Kind.CALL_ARGS, None, index),
            Span(_JSON_END, Kind.CALL_MARK, None, index),
        ]
    spans: list[Span] = []
    for key, value in call.arguments.items():
        spans += (
            Span(f'{OPEN}argument key="', Kind.CALL_MARK, None, index),
            Span(escaped(key), Kind.CALL_ARGS, None, index),
            Span(f'" type="{_type(value)}"{SEP}', Kind.CALL_MARK, None, index),
            Span(write_value(value), Kind.CALL_ARGS, None, index),
            Span(_ARGUMENT_END, Kind.CALL_MARK, None, index),
        )
    return spans


def _needs_json(arguments: dict[str, Any]) -> bool:
    """Whether a key or a value would end its tag."""
    return any("<" in key for key in arguments) or any(
        _ARGUMENT_END in write_value(value) for value in arguments.values()
    )


def _type(value: Any) -> str:
    kind = json_type(value)
    return "number" if kind == "integer" else kind


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call whose first tag opens at ``begin``; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    position = begin
    for mark, needed in ((_TOOLS, False), (_CALL, True)):
        if text.startswith(mark, position):
            position = position if needed else past_space(text, position + len(mark))
        elif mark.startswith(text[position : position + len(mark)]):
            return waiting
        elif needed:
            return None
    tag = _TAG.match(text, position)
    if tag is None:
        return waiting if _TAG_SO_FAR.fullmatch(text, position) else None
    name = _attributes(tag).get("tool", "")
    found = _body(window, name, tag.end()) if name else None
    if found is None:
        return None
    arguments, end = found
    if arguments is None:
        return waiting
    end = past_marks(window, end, (_CALL_END, _TOOLS_END))
    if end == INCOMPLETE:
        return waiting
    return Scan(begin, end, (ToolCall(name, arguments),))


def _body(window: Window, name: str, position: int) -> tuple[dict[str, Any] | None, int] | None:
    """The arguments between a call's tags and where they end; without arguments while more text
    must come, None when they cannot be read."""
    text = window.text
    arguments: dict[str, Any] = {}
    while True:
        while plain := _ARGUMENT.match(text, position):
            key, given, value = plain.groups()
            arguments[_unescaped(key)] = read_value(value, _types(given))
            position = plain.end()
        position = past_space(text, position)
        tag = _TAG.match(text, position)
        if tag is None or tag.group(1) == "call":
            break
        start = tag.end()
        if tag.group(1) == "json":
            end = _json_end(text, start)
            close = _JSON_END
        else:
            end = text.find(_ARGUMENT_END, start)
            close = _ARGUMENT_END
        if end < 0:
            return None if window.final else (None, position)
        value = text[start:end]
        try:
            arguments |= _read(window, name, tag, value)
        except ValueError:
            return None
        position = end + len(close)
    rest = text[position:]
    if tag or not rest or rest.startswith("<|close|>"):
        return arguments, position
    opens = any(mark.startswith(rest) for mark in (OPEN, "<|close|>"))
    undecided = opens or _TAG_SO_FAR.fullmatch(rest)
    return (None, position) if undecided and not window.final else None


def _json_end(text: str, start: int) -> int:
    """Where the JSON object of a call ends; negative while its closing tag is not there."""
    brace = past_space(text, start)
    end = object_end(text, brace) if text.startswith("{", brace) else -1
    return text.find(_JSON_END, max(end, start))


def _read(window: Window, name: str, tag: re.Match[str], value: str) -> dict[str, Any]:
    if tag.group(1) == "json":
        return loads_object(value)
    attributes = _attributes(tag)
    key, given = attributes.get("key"), attributes.get("type")
    if key is None:
        raise ValueError("an argument without a key")
    types = _types(given) if given else argument_types(window.tools, name, key)
    return {key: read_value(value, types)}


def _attributes(tag: re.Match[str]) -> dict[str, str]:
    return {key: _unescaped(value) for key, value in _ATTRIBUTE.findall(tag.group(2))}


def _unescaped(value: str) -> str:
    return value.replace("&quot;", '"').replace("&amp;", "&") if "&" in value else value


@lru_cache(maxsize=64)
def _types(given: str) -> frozenset[str]:
    return frozenset({given})
