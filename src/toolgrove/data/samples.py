"""Samples out of rows: what each training method eats, read from a row of any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolgrove.core.errors import DataError
from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample, Text
from toolgrove.data.fields import as_list, bad, describe
from toolgrove.data.formats import conversation, format_of
from toolgrove.data.talk import read_talk

REJECTED = ("rejected_response", "rejected_messages")
LABELS = ("label", "kto_tag")
_REJECTED_HINT = 'add "rejected_response" or "rejected_messages"'


def sample(row: Mapping[str, Any], where: str = "") -> Sample:
    """The sample that a row holds by its own words.

    A rejected answer makes a Preference, a label that is true or false a Feedback, a text alone
    a Text, a last message that is not the assistant's a Prompt; all else is a Chat.
    """
    try:
        if format_of(row) == "pretrain":
            return _text(row, where)
        conv = conversation(row)
        if _rejected_column(conv) is not None:
            return _preference(conv, where)
        if any(isinstance(conv.extra.get(name), bool) for name in LABELS) and _is_answered(conv):
            return _feedback(conv, where)
        return Chat(conv, where) if _is_answered(conv) else _prompt(conv, where)
    except DataError as error:
        raise (error.at(where) if where else error) from None


def preference(row: Mapping[str, Any], where: str = "") -> Preference:
    """A chosen and a rejected answer to the same context (DPO); DataError where one is missing.

    The context is what both have in common; ``rejected_response`` replaces all that follows the
    last user message.
    """
    try:
        return _preference(conversation(row), where)
    except DataError as error:
        raise (error.at(where) if where else error) from None


def feedback(row: Mapping[str, Any], where: str = "") -> Feedback:
    """A conversation with a verdict on its last answer (KTO); DataError without either."""
    try:
        return _feedback(conversation(row), where)
    except DataError as error:
        raise (error.at(where) if where else error) from None


def prompt(row: Mapping[str, Any], where: str = "") -> Prompt:
    """A conversation that awaits its answer (GRPO), the row's other columns beside it.

    An answer at the end of the row is left out of the prompt and kept as the column ``answer``,
    as messages.
    """
    try:
        return _prompt(conversation(row), where)
    except DataError as error:
        raise (error.at(where) if where else error) from None


def shared(left: Sequence[Message], right: Sequence[Message]) -> int:
    """How many messages two conversations have in common at their beginning."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _is_answered(conv: Conversation) -> bool:
    return conv.messages[-1].role is Role.ASSISTANT


def _text(row: Mapping[str, Any], where: str) -> Text:
    conv = conversation(row)
    media = {"images": conv.images, "videos": conv.videos, "audios": conv.audios}
    if len(conv.messages) != 1 or conv.tools or any(media.values()):
        hint = "write messages instead of a text"
        raise DataError("a text with a system prompt, tools or media beside it", hint=hint)
    return Text(conv.messages[0].text, where, dict(conv.extra))


def _rejected_column(conv: Conversation) -> str | None:
    found = [name for name in REJECTED if conv.extra.get(name) is not None]
    if len(found) > 1:
        raise bad(found[0], f'the row has "{found[1]}" too', "keep one of the two columns")
    return found[0] if found else None


def _preference(conv: Conversation, where: str) -> Preference:
    column = _rejected_column(conv)
    if column is None:
        raise DataError("no rejected answer", hint=_REJECTED_HINT)
    rejected = _rejected_messages(conv, column)
    count = shared(conv.messages, rejected)
    chosen, others = conv.messages[count:], rejected[count:]
    if not chosen and not others:
        raise bad(column, "the rejected answer is the chosen one", "leave the row out")
    if not chosen or not others:
        shorter = "chosen" if not chosen else "rejected"
        raise bad(column, f"the {shorter} answer is only the beginning of the other one")
    for name, first in (("messages", chosen[0]), (column, others[0])):
        if first.role is not Role.ASSISTANT:
            raise bad(
                f"{name}[{count}]",
                f"chosen and rejected differ in a message of the role {first.role}",
                "both must answer the same conversation",
            )
    extra = {name: value for name, value in conv.extra.items() if name != column}
    context = replace(conv, messages=conv.messages[:count], extra=extra)
    return Preference(context, tuple(chosen), tuple(others), where)


def _rejected_messages(conv: Conversation, column: str) -> tuple[Message, ...]:
    """The whole conversation that was rejected."""
    value = conv.extra[column]
    if column == "rejected_messages":
        talk = read_talk(value, column)
        return _with_system(conv, talk.messages)
    last_user = max(
        (i for i, message in enumerate(conv.messages) if message.role is Role.USER), default=-1
    )
    context = conv.messages[: last_user + 1]
    if as_list(value) is not None:
        return (*context, *read_talk(value, column).messages)
    if not isinstance(value, str):
        raise bad(column, f"expected text, found {describe(value)}", "write it as a string")
    return (*context, Message(Role.ASSISTANT, value))


def _with_system(conv: Conversation, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages after the conversation's system message, where they leave it out."""
    first = conv.messages[0]
    if first.role is Role.SYSTEM and messages[0].role is not Role.SYSTEM:
        return (first, *messages)
    return tuple(messages)


def _feedback(conv: Conversation, where: str) -> Feedback:
    found = [name for name in LABELS if conv.extra.get(name) is not None]
    if not found:
        raise DataError("no label", hint='add "label": true or false')
    if len(found) > 1:
        raise bad(found[0], f'the row has "{found[1]}" too', "keep one of the two columns")
    value = conv.extra[found[0]]
    if not isinstance(value, bool):
        raise bad(found[0], f"expected true or false, found {describe(value)}")
    if not _is_answered(conv):
        raise DataError("a label, but no answer that it could be about", hint="add the answer")
    extra = {name: kept for name, kept in conv.extra.items() if name != found[0]}
    return Feedback(replace(conv, extra=extra), value, where)


def _prompt(conv: Conversation, where: str) -> Prompt:
    columns = dict(conv.extra)
    count = len(conv.messages)
    while count and conv.messages[count - 1].role is Role.ASSISTANT:
        count -= 1
    if not count:
        raise DataError("nothing to answer: the row has assistant messages only")
    if count < len(conv.messages):
        from toolgrove.data.canonical import to_row

        if columns.get("answer") is not None:
            raise bad("answer", "a column of that name beside an answered conversation")
        columns["answer"] = to_row(replace(conv, messages=conv.messages[count:]))["messages"]
    return Prompt(replace(conv.until(count), extra={}), columns, where)
