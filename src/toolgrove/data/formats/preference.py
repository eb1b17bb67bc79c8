"""Preference rows: a chosen and a rejected answer, to a prompt or as whole conversations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.data.assemble import assemble
from toolgrove.data.canonical import to_row
from toolgrove.data.fields import Column, as_list, as_object, bad, filled, pick, text
from toolgrove.data.format import Format, formats
from toolgrove.data.pairs import QUERY, add_history, add_side
from toolgrove.data.talk import Talk, add_messages, read_talk

_CHOSEN, _REJECTED = "chosen", "rejected"
_OPENAIS = ("input", "preferred_output", "non_preferred_output")
_SPOKEN = re.compile(r"\n\n(Human|Assistant): ?")
_TURNS = ("messages", "conversations", "conversation")


@formats.add("preference")
class PreferenceRow(Format):
    """TRL's and LLaMA-Factory's columns ``chosen`` and ``rejected``, beside a prompt or turns.

    The conversation is the prompt with the chosen answer; the rejected one stands in ``extra``
    as ``rejected_messages``, the whole conversation that it belongs to.
    """

    rank: ClassVar[int] = 49

    def fits(self, row: Mapping[str, Any]) -> str:
        """Whether the row has a chosen and a rejected answer."""
        if _is_openais(row):
            return 'the columns "preferred_output" and "non_preferred_output"'
        if not (filled(row, _CHOSEN) and filled(row, _REJECTED)):
            return ""
        shaped = all(isinstance(row[name], str | list | dict) for name in (_CHOSEN, _REJECTED))
        return 'the columns "chosen" and "rejected"' if shaped else ""

    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The prompt and the chosen answer; the rejected conversation beside them."""
        if _is_openais(row):
            row = _plain(row)
        used = [_CHOSEN, _REJECTED, "history"]
        asked = Talk()
        add_history(asked, row)
        column = _question(row)
        if column is not None:
            used.append(column.name)
            _ask(asked, row, column, used)
        chosen = _answer(asked, row[_CHOSEN], _CHOSEN)
        rejected = _answer(asked, row[_REJECTED], _REJECTED)
        if not asked.messages and not _is_whole(chosen.messages):
            raise bad(_CHOSEN, "an answer without its question", 'add "prompt"')
        conv = assemble(row, chosen, used)
        whole = to_row(Conversation(tuple(rejected.messages)))["messages"]
        return Conversation(
            conv.messages,
            conv.tools,
            conv.images,
            conv.videos,
            conv.audios,
            {**conv.extra, "rejected_messages": whole},
        )


def _is_openais(row: Mapping[str, Any]) -> bool:
    """Whether the row is laid out as OpenAI's preference training wants it."""
    asked = as_object(row.get("input"))
    if asked is None:
        return False
    both = all(as_list(row.get(name)) for name in ("preferred_output", "non_preferred_output"))
    return as_list(asked.get("messages")) is not None and both


def _plain(row: Mapping[str, Any]) -> JSON:
    """OpenAI's row with the columns of the others."""
    rest = {key: value for key, value in row.items() if key not in _OPENAIS}
    asked = as_object(row["input"]) or {}
    answers = {_CHOSEN: row["preferred_output"], _REJECTED: row["non_preferred_output"]}
    return {**rest, **asked, **answers}


def _question(row: Mapping[str, Any]) -> Column | None:
    found = [name for name in _TURNS if filled(row, name)]
    column = pick(row, ("prompt", *(name for name in QUERY if name not in ("prompt", "input"))))
    if found and column is None:
        return Column(found[0], row[found[0]])
    return column or pick(row, ("input",))


def _ask(asked: Talk, row: Mapping[str, Any], column: Column, used: list[str]) -> None:
    if column.name in _TURNS:
        talk = read_talk(column.value, column.name)
        asked.messages += talk.messages
    elif column.name == "instruction" and filled(row, "input"):
        used.append("input")
        parts = [text(column.value, "instruction"), text(row["input"], "input")]
        asked.messages.append(Message(Role.USER, "\n".join(part for part in parts if part)))
    else:
        add_side(asked, Role.USER, column.value, column.name)


def _answer(asked: Talk, value: Any, path: str) -> Talk:
    """The prompt with one answer behind it; an answer that repeats the prompt is the whole."""
    answer = Talk()
    items = [value] if as_object(value) is not None else as_list(value)
    if items is None and not asked.messages and _SPOKEN.match(str(value)):
        answer.messages += _spoken(str(value), path)
    elif items is None:
        answer.messages.append(Message(Role.ASSISTANT, text(value, path)))
    elif not items:
        raise bad(path, "no messages", "write the answer")
    else:
        add_messages(answer, items, path)
    said = [message for message in asked.messages if message.role is not Role.SYSTEM]
    others = [message for message in answer.messages if message.role is not Role.SYSTEM]
    if said and others[: len(said)] == said:
        return answer
    answer.messages[:0] = asked.messages
    return answer


def _spoken(source: str, path: str) -> list[Message]:
    """A chat as hh-rlhf has it: each speaker's name behind an empty line."""
    _, *parts = _SPOKEN.split(source)
    roles = {"Human": Role.USER, "Assistant": Role.ASSISTANT}
    said = zip(parts[::2], parts[1::2], strict=True)
    messages = [Message(roles[speaker], content) for speaker, content in said]
    if messages[-1].role is not Role.ASSISTANT:
        raise bad(path, "the last to speak is not the assistant")
    return messages


def _is_whole(messages: list[Message]) -> bool:
    return any(message.role is Role.USER for message in messages)
