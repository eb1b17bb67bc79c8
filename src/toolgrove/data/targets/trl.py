"""TRL's rows: conversational ``messages``, or ``prompt`` with its completion or two answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.canonical import openai_messages, sides
from toolgrove.data.kept import each_call, each_conversation, each_message, given_as_values
from toolgrove.data.target import Target, targets

_TAGS = {
    "images": ("<image>", "image"),
    "videos": ("<video>", "video"),
    "audios": ("<audio>", "audio"),
}


def write(given: Sample) -> JSON:
    """The row. Arguments are objects, as chat templates want them; media tags become parts."""
    if isinstance(given, Chat):
        conv = given.conversation
        return {"messages": _messages(conv.messages, conv), **sides(conv)}
    if isinstance(given, Feedback):
        conv = given.conversation
        start = _answer_start(conv.messages)
        return {
            "prompt": _messages(conv.messages[:start], conv),
            "completion": _messages(conv.messages[start:], conv),
            "label": given.good,
            **sides(conv),
        }
    if isinstance(given, Prompt):
        conv = given.conversation
        return {"prompt": _messages(conv.messages, conv), **sides(conv), **given.columns}
    if isinstance(given, Preference):
        conv = given.context
        return {
            "prompt": _messages(conv.messages, conv),
            "chosen": _messages(given.chosen, conv),
            "rejected": _messages(given.rejected, conv),
            **sides(conv),
        }
    return {"text": given.text, **given.columns}


def keep(given: Sample) -> Sample:
    """Arguments as values."""
    return each_conversation(
        given, lambda conv: each_message(conv, lambda message: each_call(message, given_as_values))
    )


def _answer_start(messages: Sequence[Message]) -> int:
    """Where the answer begins that a verdict is about: behind the last user message."""
    users = (index for index, message in enumerate(messages) if message.role is Role.USER)
    return max(users, default=-1) + 1


def _messages(messages: Sequence[Message], conv: Conversation) -> list[JSON]:
    media = {"images": conv.images, "videos": conv.videos, "audios": conv.audios}
    tags = [_TAGS[name] for name, listed in media.items() if listed]
    found = openai_messages(messages)
    for message in found if tags else ():
        if isinstance(message.get("content"), str):
            message["content"] = _parts(message["content"], tags)
    return found


def _parts(text: str, tags: Sequence[tuple[str, str]]) -> list[Any]:
    """The text as parts: a part for each tag, the text between them."""
    places = [(text.find(tag), tag, kind) for tag, kind in tags if tag in text]
    if not places:
        return [{"type": "text", "text": text}]
    start, tag, kind = min(places)
    lead = [{"type": "text", "text": text[:start]}] if start else []
    rest = text[start + len(tag) :]
    return [*lead, {"type": kind}, *(_parts(rest, tags) if rest else [])]


targets.put("trl", Target("trl", write, keep), __name__)
