"""Question, answer and history of a row as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolgrove.core.errors import DataError
from toolgrove.core.messages import Message, Role
from toolgrove.data.fields import (
    as_list,
    as_object,
    bad,
    describe,
    dump,
    filled,
    parse_loose,
    show,
    text,
)
from toolgrove.data.talk import Talk, add_messages

QUERY = ("query", "prompt", "input", "instruction", "question", "problem")
RESPONSE = (
    "response",
    "answer",
    "output",
    "targets",
    "target",
    "answer_key",
    "answers",
    "text",
    "completion",
    "content",
)


_PAIRS = (
    ("query", "response"),
    ("instruction", "output"),
    ("prompt", "completion"),
    ("question", "answer"),
)


def refuse_rivals(row: Mapping[str, Any], mine: Sequence[str] = ()) -> None:
    """DataError where the row holds two whole pairs of question and answer that differ.

    ``mine``: columns that the format at hand reads for sure, whose pair must not have a rival.
    """
    found = [pair for pair in _PAIRS if filled(row, pair[0]) and filled(row, pair[1])]
    if mine and not any(set(pair) & set(mine) for pair in found):
        return
    first = found[0] if found else None
    for other in found[1:]:
        if first and any(row[a] != row[b] for a, b in zip(first, other, strict=True)):
            unused = dump({name: f"other_{name}" for name in other})
            raise DataError(
                f'"{first[0]}" and "{first[1]}", or "{other[0]}" and "{other[1]}": '
                "each pair could be the question and its answer",
                hint=f"choose with --columns; to read {first[0]} and {first[1]}: "
                f"--columns '{unused}'",
            )


def add_history(talk: Talk, row: Mapping[str, Any]) -> None:
    """Appends the earlier rounds: a list of [question, answer], or that list as text."""
    value = row.get("history")
    if isinstance(value, str):
        try:
            value = parse_loose(value) if value.strip() else None
        except ValueError as error:
            raise bad("history", f"not JSON ({error}): {show(value)}", _HISTORY_HINT) from None
    if value is None:
        return
    rounds = as_list(value)
    if rounds is None:
        raise bad("history", f"not a list but {describe(value)}", _HISTORY_HINT)
    for index, item in enumerate(rounds):
        path = f"history[{index}]"
        pair = as_list(item)
        if pair is None or len(pair) != 2:
            raise bad(path, f"not a pair: {show(item)}", _HISTORY_HINT)
        talk.messages.append(Message(Role.USER, text(pair[0], f"{path}[0]")))
        talk.messages.append(Message(Role.ASSISTANT, text(pair[1], f"{path}[1]")))


_HISTORY_HINT = 'history is [["question", "answer"], ...]'


def add_side(talk: Talk, role: Role, value: Any, path: str) -> bool:
    """Appends the question or the answer: text, or a list of messages.

    Of a list of alternative answers the first is taken; True tells that others were left.
    """
    items = as_list(value)
    if items is None:
        talk.messages.append(Message(role, text(value, path)))
        return False
    if not items:
        raise bad(path, "an empty list", "write text")
    if all(as_object(item) is not None for item in items):
        add_messages(talk, items, path)
        return False
    talk.messages.append(Message(role, text(items[0], f"{path}[0]")))
    return True
