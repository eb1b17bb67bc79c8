"""Hermes rows in text: tools in <tools>, calls in <tool_call>, results in <tool_response> tags."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.data.calls import read_call
from toolgrove.data.fields import bad, show
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import Dialect, structured, system_text
from toolgrove.data.react_prompt import Recovered, joined, listed_tools

_TOOLS = re.compile(r"<tools>\s*([\[{].*?)\s*</tools>", re.DOTALL)
_INTRO = re.compile(
    r"# Tools\n|You are a function calling AI model\.|You are provided with function"
)
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_DECODER = json.JSONDecoder(strict=False)
_RESULTS = re.compile(r"\s*(<tool_response>.*</tool_response>)\s*", re.DOTALL)
_RESULT = re.compile(r"<tool_response>\n?(.*?)\n?</tool_response>\s*", re.DOTALL)
_CLOSING = re.compile(r"\s*</tool_call>")
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
        if _OPEN not in text or not _TOOLS.search(text):
            return ""
        return "a system prompt with tools in <tools> tags"

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """Calls and results as messages, the tools out of the prompt."""
        conv = structured(row, Dialect(_prompt, _reply, _ask))
        return replace(conv, messages=tuple(_plain_result(m) for m in conv.messages))


def _prompt(text: str, path: str) -> Recovered:
    listed = _TOOLS.search(text)
    if listed is None:
        raise bad(path, "no list in <tools> tags")
    before, after = text[: listed.start()], text[listed.end() :]
    intro = _INTRO.search(before)
    end = after.rfind(_CLOSE)
    lead = before[: intro.start()] if intro else before
    rest = after[end + len(_CLOSE) :] if end >= 0 else after
    system = joined([lead.removesuffix("\n\n") if intro else lead.strip(), rest.strip()])
    return Recovered(listed_tools(listed.group(1), path), system)


def _reply(text: str, path: str) -> list[Message]:
    content, mark, rest = text.partition(_OPEN)
    if not mark:
        return [Message(Role.ASSISTANT, text)]
    calls: list[ToolCall] = []
    while mark:
        end = _end(rest)
        if end is None:
            raise bad(path, f"a {_OPEN} that is not closed", _HINT)
        calls.append(read_call(rest[: end.start()], path))
        between, mark, rest = rest[end.end() :].partition(_OPEN)
        if between.strip():
            raise bad(path, f"text behind a call: {show(between.strip())}", _HINT)
    return [Message(Role.ASSISTANT, content.removesuffix("\n"), calls=tuple(calls))]


def _end(text: str) -> re.Match[str] | None:
    """The tag that closes a call, which may stand inside its arguments, too."""
    start = len(text) - len(text.lstrip())
    try:
        start = _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        start = 0
    return _CLOSING.search(text, start)


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
    whole = _RESULTS.fullmatch(text)
    if whole is None or _RESULT.sub("", whole.group(1)).strip():
        return []
    return _RESULT.findall(whole.group(1))
