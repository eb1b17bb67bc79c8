"""DeepSeek V3 and R1: calls with a type, a name and JSON in a fence, between tool tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold, system_span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import find_call, past_space
from toolgrove.templates.values import Place, Scan, Step, ToolText, Window

CALLS_OPEN = "<｜tool▁calls▁begin｜>"
CALL_OPEN = "<｜tool▁call▁begin｜>"
SEPARATOR = "<｜tool▁sep｜>"
CALL_CLOSE = "<｜tool▁call▁end｜>"
CALLS_CLOSE = "<｜tool▁calls▁end｜>"
MARK = "<｜tool▁call"
"""how every opening token of a call begins"""

_HEAD = re.compile(r"[^\n<]*")
_NAME_AND_FENCE = re.compile(r"([^\n<`{]+?)\s*(?:```(?:json)?\s*)?(?=\{)")
_NAME_SO_FAR = re.compile(r"[^\n<`{]+(?:\n\s*)?(?:`{1,3}(?:j(?:s(?:o(?:n\s*)?)?)?|\s*)?)?\Z")
_UNREADABLE = re.compile(r"[\n<`{]")
_ASK = (
    "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
    f"{CALLS_OPEN}{CALL_OPEN}function{SEPARATOR}tool_call_name\n```json\ntool_call_arguments\n```"
    f"{CALL_CLOSE}{{additional_tool_calls}}{CALLS_CLOSE}\n\n"
    "Where:\n"
    "- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema"
    "\n- For multiple tool calls, put each on a line of its own"
)


@agent_registry.add("deepseek_v3")
class DeepSeekV3Agent(AgentTemplate):
    """Source: the chat template of DeepSeek-R1 and DeepSeek-V3, which shows calls but no tools; the
    words about the tools follow those that DeepSeek gives for V3.1.

    The maker's template forgets to open a second turn of calls: it writes neither the text nor the
    opening token there. A composed dialect writes both (``test_later_calls_are_opened``).
    """

    results: ClassVar[Place] = Place.TOOL
    marks: ClassVar[tuple[str, ...]] = (MARK,)

    def write_tools(
        self, tools: Sequence[Tool], system: str | None, default: str | None
    ) -> ToolText:
        return tool_text(tools, default if system is None else system, system, _ASK)

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        spans: list[Span] = []
        for index, call in enumerate(calls):
            check_name(call)
            goes_on = index > 0 or (step.native and step.earlier > 0)
            opening = CALL_OPEN if goes_on else CALLS_OPEN + CALL_OPEN
            closing = CALL_CLOSE + (CALLS_CLOSE if index == len(calls) - 1 else "")
            if goes_on:
                spans.append(Span("\n", Kind.SEPARATOR, None, index))
            spans += (
                Span(f"{opening}function{SEPARATOR}", Kind.CALL_MARK, None, index),
                Span(call.name, Kind.CALL_NAME, None, index),
                Span("\n```json\n", Kind.CALL_MARK, None, index),
                Span(written_arguments(call), Kind.CALL_ARGS, None, index),
                Span(f"\n```{closing}", Kind.CALL_MARK, None, index),
            )
        return spans

    def scan(self, window: Window) -> Scan:
        return find_call(window, MARK, call_at)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        def call(tool: Tool, arguments: str) -> str:
            opening = literal(f"{CALL_OPEN}function{SEPARATOR}{tool.name}\n```json\n")
            return f"{opening} {arguments} {closing}"

        closing = literal(f"\n```{CALL_CLOSE}")
        form = CallForm(call, literal("\n"), behind=literal(CALLS_CLOSE))
        calls, notes = json_calls(tools, parallel, form)
        return Grammar((Opening(CALLS_OPEN, calls),), (CALL_OPEN,), notes)


def tool_text(tools: Sequence[Tool], text: str | None, given: str | None, ask: str) -> ToolText:
    """The system prompt, then the tools as DeepSeek describes them for V3.1, then ``ask``."""
    spans = [system_span(text, given), scaffold("\n\n")] if text else []
    spans.append(scaffold("## Tools\nYou have access to the following tools:\n\n"))
    for tool in tools:
        spans += (
            scaffold("### "),
            Span(tool.name, Kind.TOOLS),
            scaffold("\nDescription: "),
            Span(tool.description, Kind.TOOLS),
            scaffold("\n\nParameters: "),
            Span(dump(tool.function.get("parameters") or {}), Kind.TOOLS),
            scaffold("\n\n"),
        )
    return ToolText([span for span in [*spans, scaffold(ask)] if span.text], [])


def check_name(call: ToolCall) -> None:
    """TemplateError for a name that would not read back."""
    if not call.name or call.name != call.name.strip() or _UNREADABLE.search(call.name):
        raise TemplateError(
            f"DeepSeek writes a tool's name between tokens; {call.name!r} would not read back",
            hint="rename the tool, or use another agent template",
        )


def written_arguments(call: ToolCall) -> str:
    """A call's arguments: the row's own JSON text where it gave one."""
    return dump(call.arguments) if call.given is None else call.given


def call_at(window: Window, begin: int) -> Scan | None:
    """The call that opens at ``begin``, in the form of V3 or of V3.1; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    opening = begin
    if text.startswith(CALLS_OPEN, begin):
        opening = past_space(text, begin + len(CALLS_OPEN))
    if not text.startswith(CALL_OPEN, opening):
        rest = text[opening : opening + len(CALLS_OPEN)]
        partial = CALL_OPEN.startswith(rest) or (opening == begin and CALLS_OPEN.startswith(rest))
        return waiting if partial else None
    start = opening + len(CALL_OPEN)
    head = _HEAD.match(text, start)
    separator = head.end() if head else start
    if not text.startswith(SEPARATOR, separator):
        partial = SEPARATOR.startswith(text[separator : separator + len(SEPARATOR)])
        return waiting if partial else None
    named = _named(window, text[start:separator].strip(), separator + len(SEPARATOR))
    if named is None:
        return None
    name, brace = named
    if brace < 0:
        return waiting
    found = _arguments(window, brace)
    if found is None:
        return waiting if _may_close(window, brace) else None
    arguments, end = found
    after = _past_marks(window, end)
    return waiting if after is None else Scan(begin, after, (ToolCall(name, arguments),))


def _named(window: Window, head: str, position: int) -> tuple[str, int] | None:
    """The call's name and where its object opens (-1: not known yet); None when it is no call."""
    text = window.text
    start = past_space(text, position)
    if start == len(text):
        return head, -1
    if text[start] == "{":
        return (head, start) if head else None
    match = _NAME_AND_FENCE.match(text, start)
    if match is not None:
        return match.group(1), match.end()
    return (head, -1) if _NAME_SO_FAR.match(text, start) else None


def _arguments(window: Window, brace: int) -> tuple[dict[str, object], int] | None:
    """The object that opens at ``brace`` and where it ends; None when it cannot be read (yet)."""
    text = window.text
    end = object_end(text, brace)
    if end == INCOMPLETE and not window.final:
        return None
    if end in (INCOMPLETE, BROKEN):
        end = text.find(CALL_CLOSE, brace)
        if end < 0:
            return None
    try:
        return loads_object(text[brace:end].rstrip("`\n ")), end
    except ValueError:
        return None


def _may_close(window: Window, brace: int) -> bool:
    """Whether an object that could not be read may yet be read with more text."""
    end = object_end(window.text, brace)
    return end == INCOMPLETE or (end == BROKEN and window.text.find(CALL_CLOSE, brace) < 0)


def _past_marks(window: Window, end: int) -> int | None:
    """The end of the marks that close a call; None while more of them may come."""
    for mark in ("```", CALL_CLOSE, CALLS_CLOSE):
        at = past_space(window.text, end)
        if window.text.startswith(mark, at):
            end = at + len(mark)
        elif not window.final and mark.startswith(window.text[at : at + len(mark)]):
            return None
    return end
