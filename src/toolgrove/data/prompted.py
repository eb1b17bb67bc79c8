"""Rows whose tools stand in the system prompt and whose calls stand in the replies' text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.data.fields import as_list, as_object, bad, filled
from toolgrove.data.format import formats
from toolgrove.data.react_prompt import Recovered

_BASES = ("messages", "sharegpt", "alpaca", "query_response")
_TURNS = ("messages", "conversations", "conversation")
_SYSTEM_COLUMNS = ("system", "system_prompt")
_NO_TOOLS: tuple[Any, ...] = (None, "", [], "[]")


class Dialect(NamedTuple):
    """How one kind of text is read: its prompt, a reply, a message of the user's."""

    prompt: Callable[[str, str], Recovered]
    reply: Callable[[str, str], list[Message]]
    ask: Callable[[Message, Conversation, list[Message]], list[Message]] | None = None


def asks_for_actions(row: Mapping[str, Any], opening: re.Pattern[str]) -> bool:
    """Whether a row's tools stand in its system prompt alone, behind ``opening``, to be called by
    lines such as ``Action Input``."""
    if has_tools(row):
        return False
    text = system_text(row)
    return "Action Input" in text and opening.search(text) is not None


def system_text(row: Mapping[str, Any]) -> str:
    """The row's system prompt, or "" where it has none; never raises."""
    for name in _SYSTEM_COLUMNS:
        value = row.get(name)
        if isinstance(value, str) and value:
            return value
    for name in _TURNS:
        items = as_list(row.get(name))
        first = as_object(items[0]) if items else None
        if first is not None and "system" in (first.get("role"), first.get("from")):
            value = first.get("content", first.get("value"))
            return value if isinstance(value, str) else ""
    return ""


def has_tools(row: Mapping[str, Any]) -> bool:
    """Whether the row has a column of tools of its own."""
    return row.get("tools") not in _NO_TOOLS or row.get("functions") not in _NO_TOOLS


def structured(row: Mapping[str, Any], dialect: Dialect) -> Conversation:
    """The row as a conversation: tools out of the prompt, calls and results out of the replies.

    Messages that have calls of their own stay as they are. Tools of the row's own must be those
    of its prompt.
    """
    conv = _base(row)
    first = conv.messages[0]
    recovered = dialect.prompt(first.text, "system")
    tools = recovered.tools
    if conv.tools:
        if [tool.name for tool in conv.tools] != [tool.name for tool in tools]:
            raise bad("tools", "other tools than the system prompt lists", "keep one of the two")
        tools = conv.tools
    conv = replace(conv, tools=tools)
    messages: list[Message] = []
    if recovered.system is not None:
        messages.append(replace(first, content=recovered.system))
    for index, message in enumerate(conv.messages[1:], start=1):
        path = f"message {index}"
        if message.role is Role.ASSISTANT and not message.calls and message.content is not None:
            messages += _read(message, dialect, path)
        elif message.role is Role.USER and dialect.ask is not None:
            messages += dialect.ask(message, conv, messages)
        else:
            messages.append(message)
    if not messages:
        raise bad("messages", "a system prompt that lists tools, and no messages", "add the talk")
    return replace(conv, messages=tuple(messages))


def _base(row: Mapping[str, Any]) -> Conversation:
    for name in _BASES:
        reader = formats.get(name)()
        if reader.fits(row):
            conv = reader.convert(row)
            if conv.messages[0].role is not Role.SYSTEM:
                raise bad("system", "the system prompt is not the first message")
            return conv
    names = ", ".join(name for name in row if filled(row, name))
    raise bad("row", f"no messages in the columns {names}")


def _read(message: Message, dialect: Dialect, path: str) -> list[Message]:
    """The steps of one reply, with the thinking and the weights that its message has."""
    steps = dialect.reply(message.text, path)
    if message.thinking is not None:
        if steps[0].thinking is not None:
            raise bad(path, "thinking both in the text and beside it", "keep one of them")
        steps[0] = replace(steps[0], thinking=message.thinking)
    return [_weighted(step, message) for step in steps]


def _weighted(step: Message, message: Message) -> Message:
    if step.role is not Role.ASSISTANT or (message.loss is None and message.loss_scale is None):
        return step
    calls = tuple(
        replace(call, loss=message.loss, loss_scale=message.loss_scale) for call in step.calls
    )
    return replace(step, calls=calls, loss=message.loss, loss_scale=message.loss_scale)
