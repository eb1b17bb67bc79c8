"""OpenAI's rows: ``messages`` with ``tool_calls``, whose arguments are JSON text, and ids."""

from __future__ import annotations

from toolgrove.core.messages import JSON, Conversation
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.canonical import openai_messages, sides, to_row
from toolgrove.data.kept import each_call, each_conversation, each_message, given_as_text, with_ids
from toolgrove.data.target import Target, targets


def write(given: Sample) -> JSON:
    """The row; a rejected conversation stands in ``rejected_messages``."""
    if isinstance(given, Chat):
        return to_row(given.conversation)
    if isinstance(given, Feedback):
        return {**to_row(given.conversation), "label": given.good}
    if isinstance(given, Prompt):
        return {**to_row(given.conversation), **given.columns}
    if isinstance(given, Preference):
        context = given.context.messages
        return {
            "messages": openai_messages((*context, *given.chosen)),
            "rejected_messages": openai_messages((*context, *given.rejected)),
            **sides(given.context),
        }
    return {"text": given.text, **given.columns}


def keep(given: Sample) -> Sample:
    """Arguments as text; ids made up where there are none."""
    return each_conversation(given, _kept)


def _kept(conv: Conversation) -> Conversation:
    return each_message(with_ids(conv), lambda message: each_call(message, given_as_text))


targets.put("openai", Target("openai", write, keep), __name__)
