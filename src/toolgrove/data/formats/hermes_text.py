"""Hermes rows in text: tools in <tools>, calls in <tool_call>, results in <tool_response> tags."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.data.calls import read_call
from toolgrove.data.fields import bad, past_blanks, show
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import Dialect, structured, system_text
from toolgrove.data.react_prompt import Recovered, joined, listed_tools

_TOOLS, _END_TOOLS = "<tools>", "</tools>"
_INTRO = re.compile(
    r"# Tools\n|You are a function calling AI model\.|You are provided with function"
)
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_DECODER = json.JSONDecoder(strict=False)
_RESULT, _END_RESULT = "<tool_response>", "</tool_response>"
_HINT = 'write {"name": "...", "arguments": {...}} between <tool_call> and </tool_call>'


@formats.add("hermes_text")
class HermesText(Format):
    """Hermes function calling (NousResearch), and rows written for Qwen's prompt.

    What the prompt says beside the list of tools and the form of calls is the system message.
    """

    rank: ClassVar[int] = 44

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the system prompt has a list of tools in tags and asks for calls in tags."""
        text = system_text(row)
        if _OPEN not in text or _listed(text) is None:
            return ""
        return "a system prompt with tools in <tools> tags"

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """Calls and results as messages, the tools out of the prompt."""
        conv = structured(row, Dialect(_prompt, _reply, _ask))
        return replace(conv, messages=tuple(_plain_result(m) for m in conv.messages))


def _prompt(text: str, path: str) -> Recovered:
    listed = _listed(text)
    if listed is None:
        raise bad(path, "no list in <tools> tags")
    start, end = listed
    before, after = text[: start - len(_TOOLS)].rstrip(" "), text[end + len(_END_TOOLS) :]
    intro = _INTRO.search(before)
    last = after.rfind(_CLOSE)
    lead = before[: intro.start()] if intro else before
    rest = after[last + len(_CLOSE) :] if last >= 0 else after
    system = joined([lead.removesuffix("\n\n") if intro else lead.strip(), rest.strip()])
    return Recovered(listed_tools(text[start:end], path), system)


def _listed(text: str) -> tuple[int, int] | None:
    """Where the list of tools stands: between the first tags that hold an object or a list."""
    start = text.find(_TOOLS)
    while start >= 0:
        start += len(_TOOLS)
        first = past_blanks(text, start)
        if text[first : first + 1] in ("{", "["):
            end = text.find(_END_TOOLS, first)
            return (start, end) if end >= 0 else None
        start = text.find(_TOOLS, start)
    return None


def _reply(text: str, path: str) -> list[Message]:
    begin = text.find(_OPEN)
    if begin < 0:
        return [Message(Role.ASSISTANT, text)]
    calls: list[ToolCall] = []
    position = begin
    while position < len(text):
        if not text.startswith(_OPEN, position):
            raise bad(path, f"text behind a call: {show(text[position : position + 200])}", _HINT)
        start = past_blanks(text, position + len(_OPEN))
        end = _end(text, start)
        if end < 0:
            raise bad(path, f"a {_OPEN} that is not closed", _HINT)
        calls.append(read_call(text[start:end].strip(), path))
        position = past_blanks(text, end + len(_CLOSE))
    return [Message(Role.ASSISTANT, text[:begin].removesuffix("\n"), calls=tuple(calls))]


def _end(text: str, start: int) -> int:
    """Where the tag stands that closes a call; it may stand inside the arguments, too."""
    try:
        return text.find(_CLOSE, _DECODER.raw_decode(text, start)[1])
    except (ValueError, RecursionError):
        return text.find(_CLOSE, start)


def _ask(message: Message, conv: Conversation, before: list[Message]) -> list[Message]:
    """A user's message; one of tagged results only is these results."""
    del conv, before
    results = _results(message.text)
    return [Message(Role.TOOL, text) for text in results] if results else [message]


def _plain_result(message: Message) -> Message:
    if message.role is not Role.TOOL:
        return message
    results = _results(message.text)
    return replace(message, content=results[0]) if len(results) == 1 else message


def _results(text: str) -> list[str]:
    """The results, where the text is nothing but results in tags."""
    found: list[str] = []
    position = past_blanks(text, 0)
    while position < len(text):
        end = text.find(_END_RESULT, position)
        if not text.startswith(_RESULT, position) or end < 0:
            return []
        inner = text[position + len(_RESULT) : end]
        found.append(inner.removeprefix("\n").removesuffix("\n"))
        position = past_blanks(text, end + len(_END_RESULT))
    return found
