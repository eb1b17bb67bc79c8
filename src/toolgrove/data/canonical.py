"""Conversations as canonical rows: OpenAI's messages with tools, media and the other columns."""

from __future__ import annotations

from collections.abc import Sequence

from toolgrove.core.messages import JSON, Conversation, Message, Role, ToolCall


def to_row(conv: Conversation) -> JSON:
    """The row that holds the conversation, values of ``extra`` as further columns.

    Law: ``conversation(to_row(c)) == c`` for every conversation that a row can hold: at least one
    message; an assistant message with content, thinking or a call; content in every other
    message; thinking and calls in assistant messages only; call ids in results only; columns in
    ``extra`` that no format reads; as many media tags as media.
    """
    return {"messages": openai_messages(conv.messages), **sides(conv)}


def sides(conv: Conversation) -> JSON:
    """The columns beside the messages: tools, media, and what else the row carried."""
    row: JSON = {"tools": [tool.spec for tool in conv.tools]} if conv.tools else {}
    for name, media in (
        ("images", conv.images),
        ("videos", conv.videos),
        ("audios", conv.audios),
    ):
        if media:
            row[name] = list(media)
    return {**row, **conv.extra}


def openai_messages(messages: Sequence[Message]) -> list[JSON]:
    """OpenAI's messages: calls in ``tool_calls``, thinking in ``reasoning_content``."""
    return [_message(message) for message in messages]


def _message(message: Message) -> JSON:
    entry: JSON = {"role": str(message.role)}
    if message.name is not None:
        entry["name"] = message.name
    if message.call_id is not None:
        entry["tool_call_id"] = message.call_id
    if message.has_content or message.role is not Role.ASSISTANT:
        entry["content"] = message.content
    if message.thinking is not None:
        entry["reasoning_content"] = message.thinking
    if message.calls:
        entry["tool_calls"] = [_call(call) for call in message.calls]
    return {**entry, **weights_of(message)}


def _call(call: ToolCall) -> JSON:
    entry: JSON = {} if call.id is None else {"id": call.id}
    arguments = call.arguments if call.given is None else call.given
    entry |= {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return {**entry, **weights_of(call)}


def weights_of(part: Message | ToolCall) -> JSON:
    """The weights of a message or a call, as the keys of its object."""
    weights: JSON = {}
    if part.loss is not None:
        weights["loss"] = part.loss
    if part.loss_scale is not None:
        weights["loss_scale"] = part.loss_scale
    return weights
