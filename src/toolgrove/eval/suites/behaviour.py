"""How a model behaves around calls: when it calls, asks, refuses, stops; judged by rules."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON, Conversation, Message, Tool, ToolCall
from toolgrove.data.formats import conversation
from toolgrove.eval.outcome import RIGHT, Outcome, result_message, said_message, shown
from toolgrove.eval.play import Play
from toolgrove.eval.speakers import Said
from toolgrove.eval.suite import Task, suites

if TYPE_CHECKING:
    from toolgrove.eval.settings import EvalSettings

NAME = "behaviour"
CASES = Path(__file__).parents[1] / "behaviour.json"
_MARKUP = re.compile(r"<\|?/?tool|<function|\[TOOL_CALLS\]|^Action( Input)?:|^Observation:", re.M)
"""What only stands in calls and results: in a text it is a call that went wrong."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is wanted in a case beyond its category.

    ``call`` and ``arguments`` are the call that is due, with the values that count as right;
    ``says`` the texts of which an answer must have one; ``results`` what tools return, in
    ``steps`` steps at most.
    """

    call: str = ""
    arguments: Mapping[str, Sequence[Any]] | None = None
    says: Sequence[str] = ()
    results: Mapping[str, str] | None = None
    steps: int = 1


class BehaviourCase(NamedTuple):
    """A case: what was said so far, with the tools on offer, and what is wanted now."""

    name: str
    category: str
    conversation: Conversation
    rules: Rules


class Behaviour:
    """The cases of ``behaviour.json``; the settings' limit counts for each category."""

    def __init__(self, settings: EvalSettings) -> None:
        taken: Counter[str] = Counter()
        self.tasks: list[Task] = []
        for case in load_behaviour():
            taken[case.category] += 1
            if settings.limit is None or taken[case.category] <= settings.limit:
                task = Task(NAME, case.category, case.name, _size(case), partial(play, case))
                self.tasks.append(task)

    def close(self) -> None:
        """Nothing to end."""


suites.put(NAME, Behaviour)


def load_behaviour() -> list[BehaviourCase]:
    """The cases of the file."""
    held = json.loads(CASES.read_text(encoding="utf-8"))
    tools = {Tool(spec).name: spec for spec in held["tools"]}
    return [_case(row, tools) for row in held["cases"]]


def _case(row: JSON, tools: Mapping[str, JSON]) -> BehaviourCase:
    listed = [tools[name] for name in row["tools"]]
    talk = conversation({"messages": row["messages"], **({"tools": listed} if listed else {})})
    given = ("call", "arguments", "says", "results", "steps")
    rules = Rules(**{key: row[key] for key in given if key in row})
    return BehaviourCase(row["name"], row["category"], talk, rules)


def play(case: BehaviourCase) -> Play:
    """Asks, answers calls with the case's results while there are any, judges all replies."""
    talk = case.conversation
    replies: list[Said] = []
    more: list[Message] = []
    for _ in range(case.rules.steps):
        said = yield Conversation((*talk.messages, *more), talk.tools)
        replies.append(said)
        more.append(said_message(said.reply))
        if said.fault or not said.reply.calls or case.rules.results is None:
            break
        more += [result_message(call, _result(call, case.rules)) for call in said.reply.calls]
    wrong = _fault(replies) or JUDGES[case.category](case, replies)
    return Outcome(
        suite=NAME,
        category=case.category,
        name=case.name,
        marks={RIGHT: float(not wrong)},
        reason=wrong,
        kind=case.category,
        expected=WANTED[case.category] + _details(case.rules),
        texts=[said.text for said in replies],
        **shown(talk, more),
    )


def _result(call: ToolCall, rules: Rules) -> str:
    results = rules.results or {}
    return results.get(call.name, '{"error": "no such tool"}')


def _fault(replies: Sequence[Said]) -> str:
    last = replies[-1]
    return last.fault or ("" if last.ended else "cut off: the reply did not end by itself")


def _silent(_case: BehaviourCase, replies: Sequence[Said]) -> str:
    """Text and no call, nor the beginnings of one."""
    reply = replies[-1].reply
    if reply.calls:
        return f"called {_names(reply.calls)}"
    if not reply.content.strip():
        return "said nothing"
    found = _MARKUP.search(reply.content)
    return f'"{found.group()}" in the text' if found else ""


def _calls(case: BehaviourCase, replies: Sequence[Said]) -> str:
    """The call that is due, and no other."""
    calls = replies[-1].reply.calls
    if [call.name for call in calls] != [case.rules.call]:
        return f"called {_names(calls) or 'nothing'}; wanted: {case.rules.call}"
    for key, accepted in (case.rules.arguments or {}).items():
        value = calls[0].arguments.get(key)
        if value not in accepted:
            return f"{key} is {dump(value)}; wanted: {' or '.join(map(dump, accepted))}"
    return ""


def _never_again(case: BehaviourCase, replies: Sequence[Said]) -> str:
    """No call is made a second time, and the last reply is an answer."""
    made: list[str] = []
    for said in replies:
        for call in said.reply.calls:
            written = f"{call.name}({dump(dict(sorted(call.arguments.items())))})"
            if written in made:
                return f"{written} once more, though its result was there"
            made.append(written)
    if not made:
        return "no call at all"
    return _silent(case, replies)


def _asks(case: BehaviourCase, replies: Sequence[Said]) -> str:
    """A question instead of a call with invented values."""
    text = replies[-1].reply.content
    return _silent(case, replies) or ("" if "?" in text or "？" in text else "asked nothing")


def _tells(case: BehaviourCase, replies: Sequence[Said]) -> str:
    """An answer that has one of the texts in it, and no call."""
    wrong = _silent(case, replies)
    text = replies[-1].reply.content.casefold()
    if wrong or any(said.casefold() in text for said in case.rules.says):
        return wrong
    return f"none of {', '.join(case.rules.says)} in the answer"


JUDGES: Mapping[str, Callable[[BehaviourCase, Sequence[Said]], str]] = {
    "over_calling": _silent,
    "never_calling": _calls,
    "repeated_call": _never_again,
    "missing_parameter": _asks,
    "unknown_tool": _silent,
    "stops_after_answer": _tells,
    "general_chat": _tells,
}
"""What is wrong with the replies to a case of each category; "" where nothing is."""

WANTED = {
    "over_calling": "an answer without a call",
    "never_calling": "a call",
    "repeated_call": "a call, then an answer; no call twice",
    "missing_parameter": "a question for what is missing",
    "unknown_tool": "an answer that no tool can do this; no call",
    "stops_after_answer": "an answer out of the result; no further call",
    "general_chat": "an answer",
}


def _details(rules: Rules) -> str:
    told = f" of {rules.call}" if rules.call else ""
    if rules.arguments:
        told += f" with {dump({key: list(values) for key, values in rules.arguments.items()})}"
    return told + (f", with one of: {', '.join(rules.says)}" if rules.says else "")


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(call.name for call in calls)


def _size(case: BehaviourCase) -> int:
    said = sum(len(message.text) for message in case.conversation.messages)
    return said + sum(len(dump(tool.spec)) for tool in case.conversation.tools)
