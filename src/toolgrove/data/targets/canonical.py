"""Canonical rows: messages with tool_call and tool_response roles."""

from __future__ import annotations

from dataclasses import replace

from toolgrove.core.messages import JSON, Message, Role
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.canonical import sides
from toolgrove.data.kept import (
    each_call,
    each_conversation,
    each_message,
    given_as_values,
    without_null,
)
from toolgrove.data.target import Target, targets
from toolgrove.data.turns import CANONICAL, turns


def write(given: Sample) -> JSON:
    """The row. A rejected answer that is a text alone stands in ``rejected_response``."""
    if isinstance(given, Chat):
        conv = given.conversation
        return {"messages": turns(conv.messages, CANONICAL), **sides(conv)}
    if isinstance(given, Feedback):
        conv = given.conversation
        return {"messages": turns(conv.messages, CANONICAL), "label": given.good, **sides(conv)}
    if isinstance(given, Prompt):
        conv = given.conversation
        return {"messages": turns(conv.messages, CANONICAL), **sides(conv), **given.columns}
    if isinstance(given, Preference):
        return _preference(given)
    return {"text": given.text, **given.columns}


def _preference(given: Preference) -> JSON:
    context = given.context.messages
    row: JSON = {"messages": turns((*context, *given.chosen), CANONICAL)}
    rejected = given.rejected[0]
    plain = replace(rejected, content="", has_content=True) == type(rejected)(Role.ASSISTANT, "")
    asked = bool(context) and context[-1].role is Role.USER
    alone = len(given.rejected) == 1 and not any(m.role is Role.USER for m in given.chosen)
    if plain and asked and alone and rejected.content is not None:
        row["rejected_response"] = rejected.content
    else:
        row["rejected_messages"] = turns((*context, *given.rejected), CANONICAL)
    return {**row, **sides(given.context)}


def keep(given: Sample) -> Sample:
    """Arguments as values; content that is null or absent beside calls or thinking as ""."""
    return each_conversation(given, lambda conv: each_message(conv, _kept))


def _kept(message: Message) -> Message:
    return each_call(without_null(message), given_as_values)


targets.put("canonical", Target("canonical", write, keep), __name__)
