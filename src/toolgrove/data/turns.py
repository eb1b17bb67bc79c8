"""Messages as turns in which each call has a role of its own (canonical rows, ShareGPT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toolgrove.core.messages import JSON, Message, Role, ToolCall
from toolgrove.data.canonical import weights_of
from toolgrove.data.fields import dump


class Words(NamedTuple):
    """The keys and the names of roles that a format has for turns."""

    role: str
    content: str
    roles: dict[Role, str]
    call: str


CANONICAL = Words(
    "role",
    "content",
    {
        Role.SYSTEM: "system",
        Role.USER: "user",
        Role.ASSISTANT: "assistant",
        Role.TOOL: "tool_response",
    },
    "tool_call",
)
SHAREGPT = Words(
    "from",
    "value",
    {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt", Role.TOOL: "observation"},
    "function_call",
)


def turns(messages: Sequence[Message], words: Words) -> list[JSON]:
    """The turns of the messages; reading them gives exactly the messages back.

    An assistant that only calls has no turn but those of its calls. A call is JSON text.
    """
    found: list[JSON] = []
    for index, message in enumerate(messages):
        follows = index > 0 and messages[index - 1].role is Role.ASSISTANT
        if not _only_calls(message) or follows:
            found.append(_turn(message, words))
        found += [_call(call, words) for call in message.calls]
    return found


def _only_calls(message: Message) -> bool:
    bare = message.name is None and message.thinking is None and not weights_of(message)
    return bool(message.calls) and message.content == "" and bare


def _turn(message: Message, words: Words) -> JSON:
    turn: JSON = {words.role: words.roles[message.role]}
    if message.name is not None:
        turn["name"] = message.name
    if message.call_id is not None:
        turn["tool_call_id"] = message.call_id
    if message.has_content or message.role is not Role.ASSISTANT:
        turn[words.content] = message.content
    if message.thinking is not None:
        turn["reasoning_content"] = message.thinking
    return {**turn, **weights_of(message)}


def _call(call: ToolCall, words: Words) -> JSON:
    arguments = call.arguments if call.given is None else call.given
    named: JSON = {"name": call.name, "arguments": arguments}
    if call.id is not None:
        named = {"id": call.id, **named}
    return {words.role: words.call, words.content: dump(named), **weights_of(call)}
