"""Glaive function calling in text: <functioncall> marks in a chat, functions in the prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.data.assemble import assemble
from toolgrove.data.calls import read_call
from toolgrove.data.fields import as_object, bad, filled, parse_json, show, text
from toolgrove.data.format import Format, formats
from toolgrove.data.prompted import Dialect, has_tools, structured, system_text
from toolgrove.data.react_prompt import Recovered, joined, listed_tools
from toolgrove.data.talk import Talk

_PROMPT = re.compile(
    r"\s*(?:SYSTEM: )?(?P<lead>.*?)You are a helpful assistant with access to the following "
    r"functions\. Use them if required -\s*(?P<tools>\{.*)",
    re.DOTALL,
)
_SPEAKER = re.compile(
    r"(?:^|(?<=\n)|(?<=\s\s)|(?<=<\|endoftext\|> ))(USER|ASSISTANT|FUNCTION RESPONSE): ?"
)
_MARK = "<functioncall>"
_ENDS = ("<|endoftext|>", "</s>")
_QUOTED = re.compile(
    r"""\{\s*"name":\s*"(?P<name>[^"]+)",\s*"arguments":\s*'(?P<arguments>.*)'\s*\}""", re.DOTALL
)


@formats.add("glaive")
class Glaive(Format):
    """glaive-function-calling v1 and v2 (``system``, ``chat``), or the same text as turns."""

    rank: ClassVar[int] = 48

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row is a chat of USER and ASSISTANT, or its prompt is Glaive's."""
        chat = row.get("chat")
        if isinstance(chat, str) and isinstance(row.get("system"), str) and "ASSISTANT:" in chat:
            return 'the columns "system" and "chat", with USER and ASSISTANT in the text'
        if has_tools(row) or filled(row, "function_description"):
            return ""
        prompt = system_text(row)
        marked = "access to the following functions" in prompt and _PROMPT.match(prompt)
        return "a system prompt that lists functions as Glaive does" if marked else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The speakers' texts as messages, the tools out of the prompt."""
        if not isinstance(row.get("chat"), str):
            return structured(row, Dialect(_prompt, _reply))
        system = _prompt(text(row["system"], "system"), "system")
        talk = Talk()
        if system.system is not None:
            talk.messages.append(Message(Role.SYSTEM, system.system))
        talk.messages += _chat(row["chat"])
        rest = {name: value for name, value in row.items() if name != "system"}
        conv = assemble(rest, talk, ["chat"])
        return Conversation(
            conv.messages, system.tools, conv.images, conv.videos, conv.audios, conv.extra
        )


def _prompt(source: str, path: str) -> Recovered:
    match = _PROMPT.match(source)
    if match is None:
        return Recovered((), joined([source.strip().removeprefix("SYSTEM: ")]))
    return Recovered(listed_tools(match["tools"], path), joined([match["lead"].strip()]))


def _chat(chat: str) -> list[Message]:
    """The messages of a chat in which each speaker's name stands before what is said."""
    marks = list(_SPEAKER.finditer(chat))
    if not marks or chat[: marks[0].start()].strip():
        raise bad("chat", f"text before the first speaker: {show(chat)}", 'begin with "USER: "')
    messages: list[Message] = []
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(chat)
        said, path = chat[mark.end() : end].strip("\n"), f"chat, part {index + 1}"
        if mark.group(1) == "ASSISTANT":
            messages += _reply(said, path)
        else:
            role = Role.USER if mark.group(1) == "USER" else Role.TOOL
            messages.append(Message(role, said.rstrip() if role is Role.USER else said.strip()))
    return messages


def _reply(said: str, path: str) -> list[Message]:
    bare = said.rstrip()
    end = next((mark for mark in _ENDS if bare.endswith(mark)), None)
    content, mark, call = (bare.removesuffix(end).rstrip() if end else said).partition(_MARK)
    if not mark:
        return [Message(Role.ASSISTANT, content)]
    source = call.strip().removesuffix("</functioncall>").strip()
    if _MARK in source:
        parts = [part.strip().removesuffix("</functioncall>") for part in source.split(_MARK)]
        calls = tuple(_call(part.strip(), path) for part in parts)
    else:
        calls = (_call(source, path),)
    return [Message(Role.ASSISTANT, content.rstrip(), calls=calls)]


def _call(source: str, path: str) -> ToolCall:
    """The call, whose arguments may be JSON between single quotes."""
    quoted = _QUOTED.fullmatch(source)
    if quoted is None:
        return read_call(source, path)
    given = quoted["arguments"]
    try:
        value = parse_json(given)
    except ValueError:
        value = _lenient(given, path)
    arguments = as_object(value)
    if arguments is None:
        raise bad(path, f"arguments that are no object: {show(given)}")
    return ToolCall(quoted["name"], arguments)


def _lenient(given: str, path: str) -> Any:
    """JSON whose single quotes are escaped, and whose strings may hold bare line ends."""
    try:
        return json.loads(given.replace("\\'", "'"), strict=False)
    except (ValueError, RecursionError) as error:
        raise bad(path, f"arguments that are not JSON ({error}): {show(given)}") from None
