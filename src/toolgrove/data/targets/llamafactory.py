"""LLaMA-Factory's rows: ShareGPT turns that alternate, as its converter demands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON, Conversation, Message, Role, ToolCall
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.canonical import sides
from toolgrove.data.fields import dump
from toolgrove.data.kept import (
    each_call,
    each_conversation,
    each_message,
    given_as_values,
    without_ids,
    without_null,
)
from toolgrove.data.target import Target, targets

_ROLES = {Role.SYSTEM: "system", Role.USER: "human", Role.TOOL: "observation"}
_ASKING = ("human", "observation")
_BLOCK = re.compile(r"<think>\n?(.*?)\n?</think>\s*", re.DOTALL)


def write(given: Sample) -> JSON:
    """The row; thinking stands in think tags inside the text.

    DataError for turns that LLaMA-Factory would leave out: it wants a question or one result,
    then an answer or calls, in turn, and an answer at the end.
    """
    if isinstance(given, Chat):
        return _row(given.conversation, _alternating(given.conversation.messages, answered=True))
    if isinstance(given, Feedback):
        turns = _alternating(given.conversation.messages, answered=True)
        return {**_row(given.conversation, turns), "kto_tag": given.good}
    if isinstance(given, Prompt):
        raise DataError("llamafactory has no place for a conversation that awaits its answer")
    if isinstance(given, Preference):
        turns = _alternating(given.context.messages, answered=False)
        answers = {"chosen": _answer(given.chosen), "rejected": _answer(given.rejected)}
        return {**_row(given.context, turns), **answers}
    return {"text": given.text, **given.columns}


def keep(given: Sample) -> Sample:
    """Thinking in the text of an answer and in front of calls, arguments as values, no ids where
    the order says the same."""
    return each_conversation(given, _kept)


def _kept(conv: Conversation) -> Conversation:
    return each_message(without_ids(conv), _kept_message)


def _kept_message(message: Message) -> Message:
    message = each_call(without_null(message), given_as_values)
    if message.calls:
        block = _BLOCK.fullmatch(message.text) if message.thinking is None else None
        return replace(message, content="", thinking=block.group(1)) if block else message
    if message.thinking is None:
        return message
    return replace(message, content=_thought(message.thinking) + message.text, thinking=None)


def _thought(thinking: str) -> str:
    return f"<think>\n{thinking}\n</think>\n\n"


def _row(conv: Conversation, turns: list[JSON]) -> JSON:
    row: JSON = {"conversations": turns, **sides(conv)}
    if conv.tools:
        row["tools"] = dump(row["tools"])
    return row


def _alternating(messages: Sequence[Message], answered: bool) -> list[JSON]:
    turns = [_turn(message, f"messages[{index}]") for index, message in enumerate(messages)]
    rest = turns[1:] if turns and turns[0]["from"] == "system" else turns
    for index, turn in enumerate(rest):
        if (turn["from"] in _ASKING) == bool(index % 2):
            expected = "an answer or calls" if index % 2 else "a question or a result"
            raise DataError(
                f"llamafactory wants {expected} as turn {index + 1}, not {turn['from']}",
                hint="it leaves out rows whose turns do not alternate",
            )
    if bool(len(rest) % 2) == answered:
        expected = "an answer" if answered else "a question"
        raise DataError(f"llamafactory wants {expected} as the last turn")
    return turns


def _turn(message: Message, path: str) -> JSON:
    if message.role is not Role.ASSISTANT:
        return {"from": _ROLES[message.role], "value": message.text}
    if not message.calls:
        return {"from": "gpt", "value": message.text}
    if message.text:
        raise DataError(f"{path}: llamafactory has no turn with both text and calls")
    calls = [_call(call) for call in message.calls]
    thought = "" if message.thinking is None else _thought(message.thinking)
    value = dump(calls[0] if len(calls) == 1 else calls)
    return {"from": "function_call", "value": thought + value}


def _call(call: ToolCall) -> JSON:
    return {"name": call.name, "arguments": call.arguments}


def _answer(messages: Sequence[Message]) -> JSON:
    if len(messages) > 1:
        raise DataError(f"llamafactory compares single turns, and this answer has {len(messages)}")
    return _turn(messages[0], "the answer")


targets.put("llamafactory", Target("llamafactory", write, keep), __name__)
