"""Harmony: tools as a TypeScript namespace, calls addressed to ``functions.NAME`` (gpt-oss)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening, rules_of
from toolgrove.templates.json_calls import CallForm, form_of_calls, spaced_json
from toolgrove.templates.repeated import written_once
from toolgrove.templates.rules import Rules, literal
from toolgrove.templates.scanning import cut_off, held, past_space
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

ASSISTANT = "<|start|>assistant"
END = "<|end|>"
CALL = "<|call|>"

_GAP = r"\s{0,4}"
_SPACE = r"\s{1,4}"
_WORD = r"\w{1,20}"
_FORMAT = r"\w{0,20}\s{0,4}"
_NAME = r"([^\s<{]{1,256})"
_TO = "to=functions."
_CHANNEL = "<|channel|>"
_MESSAGE = "<|message|>"
_NAMED_FIRST = f"{_CHANNEL}commentary json{_MESSAGE}"
_CHANNEL_FIRST = f" <|constrain|>json{_MESSAGE}"
_LEAD = f"{_CHANNEL}commentary "
_OPENERS = (ASSISTANT, _CHANNEL, _TO)
_OPENER = re.compile("|".join(map(re.escape, _OPENERS)))


def _headers(literal: Callable[[str, str], str]) -> str:
    """The pattern of a call's header, its literals written by ``literal(text, what follows)``."""
    message = _FORMAT + literal(_MESSAGE, _GAP)
    kind = f"(?:{_GAP}{literal('<|constrain|>', _GAP + message)}|{_GAP}{message})"
    first = literal(_TO, f"{_NAME}(?:{_GAP}{literal(_CHANNEL, _GAP + _WORD + kind)}|{kind})")
    second = literal(_CHANNEL, _GAP + _WORD + _SPACE + literal(_TO, _NAME + kind))
    return f"(?:{literal(ASSISTANT, f'{_GAP}(?:{first}|{second})')}|{first}|{second})"


def _whole(text: str, rest: str) -> str:
    return re.escape(text) + rest


def _so_far(text: str, rest: str) -> str:
    """A pattern of everything that ``text`` and the rest may begin with."""
    rest = rest.replace("{1,", "{0,")
    for letter in reversed(text):
        rest = f"(?:{re.escape(letter)}{rest})?"
    return rest


_PLAIN_NAME = re.compile(_NAME)
_HEAD = re.compile(_headers(_whole) + r"(?=\{|\Z)")
_HEAD_SO_FAR = re.compile(_headers(_so_far))
_INDENT = "\n" + " " * 16
_LONG = 50
_NUMBERS = {"number": "number", "integer": "number", "boolean": "boolean"}
_ITEMS = {**_NUMBERS, "string": "string"}


@agent_registry.add("gpt_oss")
class GptOss(AgentTemplate):
    """A call is a message to ``functions.NAME`` with JSON arguments, ended by ``<|call|>``.

    Source: the chat template of gpt-oss, whose words and spacing of types are kept, odd ones
    included. That template writes one call a turn; here all are written, and ``<|end|>`` stands
    after all but the last, since ``<|call|>`` ends generation. A tool without a description gets no
    comment line, where the maker's template fails.
    """

    results: ClassVar[Place] = Place.TOOL
    text_separator: ClassVar[str] = "\n"
    marks: ClassVar[tuple[str, ...]] = ("to=functions.",)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = default if system is None else system
        lead = [system_span(text, system), scaffold("\n\n")] if text else []
        spans = [*lead, scaffold("# Tools\n\n## functions\n\nnamespace functions {\n\n")]
        spans += [Span(declaration(tool), Kind.TOOLS) for tool in tools]
        return ToolText([*spans, scaffold("} // namespace functions")], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        made = calls[:1] if step.native else calls
        spans: list[Span] = []
        for index, call in enumerate(made):
            if not _PLAIN_NAME.fullmatch(call.name):
                raise TemplateError(
                    f"harmony writes a tool's name in a message's header; {call.name!r} would not "
                    "read back",
                    hint="rename the tool, or use another agent template",
                )
            arguments = dump(call.arguments) if call.given is None else call.given
            start = f"{END}{ASSISTANT}" if index else ""
            spans += (
                Span(f"{start} to=functions.", Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span("<|channel|>commentary json<|message|>", Kind.CALL_MARK, None, index),
                Span(arguments, Kind.CALL_ARGS, None, index),
            )
        return [*spans, Span(CALL, Kind.CALL_STOP, call=len(made) - 1)]

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        while True:
            opener = _OPENER.search(text, position, window.limit + len(ASSISTANT) - 1)
            if opener is None:
                safe = min(held(text, position, mark) for mark in _OPENERS)
                safe = len(text) if window.final else safe
                return Scan(safe, safe)
            if opener.start() >= window.limit:
                return Scan(opener.start(), opener.start())
            found = _call_at(window, opener.start())
            if found is not None:
                return found
            if cut_off(window, opener.start(), _call_at):
                return Scan(len(text), len(text))
            position = opener.end()

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        """Calls in the form that is written and in the one that the model was trained on, which
        names the channel first, as text may do before the mark."""
        rules = Rules()

        def call(tool: Tool, arguments: str) -> str:
            return f"{literal(tool.name)} {header} {arguments}"

        header = rules.rule(" | ".join(map(rules.mark, (_NAMED_FIRST, _CHANNEL_FIRST))))
        between = f'{literal(f"{END}{ASSISTANT}")} (" " | {literal(_LEAD)}) {literal(_TO)}'
        form = CallForm(call, between, behind=f"{literal(CALL)}?")
        notes = list[str]()
        given = [(tool, spaced_json(tool, rules, notes)) for tool in tools]
        calls = rules_of(rules.text(form_of_calls(given, parallel, form, rules)))
        return Grammar((Opening(_TO, calls, lead=_LEAD),), notes=tuple(notes))


@written_once
def declaration(tool: Tool) -> str:
    """A tool as a TypeScript type with comments, as gpt-oss's own template writes it."""
    about = tool.function.get("description")
    lines = [] if about is None else [f"// {about}\n"]
    parameters = tool.parameters
    properties = _mapping(parameters.get("properties"))
    if not properties:
        return "".join([*lines, f"type {tool.name} = () => any;\n\n"])
    lines.append(f"type {tool.name} = (_: {{\n")
    required = parameters.get("required") or ()
    for name, given in properties.items():
        schema = _mapping(given)
        if schema.get("description"):
            lines.append(f"// {schema['description']}\n")
        mark = "" if name in required else "?"
        lines.append(f"{name}{mark}: {typescript(schema)}{_default(schema)},\n")
    return "".join([*lines, "}) => any;\n\n"])


def typescript(schema: Mapping[str, Any]) -> str:
    """The TypeScript type of a JSON Schema, by gpt-oss's own rules."""
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if isinstance(kind, list) and kind:
        return " | ".join(map(str, cast(list[Any], kind)))
    if schema.get("oneOf"):
        return _one_of(schema["oneOf"])
    if kind == "string":
        if schema.get("enum"):
            return '"' + '" | "'.join(map(str, schema["enum"])) + '"'
        return "string | null" if schema.get("nullable") else "string"
    if kind == "object":
        return _object(schema)
    return _NUMBERS.get(kind, "any") if isinstance(kind, str) else "any"


def _default(schema: Mapping[str, Any]) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    plain = value if isinstance(value, str) else dump(value)
    if schema.get("enum"):
        return f", // default: {plain}"
    return f"// default: {plain}" if schema.get("oneOf") else f", // default: {dump(value)}"


def _array(schema: Mapping[str, Any]) -> str:
    null = " | null" if schema.get("nullable") else ""
    items = _mapping(schema.get("items"))
    if not items:
        return f"any[]{null}"
    kind = items.get("type")
    inner = _ITEMS.get(kind) if isinstance(kind, str) else None
    if inner is None:
        inner = typescript(items)
        if inner == "object | object" or len(inner) > _LONG:
            inner = "any"
    return f"{inner}[]{null}"


def _one_of(variants: Sequence[Any]) -> str:
    pieces: list[str] = []
    for schema in map(_mapping, variants):
        about = f"// {schema['description']}" if schema.get("description") else ""
        default = f"{' ' * 20}// default: {dump(schema['default'])}" if "default" in schema else ""
        pieces.append(f"{typescript(schema)}{about}{default}")
    return " | \n".join(pieces)


def _object(schema: Mapping[str, Any]) -> str:
    properties = _mapping(schema.get("properties"))
    if not properties:
        return "object"
    required = schema.get("required") or ()
    fields = [
        f"{name}{'' if name in required else '?'}: {_INDENT}{typescript(_mapping(inner))}"
        for name, inner in properties.items()
    ]
    return "{\n" + ", ".join(fields) + "}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _call_at(window: Window, begin: int) -> Scan | None:
    """The call whose header begins at ``begin``; None where there is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    head = _HEAD.match(text, begin)
    if head is None:
        return waiting if waiting and _HEAD_SO_FAR.fullmatch(text, begin) else None
    end = object_end(text, head.end()) if head.end() < len(text) else INCOMPLETE
    if end in (INCOMPLETE, BROKEN):
        return waiting if end == INCOMPLETE else None
    try:
        arguments = loads_object(text[head.end() : end])
    except ValueError:
        return None
    call = ToolCall(next(filter(None, head.groups())), arguments)
    after = past_space(text, end)
    close = next((mark for mark in (CALL, END) if text.startswith(mark, after)), "")
    rest = text[after : after + len(CALL)]
    if waiting and not close and (CALL.startswith(rest) or END.startswith(rest)):
        return waiting
    return Scan(begin, after + len(close) if close else end, (call,))
