"""The same question with other numbers, in its text and in its calls alike."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.eval.labels import Labelled

_BEFORE, _AFTER = r"(?<![\w.,/:-])", r"(?![\w/:-]|[.,]\d)"
_NUMBER = re.compile(_BEFORE + r"(?:0|[1-9]\d*)(?:\.\d+)?" + _AFTER)
_YEARS = range(1900, 2101)
_KEPT = (0, 1)
"""Too often words in disguise ("1 ticket") to be swapped."""


def with_other_numbers(row: Labelled, rng: random.Random) -> Labelled | None:
    """The row with every number swapped that stands alone in the question and is an argument.

    Numbers keep their length (years stay years), so that the question stays plausible. None when
    there is no such number.
    """
    conversation, calls = row.case.conversation, row.calls
    position = max(i for i, m in enumerate(conversation.messages) if m.role is Role.USER)
    text = conversation.messages[position].text
    changed = False
    for written in sorted(set(_NUMBER.findall(text))):
        other = _other(written, rng)
        if json.loads(written) in _KEPT or other in text or _holds(calls, json.loads(other)):
            continue
        swapped = _swap(calls, json.loads(written), json.loads(other))
        if swapped != calls:
            text = re.sub(_BEFORE + re.escape(written) + _AFTER, other, text)
            calls, changed = swapped, True
    if not changed:
        return None
    case = replace(row.case, conversation=_with_text(conversation, position, text), gold=())
    return replace(row, case=case, calls=calls)


def _other(written: str, rng: random.Random) -> str:
    if "." in written:
        places = len(written.partition(".")[2])
        return f"{float(written) * rng.uniform(0.5, 1.9):.{places}f}"
    if int(written) in _YEARS:
        return str(rng.randint(1950, 2024))
    return str(rng.randint(max(2, 10 ** (len(written) - 1)), max(3, 10 ** len(written) - 1)))


def _with_text(conversation: Conversation, position: int, text: str) -> Conversation:
    messages = list(conversation.messages)
    messages[position] = Message(Role.USER, text)
    return replace(conversation, messages=tuple(messages))


def _holds(calls: tuple[ToolCall, ...], number: float) -> bool:
    return _swap(calls, number, None) != calls


def _swap(calls: tuple[ToolCall, ...], old: float, new: float | None) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(call.name, _mapped(call.arguments, lambda n: new if n == old else n))
        for call in calls
    )


def _mapped(value: Any, change: Callable[[float], float | None]) -> Any:
    """The value with ``change`` applied to every number in it."""
    if isinstance(value, dict):
        return {name: _mapped(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return change(value)
    return value
