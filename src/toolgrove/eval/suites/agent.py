"""The calls of a data set: every assistant turn is asked for anew, after the right ones before."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import EvalError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.data.canonical import to_row
from toolgrove.eval.outcome import RIGHT, Outcome, said_message, shown
from toolgrove.eval.play import Play
from toolgrove.eval.react_metrics import Step, as_published, matched, mended, react_text, same
from toolgrove.eval.suite import Task, suites
from toolgrove.templates.typed import argument_types

if TYPE_CHECKING:
    from toolgrove.eval.settings import EvalSettings

NAME = "agent"
CALLS, ANSWERS = "calls", "answers"


class Agent:
    """The conversations of the settings' data sets."""

    def __init__(self, settings: EvalSettings) -> None:
        if not settings.dataset:
            raise EvalError("the suite agent needs conversations", hint="give --dataset FILE")
        found = _conversations(settings.dataset)
        if settings.limit is not None and settings.limit < len(found):
            kept = sorted(random.Random(settings.seed).sample(range(len(found)), settings.limit))
            found = [found[index] for index in kept]
        self.tasks = [task for where, conv in found for task in tasks_of(where, conv)]
        if not self.tasks:
            raise EvalError("no assistant turn in the data", where=", ".join(settings.dataset))

    def close(self) -> None:
        """Nothing to end."""


suites.put(NAME, Agent)


class _Turn(NamedTuple):
    """The message ``index`` of the conversation that stands at ``where``."""

    where: str
    conversation: Conversation
    index: int

    @property
    def name(self) -> str:
        """Place and content: a row that has changed is another case."""
        said = dump(to_row(replace(self.conversation.until(self.index + 1), extra={})))
        mark = sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{self.where} turn {self.index} ({mark})"


def play_turn(turn: _Turn) -> Play:
    """The turn, asked for after all that stands before it."""
    where, conv, index = turn
    asked, wanted = conv.until(index), conv.messages[index]
    said = yield asked
    tools = {tool.name for tool in conv.tools}
    calls = [normalized(call, conv.tools) for call in said.reply.calls]
    right = [normalized(call, conv.tools) for call in wanted.calls]
    steps = Step(wanted.calls, wanted.text), Step(said.reply.calls, said.reply.content)
    published = as_published(react_text(steps[0]), react_text(steps[1]), tools)
    marks = {
        **_marks(right, calls),
        **mended(Step(right, wanted.text), Step(calls, said.reply.content), tools),
        **{f"{name} (published)": value for name, value in published.items()},
    }
    reason = said.fault or _reason(right, calls)
    return Outcome(
        suite=NAME,
        category=CALLS if wanted.calls else ANSWERS,
        name=turn.name,
        marks=marks,
        reason=reason,
        kind=_kind(said.fault, right, calls),
        expected=_written(wanted),
        texts=[said.text],
        group=where,
        **shown(asked, [said_message(said.reply)]),
    )


def normalized(call: ToolCall, tools: Sequence[Tool]) -> ToolCall:
    """A call whose values are what its tool's schema makes of them.

    1 and 1.0 are the same number where a number is wanted; a whole number that came as "3" is 3
    where nothing else may stand, and true as "true"; keys stand in the order of their names.
    """
    values = {
        key: _value(value, argument_types(tools, call.name, key))
        for key, value in sorted(call.arguments.items())
    }
    return ToolCall(call.name, values)


def _value(value: Any, types: frozenset[str] | None) -> Any:
    if isinstance(value, str) and types is not None and "string" not in types:
        text = value.strip()
        if types & {"integer", "number"}:
            try:
                return _number(float(text))
            except (ValueError, OverflowError):
                return value
        if "boolean" in types and text.lower() in ("true", "false"):
            return text.lower() == "true"
        return value
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return _number(value)
    return value


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _marks(wanted: Sequence[ToolCall], said: Sequence[ToolCall]) -> dict[str, float]:
    """``right``: these calls and no others, in this order. Of the wanted calls ``names``,
    ``keys`` and ``values`` are the shares that are right so far; ``order``: the calls that match
    came in the wanted order."""
    pairs = matched(wanted, said)
    made = [(call, other) for call, other in pairs if other is not None]
    keyed = [
        (call, other) for call, other in made if call.arguments.keys() == other.arguments.keys()
    ]
    exact = [(call, other) for call, other in keyed if same(call.arguments, other.arguments)]
    marks = {RIGHT: float(len(exact) == len(wanted) == len(said) and _in_order(wanted, said))}
    if wanted:
        count = max(len(wanted), len(said))
        marks |= {"names": len(made) / count, "keys": len(keyed) / count}
        marks |= {"values": len(exact) / count, "order": float(_in_order(wanted, said))}
    return marks


def _in_order(wanted: Sequence[ToolCall], said: Sequence[ToolCall]) -> bool:
    return [call.name for call in wanted] == [call.name for call in said] and all(
        same(one.arguments, two.arguments) or not _elsewhere(one, said)
        for one, two in zip(wanted, said, strict=True)
    )


def _elsewhere(call: ToolCall, said: Sequence[ToolCall]) -> bool:
    """Whether just this call was made, at whatever place."""
    return any(o.name == call.name and same(o.arguments, call.arguments) for o in said)


def _reason(wanted: Sequence[ToolCall], said: Sequence[ToolCall]) -> str:
    if bool(wanted) != bool(said):
        return "no call" if wanted else f"a call of {said[0].name} instead of an answer"
    told: list[str] = []
    for call, made in matched(wanted, said):
        if made is None:
            told.append(f"no call of {call.name}")
            continue
        for key in dict.fromkeys((*call.arguments, *made.arguments)):
            if key not in made.arguments:
                told.append(f"{call.name}: {key} is missing")
            elif key not in call.arguments:
                told.append(f"{call.name}: {key} is not wanted")
            elif not same(call.arguments[key], made.arguments[key]):
                one, two = dump(made.arguments[key]), dump(call.arguments[key])
                told.append(f"{call.name}: {key} is {one}; wanted: {two}")
    if len(said) > len(wanted):
        told.append(f"{len(said)} calls; wanted: {len(wanted)}")
    return "; ".join(told) or ("" if _in_order(wanted, said) else "the calls in another order")


def _kind(fault: str, wanted: Sequence[ToolCall], said: Sequence[ToolCall]) -> str:
    if fault:
        return "fault"
    if bool(wanted) != bool(said):
        return "plan"
    if [call.name for call in wanted] != [call.name for call in said]:
        return "names"
    return "" if _marks(wanted, said)[RIGHT] else "arguments"


def _written(wanted: Message) -> str:
    lines = [f"{call.name}({dump(call.arguments)})" for call in wanted.calls]
    return "\n".join(lines) or f"an answer: {wanted.text}"


def _conversations(specs: Sequence[str]) -> list[tuple[str, Conversation]]:
    from toolgrove.data.formats import conversation
    from toolgrove.data.stream import Mixture, stream_rows

    rows = stream_rows(Mixture(tuple(specs), seed=0))
    return [(row.where, conversation(row.value, row.where).without_given()) for row in rows]


def tasks_of(where: str, conv: Conversation) -> list[Task]:
    """A task for each assistant turn, but those that must not be learnt either."""
    size = sum(len(dump(tool.spec)) for tool in conv.tools)
    tasks: list[Task] = []
    for index, message in enumerate(conv.messages):
        size += len(message.text)
        if message.role is not Role.ASSISTANT or index == 0 or message.loss is False:
            continue
        category = CALLS if message.calls else ANSWERS
        turn = _Turn(where, conv, index)
        tasks.append(Task(NAME, category, turn.name, size, partial(play_turn, turn)))
    return tasks
