"""Calls as Python writes them, ``[f(a="x"), g()]``: written and read without running anything."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Sequence
from keyword import iskeyword
from math import isfinite
from typing import Any, cast

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span

_NAME = re.compile(r"[^\s()\[\]{},\"'=<>*]+")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"|\'[^\'\\]*(?:\\.[^\'\\]*)*\''
_PIECE = re.compile(rf"{_STRING}|[\"'()\[\]{{}}]|<(?=\|)", re.DOTALL)
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEPTH = 100
_WORDS = {"true": True, "false": False, "null": None}


def write_pythonic(calls: Sequence[ToolCall], opening: str, closing: str) -> list[Span]:
    """The calls between the marks, with keyword arguments; names that Python does not take as
    keywords stand in ``**{...}`` together with all others of that call.

    TemplateError for a tool's name that could not be told from what is around it, and for values
    nested deeper than Python's parser goes.
    """
    spans: list[Span] = []
    for index, call in enumerate(calls):
        if not is_tool_name(call.name):
            raise TemplateError(
                f"the tool's name {call.name!r} would not read back from a Python call",
                hint="rename the tool, or use another agent template",
            )
        spans += (
            Span(", " if index else opening, Kind.CALL_MARK, None, index),
            Span(call.name, Kind.CALL_NAME, None, index),
            Span("(", Kind.CALL_MARK, None, index),
            Span(_arguments(call.arguments), Kind.CALL_ARGS, None, index),
            Span(")" if index < len(calls) - 1 else f"){closing}", Kind.CALL_MARK, None, index),
        )
    return [span for span in spans if span.text]


def pythonic_end(text: str, start: int) -> int:
    """Where the call that begins at ``start`` ends; INCOMPLETE or BROKEN where it does not.

    Law: a decision other than INCOMPLETE does not change with more text.
    """
    name = _NAME.match(text, start)
    if name is None:
        return BROKEN
    if name.end() == len(text):
        return INCOMPLETE
    if text[name.end()] != "(":
        return BROKEN
    closers: list[str] = []
    for piece in _PIECE.finditer(text, name.end()):
        mark = piece.group()
        if mark in _PAIRS:
            closers.append(_PAIRS[mark])
        elif mark in ('"', "'"):
            return INCOMPLETE
        elif mark == "<":
            return BROKEN
        elif len(mark) == 1:
            if closers.pop() != mark:
                return BROKEN
            if not closers:
                return piece.end()
    return INCOMPLETE


def read_pythonic(text: str, tools: Sequence[Tool]) -> ToolCall | None:
    """The call that ``text`` is; arguments without a name get those of the tool's parameters, in
    their order. None for anything but literal arguments."""
    name, _, rest = text.partition("(")
    body = _parsed(f"f({rest}")
    if not isinstance(body, ast.Call):
        return None
    try:
        arguments = dict(zip(_parameters(tools, name), map(_value, body.args), strict=False))
        if len(arguments) < len(body.args):
            return None
        for keyword in body.keywords:
            value = _value(keyword.value)
            arguments.update(value if keyword.arg is None else {keyword.arg: value})
    except (ValueError, TypeError, RecursionError):
        return None
    return ToolCall(name, arguments)


def _arguments(arguments: dict[str, Any]) -> str:
    if all(is_keyword_name(key) for key in arguments):
        return ", ".join(f"{key}={_literal(value)}" for key, value in arguments.items())
    return f"**{_literal(arguments)}"


def is_tool_name(name: str) -> bool:
    """Whether a tool's name can be told from what is around it."""
    return bool(_NAME.fullmatch(name))


def is_keyword_name(key: str) -> bool:
    """Whether Python takes the name for a keyword argument."""
    same = key.isascii() or unicodedata.normalize("NFKC", key) == key
    return key.isidentifier() and not iskeyword(key) and same


def literal_text(value: Any) -> str:
    """A value as a Python literal; TemplateError where it is nested too deep."""
    return _literal(value)


def _literal(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        text = dump(value)
        return text if text.isascii() else _SURROGATE.sub(_escaped, text)
    if depth > _DEPTH:
        raise TemplateError(
            f"an argument nested deeper than {_DEPTH} levels would not read back as Python",
            hint='give it as a string, or use an agent template that writes JSON, such as "hermes"',
        )
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        parts = (f"{_literal(key)}: {_literal(item, depth + 1)}" for key, item in items)
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item, depth + 1) for item in cast(list[Any], value)) + "]"
    return str(value) if value is None or isinstance(value, bool) else dump(value)


def _escaped(surrogate: re.Match[str]) -> str:
    return f"\\u{ord(surrogate.group()):04x}"


def _parsed(source: str) -> ast.expr | None:
    """The expression; new lines inside strings, which Python does not take, are taken."""
    for candidate in (source, re.sub(_STRING, _on_one_line, source, flags=re.DOTALL)):
        try:
            return ast.parse(candidate, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
    return None


def _on_one_line(string: re.Match[str]) -> str:
    return string.group().replace("\r", "\\r").replace("\n", "\\n")


def _value(node: ast.expr) -> Any:
    """The JSON value of a literal; ValueError where it is none."""
    match node:
        case ast.Constant(value=str() | bool() | int() | None as value):
            return value
        case ast.Constant(value=float() as number) if isfinite(number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number if not isinstance(number, bool) and isfinite(number) else _refuse()
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_key(key): _value(value) for key, value in pairs}
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case _:
            return _refuse()


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return _refuse()


def _refuse() -> Any:
    raise ValueError("no JSON value")


def _parameters(tools: Sequence[Tool], name: str) -> list[str]:
    tool = next((tool for tool in tools if tool.name == name), None)
    properties = tool.parameters.get("properties") if tool else None
    return list(cast(dict[str, Any], properties)) if isinstance(properties, dict) else []
