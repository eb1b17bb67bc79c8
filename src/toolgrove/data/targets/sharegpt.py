"""ShareGPT rows: turns from human, gpt, function_call and observation; tools as JSON text."""

from __future__ import annotations

from collections.abc import Sequence

from toolgrove.core.messages import JSON, Conversation, Message
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.canonical import sides
from toolgrove.data.fields import dump
from toolgrove.data.kept import each_conversation, each_message, without_null
from toolgrove.data.target import Target, targets
from toolgrove.data.turns import SHAREGPT, turns


def write(given: Sample) -> JSON:
    """The row; chosen and rejected answers are lists of turns."""
    if isinstance(given, Chat):
        return _row(given.conversation)
    if isinstance(given, Feedback):
        return {**_row(given.conversation), "label": given.good}
    if isinstance(given, Prompt):
        return {**_row(given.conversation), **given.columns}
    if isinstance(given, Preference):
        answers = {"chosen": _answer(given.chosen), "rejected": _answer(given.rejected)}
        return {**_row(given.context), **answers}
    return {"text": given.text, **given.columns}


def _row(conv: Conversation) -> JSON:
    row: JSON = {"conversations": turns(conv.messages, SHAREGPT), **sides(conv)}
    if conv.tools:
        row["tools"] = dump(row["tools"])
    return row


def _answer(messages: Sequence[Message]) -> list[JSON]:
    return turns(messages, SHAREGPT)


def keep(given: Sample) -> Sample:
    """Content that is null or absent beside calls or thinking as "": every turn has its ``value``,
    which readers of the format count on, and a turn that only calls is its calls alone."""
    return each_conversation(given, lambda conv: each_message(conv, without_null))


targets.put("sharegpt", Target("sharegpt", write, keep), __name__)
