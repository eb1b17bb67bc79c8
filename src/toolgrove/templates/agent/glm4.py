"""GLM-4: a tool's name on a line, then its arguments as JSON; results after <|observation|>."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_letters, digits
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import JSON, Tool, ToolCall, tool_names
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening, any_text, line_starts
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal, none_of
from toolgrove.templates.scanning import held, past_space
from toolgrove.templates.values import Place, Result, Scan, Step, ToolText, Window

ASSISTANT = "<|assistant|>"
OBSERVATION = "<|observation|>"
_LONGEST_NAME = 128
_NAME = r"[^\s{}<>|\"'`]+"
_WHOLE_NAME = re.compile(_NAME)
_BRACE = re.compile(r"\n[ \t]*\{")
_NAME_BEFORE = re.compile(rf"({_NAME})[ \t]*\Z")
_MARK_BEFORE = re.compile(r"<\|assistant\|>\s*\Z")
_UNDECIDED = re.compile(rf"(?:<\|assistant\|>\s*)?(?:{_NAME})?[ \t]*(?:\n[ \t]*)?\Z")
_WORD_LETTERS = f"{ascii_letters}{digits}_"
_WORD_END = re.compile(r"[A-Za-z0-9_]\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w\-]*\Z", re.ASCII)
_ENDS = re.compile(r"<\|(?:observation|assistant|user)\|>")
_IDENTITY = (
    "你是一个名为 GLM-4 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。"
)
_AFTER_TOOL = "\n在调用上述函数时，请使用 Json 格式表示调用的参数。"


class Glm4Calls(AgentTemplate):
    """A call is a line with a name before an object. The name is that of a tool, which may end a
    line of text; where nothing else stands before it, or no tools are known, it may be any name.
    Results stand inside the assistant's turn, each after <|observation|>, which the model writes to
    hand over; then <|assistant|> goes on.

    Sources: the prompt format of GLM-4 and the wire format of ms-swift, which writes arguments as
    Python dictionaries and drops the row's system prompt; here they are JSON, and the prompt stands
    before the tools. Nothing stands between text and a call, so text that would run into the name
    is refused.
    """

    exact: ClassVar[bool] = False
    results: ClassVar[Place] = Place.ASSISTANT
    call_stop: ClassVar[str] = OBSERVATION
    stops_text: ClassVar[bool] = False
    marks: ClassVar[tuple[str, ...]] = ("",)
    call_opening: ClassVar[re.Pattern[str] | None] = _BRACE
    identity: ClassVar[str | None]
    """the system prompt before the tools where a row has none"""

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        text = system or default or self.identity
        lead = [system_span(text, system or None), scaffold("\n\n")] if text else []
        lines = [
            span
            for index, tool in enumerate(tools)
            for span in (
                scaffold("\n## " if index else "## "),
                Span(f"{tool.name}\n\n{dump(tool.function, indent=4)}", Kind.TOOLS),
                scaffold(_AFTER_TOOL),
            )
        ]
        return ToolText([*lead, scaffold("# 可用工具\n\n"), *lines], [])

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            if not _WHOLE_NAME.fullmatch(call.name) or len(call.name) > _LONGEST_NAME:
                raise TemplateError(
                    f"GLM-4 writes a tool's name as one word; {call.name!r} would not read back",
                    hint="rename the tool, or use another agent template",
                )
            if index:
                spans.append(Span(ASSISTANT, Kind.CALL_MARK, None, index))
            spans += (
                Span(call.name, Kind.CALL_NAME, None, index),
                Span("\n", Kind.CALL_MARK, None, index),
                Span(dump(call.arguments), Kind.CALL_ARGS, None, index),
            )
        return [*spans, Span(OBSERVATION, Kind.CALL_STOP, call=len(calls) - 1)]

    def write_result(self, result: Result) -> list[Span]:
        opening = scaffold(f"{OBSERVATION}\n" if result.index else "\n")
        body = [Span(result.content, Kind.RESULT)] if result.content else []
        last = result.index == result.count - 1
        return [opening, *body, *([scaffold(f"{ASSISTANT}\n")] if last else [])]

    def write_orphan(self, result: Result) -> list[Span]:
        return [scaffold(f"{OBSERVATION}\n"), Span(result.content, Kind.RESULT)]

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        while brace := _BRACE.search(text, position, window.limit + 2 * _LONGEST_NAME):
            begin = _name_start(window, brace.start())
            found = None if begin is None else _call_at(window, begin, brace)
            if found is not None:
                return found
            position = brace.end()
        known = window.final or window.limit <= len(text)
        safe = len(text) if known else _held(window)
        return Scan(safe, safe)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        """Text has no line that begins with a brace, and does not run into the name of a tool."""
        told: list[str] = []
        for tool in tools:
            if not _WHOLE_NAME.fullmatch(tool.name) or len(tool.name) > _LONGEST_NAME:
                told.append(f"{tool.name}: its name cannot be read back")

        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f"{tool.name}\n")
            return f"{opening} {arguments}"

        def call_after_text(tool: Tool, arguments: str) -> str:
            return f"{_before_name(tool.name, tools)} {call(tool, arguments)}"

        mark = literal(ASSISTANT)
        form = CallForm(call, mark, behind=f"{literal(OBSERVATION)}?")
        first, notes = json_calls(tools, parallel, form)
        later, _ = json_calls(tools, parallel, form._replace(first=call_after_text))
        openings = (Opening("", first, first=True), Opening("", later))
        return Grammar(openings, notes=(*told, *notes), text=_text)


@agent_registry.add("glm4")
class Glm4Plain(Glm4Calls):
    """Without a system prompt of its own (GLM-4-0414)."""

    identity: ClassVar[str | None] = None


@agent_registry.add("chatglm4")
class ChatGlm4(Glm4Calls):
    """With the system prompt of GLM-4-9B-Chat."""

    identity: ClassVar[str | None] = _IDENTITY


def _text(never: Sequence[str]) -> JSON:
    """Free text that holds no call."""
    return any_text([*never, *line_starts("{")])


def _before_name(name: str, tools: Sequence[Tool]) -> str:
    """The character before a call, as a character class: the end of no word, of no mark, and none
    with which the name would be the end of another tool's."""
    longer = (other for other in tool_names(tools) if other != name and other.endswith(name))
    barred = {other[-len(name) - 1] for other in longer}
    return none_of({*_WORD_LETTERS, ">", "{", *barred})


def _name_start(window: Window, end: int) -> int | None:
    """Where the name begins that ends at ``end``; None when no tool's name stands there."""
    text = window.text
    low = max(window.start, end - _LONGEST_NAME)
    match = _NAME_BEFORE.search(text[low:end])
    if match is None:
        return None
    word, start = match.group(1), low + match.start()
    names = tool_names(window.tools)
    if word in names:
        return start
    fitting = [name for name in names if word.endswith(name)]
    for name in sorted(fitting, key=len, reverse=True):
        if not _WORD_END.search(word[: -len(name)]):
            return start + len(word) - len(name)
    if past_space(text, window.fresh) >= start:
        return start
    if text[max(window.fresh, start - _LONGEST_NAME) : start].rstrip().endswith(ASSISTANT):
        return start
    if names:
        return None
    if text[start - 1] == "\n":
        return start
    identifier = _IDENTIFIER.search(word)
    return None if identifier is None else start + identifier.start()


def _call_at(window: Window, start: int, brace: re.Match[str]) -> Scan | None:
    """The call whose name begins at ``start``; None when its arguments are no object."""
    text, opens = window.text, brace.end() - 1
    name = text[start : brace.start()].rstrip(" \t")
    mark = _MARK_BEFORE.search(text[max(window.start, start - 32) : start])
    begin = start - (len(mark.group()) if mark else 0)
    waiting = None if window.final else Scan(begin, len(text))
    end = object_end(text, opens)
    arguments = None if end in (INCOMPLETE, BROKEN) else _object(text[opens:end])
    if arguments is None:
        if end == INCOMPLETE and waiting:
            return waiting
        closing = _ENDS.search(text, opens)
        if closing is None:
            return waiting
        end = closing.start()
        arguments = _object(text[opens:end])
        if arguments is None:
            return None
    after = past_space(text, end)
    if text.startswith(OBSERVATION, after):
        end = after + len(OBSERVATION)
    elif waiting and OBSERVATION.startswith(text[after:]):
        return waiting
    return Scan(begin, end, (ToolCall(name, arguments),))


def _object(text: str) -> dict[str, object] | None:
    try:
        return loads_object(text)
    except ValueError:
        return None


def _held(window: Window) -> int:
    """Up to where the text cannot become a call any more."""
    text = window.text
    low = max(window.start, len(text) - _LONGEST_NAME - 64)
    match = _UNDECIDED.search(text[low:])
    begin = low + match.start() if match else len(text)
    return min(begin, held(text, window.start, ASSISTANT))
