"""What conversion may change of a sample without changing what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.fields import dump


def each_conversation(given: Sample, change: Callable[[Conversation], Conversation]) -> Sample:
    """The sample with its conversations changed; both answers of a preference with their context.

    ``change`` must give a message for a message.
    """
    if isinstance(given, Chat | Feedback | Prompt):
        return replace(given, conversation=change(given.conversation))
    if not isinstance(given, Preference):
        return given
    count = len(given.context.messages)
    whole = [
        change(replace(given.context, messages=(*given.context.messages, *answer)))
        for answer in (given.chosen, given.rejected)
    ]
    chosen, rejected = (conv.messages[count:] for conv in whole)
    context = replace(whole[0], messages=whole[0].messages[:count])
    return replace(given, context=context, chosen=chosen, rejected=rejected)


def each_message(conv: Conversation, change: Callable[[Message], Message]) -> Conversation:
    """The conversation with each message changed."""
    return replace(conv, messages=tuple(change(message) for message in conv.messages))


def each_call(message: Message, change: Callable[[ToolCall], ToolCall]) -> Message:
    """The message with each of its calls changed."""
    return replace(message, calls=tuple(change(call) for call in message.calls))


def given_as_text(call: ToolCall) -> ToolCall:
    """The call with the text of its arguments, as OpenAI's format has it."""
    return replace(call, given=dump(call.arguments)) if call.given is None else call


def given_as_values(call: ToolCall) -> ToolCall:
    """The call with its arguments as values only."""
    return replace(call, given=None)


def without_null(message: Message) -> Message:
    """The message with "" for content that is null or absent beside calls or thinking."""
    return (
        message if message.content is not None else replace(message, content="", has_content=True)
    )


def with_ids(conv: Conversation) -> Conversation:
    """The conversation with an id for each call and the id of its call for each result.

    Only where no call and no result has one, and every result stands in the order of the calls.
    """
    messages = list(conv.messages)
    if any(m.call_id or any(call.id for call in m.calls) for m in messages):
        return conv
    if _orphans(messages):
        return conv
    made, waiting = 0, [""][:0]
    for index, message in enumerate(messages):
        if message.calls:
            numbers = range(made, made + len(message.calls))
            made += len(message.calls)
            waiting = [f"call_{number}" for number in numbers]
            pairs = zip(message.calls, waiting, strict=True)
            messages[index] = replace(message, calls=tuple(replace(c, id=i) for c, i in pairs))
        elif message.role is Role.TOOL and waiting:
            messages[index] = replace(message, call_id=waiting.pop(0))
    return replace(conv, messages=tuple(messages))


def without_ids(conv: Conversation) -> Conversation:
    """The conversation without ids and without names of results, where the order says the same.

    Ids stay where results answer in another order than the calls were made.
    """
    messages = list(conv.messages)
    for index, message in enumerate(messages):
        if not message.calls:
            continue
        results = _results(messages, index)
        calls = message.calls[: len(results)]
        in_order = all(
            result.call_id in (None, call.id) and result.name in (None, call.name)
            for call, result in zip(calls, results, strict=False)
        )
        if in_order and len(results) <= len(message.calls):
            messages[index] = each_call(message, lambda call: replace(call, id=None))
            for place, result in enumerate(results, start=index + 1):
                messages[place] = replace(result, call_id=None, name=None)
    return replace(conv, messages=tuple(messages))


def _results(messages: Sequence[Message], index: int) -> list[Message]:
    """The results right behind the message at ``index``."""
    end = index + 1
    while end < len(messages) and messages[end].role is Role.TOOL:
        end += 1
    return list(messages[index + 1 : end])


def _orphans(messages: Sequence[Message]) -> bool:
    """Whether a result answers no call."""
    calls = 0
    for message in messages:
        if message.role is Role.TOOL:
            calls -= 1
            if calls < 0:
                return True
        else:
            calls = len(message.calls)
    return False
