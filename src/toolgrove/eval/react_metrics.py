"""ModelScope-Agent's and ToolBench's measures of one step: Plan.EM, Act.EM, F1, HalluRate, Rouge-L.

``as_published`` gives the figures of EvalScope 1.14.1 (``tool_bench``), which reads both texts as
ReAct. What it does that hides faults, and what ``mended`` does instead:

- a step whose right tool is not on offer, or has an unreadable name, counts nowhere: here it does;
- of several calls only the last is read: here all are, matched by name; F1 is their mean;
- the arguments' F1 gives half a point for a wrong value of a right key; a call without arguments
  that should have had some divides by nothing and counts 0, which is what it counts here;
- where unreadable arguments are wanted the step counts in no F1: no such thing is left here, since
  both sides are read by the dialect;
- an invented tool counts only in steps whose right tool is known: here in every step that calls;
- words are what stands between spaces, so "Rome." is not "Rome", and a Chinese sentence is one
  word: here punctuation and case are no matter, and each Chinese character is a word.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import ToolCall
from toolgrove.eval.rouge import rouge_l, words

FINISH = "Finish"
_UNKNOWN = "invalid_hallucination_function_name"
_NOTHING = 1e-30
_EMPTY_ANSWERS = ("", ".", ",")


class Step(NamedTuple):
    """What was said in a step: calls, or a text."""

    calls: Sequence[ToolCall]
    text: str = ""


class _Read(NamedTuple):
    """A ReAct text as EvalScope reads it."""

    plan: str
    action: str | None = None
    given: Any = None
    answer: str | None = None


def react_text(step: Step) -> str:
    """A step in the words that ``as_published`` reads; of several calls, all of them."""
    if not step.calls:
        given = {"return_type": "give_answer", "final_answer": step.text}
        return f"Action: {FINISH}\nAction Input: {dump(given)}"
    return "\n".join(
        f"Action: {call.name}\nAction Input: {dump(call.arguments)}" for call in step.calls
    )


def as_published(wanted: str, said: str, tools: Collection[str]) -> dict[str, float]:
    """EvalScope's figures for one step; a measure that it gives no figure for is left out."""
    right, found = _read(wanted), _read(said)
    if right.action == _UNKNOWN:
        return {}
    if found.action is not None and right.action != "none" and right.action not in tools:
        return {}
    invented = found.action not in (None, "none") and found.action not in tools
    figures = {"Plan.EM": float(right.plan == found.plan), "HalluRate": float(invented)}
    if right.plan == "finish":
        answer = "none" if found.answer is None else found.answer
        figures["Rouge-L"] = rouge_l(answer.split(), (right.answer or "").split())
    elif right.plan == "call":
        action = "none" if found.action is None else found.action
        given = "{}" if found.given is None else found.given
        figures["Act.EM"] = float(action == right.action)
        figure = _published_f1(right, action, given)
        if figure is not None:
            figures["F1"] = figure
    return figures


def mended(wanted: Step, said: Step, tools: Collection[str]) -> dict[str, float]:
    """The same measures with nothing left out; see above."""
    figures = {"Plan.EM": float(bool(wanted.calls) == bool(said.calls))}
    if said.calls:
        figures["HalluRate"] = sum(call.name not in tools for call in said.calls) / len(said.calls)
    if wanted.calls:
        names = [call.name for call in said.calls]
        figures["Act.EM"] = float(names == [call.name for call in wanted.calls])
        figures["F1"] = _f1(wanted.calls, said.calls)
    else:
        figures["Rouge-L"] = rouge_l(words(said.text), words(wanted.text))
    return figures


def matched(
    wanted: Sequence[ToolCall], said: Sequence[ToolCall]
) -> list[tuple[ToolCall, ToolCall | None]]:
    """Each wanted call with the call that was made for it: the equal one, else the first of its
    name that no other takes."""
    free = list(range(len(said)))
    pairs: dict[int, int] = {}
    for equal in (True, False):
        for index, call in enumerate(wanted):
            if index in pairs:
                continue
            for at in free:
                alike = not equal or same(said[at].arguments, call.arguments)
                if said[at].name == call.name and alike:
                    pairs[index] = at
                    free.remove(at)
                    break
    return [
        (call, said[pairs[index]] if index in pairs else None) for index, call in enumerate(wanted)
    ]


def _f1(wanted: Sequence[ToolCall], said: Sequence[ToolCall]) -> float:
    """The mean over the calls; one that is missing or too many counts 0."""
    pairs = matched(wanted, said)
    figures = [_call_f1(call.arguments, made.arguments) for call, made in pairs if made is not None]
    return sum(figures) / max(len(wanted), len(said))


def _call_f1(wanted: Mapping[str, Any], said: Mapping[str, Any]) -> float:
    """Half a point for a right key, a whole one for a right value too."""
    if not wanted or not said:
        return float(not wanted and not said)
    points = sum(
        1.0 if same(said[key], value) else 0.5 for key, value in wanted.items() if key in said
    )
    return 2 * points / (len(wanted) + len(said))


def same(one: Any, two: Any) -> bool:
    """Whether two plain values are equal, types included (1 is not true)."""
    return one == two and dump(one) == dump(two)


def _published_f1(right: _Read, action: str, given: Any) -> float | None:
    """None where the wanted arguments are not JSON."""
    if right.action != action:
        return 0.0
    try:
        wanted = json.loads(right.given)
    except (ValueError, TypeError):
        return None
    try:
        made = json.loads(given)
        if wanted == {}:
            return float(made == {})
        points = sum(1.0 if made[key] == wanted[key] else 0.5 for key in wanted if key in made)
        recall, precision = points / (len(wanted) + _NOTHING), points / (len(made) + _NOTHING)
        return 2 * recall * precision / (recall + precision)
    except (ValueError, TypeError, AttributeError, KeyError, ZeroDivisionError):
        return 0.0


def _read(text: str) -> _Read:
    action, given = "none", "{}"
    if "Action Input:" in text:
        given = text.rpartition("Action Input:")[2].strip()
    if "Action:" in text:
        action = text.rpartition("Action:")[2].strip().partition("Action Input:")[0].strip()
    if action != FINISH:
        return _Read("call", action, given)
    try:
        values = json.loads(given)
        if values["return_type"] != "give_answer":
            return _Read("give up")
        answer = str(values["final_answer"]) if "final_answer" in values else "None"
    except (ValueError, TypeError, KeyError):
        return _Read("give up")
    return _Read("finish", action, values, "None" if answer.strip() in _EMPTY_ANSWERS else answer)
