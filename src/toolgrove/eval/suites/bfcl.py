"""The Berkeley Function Calling Leaderboard, offline categories, judged by its own checker."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from toolgrove.core.errors import EvalError, did_you_mean
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Tool
from toolgrove.eval.bfcl import CATEGORIES, RETIRED, load_cases, load_checker, wheel
from toolgrove.eval.bfcl_turns import MOST_STEPS, MULTI_TURN, TurnsCase, load_turns, written
from toolgrove.eval.cases import Case, Checker, Named, judge, sample, verdict
from toolgrove.eval.outcome import RIGHT, Outcome, result_message, said_message, shown
from toolgrove.eval.play import Play
from toolgrove.eval.speakers import Said
from toolgrove.eval.suite import Task, suites
from toolgrove.eval.worlds import Finding, World, WorldError, Worlds

if TYPE_CHECKING:
    from toolgrove.eval.settings import EvalSettings

NAME = "bfcl"
LIVE = 16
"""Conversations of several turns that are played at once: each has a process of its own."""

_CURRENT = tuple(name for name, home in CATEGORIES.items() if home != RETIRED)
GROUPS = {
    "ast": _CURRENT,
    "python": tuple(name for name in _CURRENT if "java" not in name),
    "non_python": tuple(name for name in _CURRENT if "java" in name),
    "live": tuple(name for name in _CURRENT if name.startswith("live")),
    "non_live": tuple(name for name in _CURRENT if not name.startswith("live")),
    "multi_turn": MULTI_TURN,
    "all": (*_CURRENT, *MULTI_TURN),
}
"""Names that stand for several categories."""

T = TypeVar("T", bound=Named)


class Bfcl:
    """The categories that the settings name. ``folder`` is the unpacked wheel."""

    def __init__(self, settings: EvalSettings, folder: Path | None = None) -> None:
        categories = chosen_categories(settings.categories)
        self._folder = folder or wheel()
        self._worlds = Worlds(self._folder, settings.world_timeout_s)
        checker = load_checker(self._folder)
        self.tasks: list[Task] = []
        for chosen in categories:
            if chosen.category in MULTI_TURN:
                turns = chosen.draw(load_turns(self._folder, chosen.category), settings.seed)
                self.tasks += [_turns_task(case, self._worlds) for case in turns]
            else:
                cases = chosen.draw(load_cases(self._folder, chosen.category), settings.seed)
                self.tasks += [_task(case, checker) for case in cases]

    def close(self) -> None:
        """Ends the processes of the simulated worlds."""
        self._worlds.close()


suites.put(NAME, Bfcl)


class Chosen(NamedTuple):
    """A category, and how many of its cases (None: all); a category that was named as one of a
    group gives all that it has where that is less."""

    category: str
    count: int | None
    grouped: bool

    def draw(self, cases: Sequence[T], seed: int) -> list[T]:
        """The cases that the seed draws, in the order in which they came."""
        if self.grouped and self.count is not None:
            return sample(cases, min(self.count, len(cases)), seed)
        return sample(cases, self.count, seed)


def chosen_categories(specs: Sequence[str]) -> list[Chosen]:
    """The categories that are named; groups stand for their members.

    ``simple_python#120``, ``ast#20``: a number counts for each category of a group.
    """
    chosen: dict[str, Chosen] = {}
    known = (*GROUPS, *CATEGORIES, *MULTI_TURN)
    for spec in specs:
        name, _, count = spec.partition("#")
        if "#" in spec and not (count.isdecimal() and int(count)):
            raise EvalError(f'"{spec}": not a number of cases', hint="write simple_python#120")
        if name not in known:
            near = did_you_mean(name, known)
            hint = f"{near or ''} known: {', '.join(known)}".strip()
            raise EvalError(f'unknown category "{name}"', hint=hint)
        number = int(count) if count else None
        for member in GROUPS.get(name, (name,)):
            chosen[member] = Chosen(member, number, name in GROUPS)
    return list(chosen.values())


def play_case(case: Case, checker: Checker) -> Play:
    """One question, one reply.

    ``right`` is the benchmark's verdict on the calls that can be read. ``format``, ``function``
    and ``arguments`` are stricter: each holds only where the one before does, and the reply must
    have ended by itself.
    """
    said = yield case.conversation
    found = judge(case, said.reply, ended=said.ended, checker=checker)
    official = verdict(case, said.reply.calls, checker)
    return Outcome(
        suite=NAME,
        category=case.category,
        name=case.name,
        marks={
            RIGHT: float(official.right),
            "format": float(found.format),
            "function": float(found.function),
            "arguments": float(found.verdict.right),
        },
        reason=said.fault or found.verdict.reason,
        kind="fault" if said.fault else found.verdict.kind,
        expected=expected(case),
        texts=[said.text],
        **shown(case.conversation, [said_message(said.reply)]),
    )


def expected(case: Case) -> str:
    """The calls that count as right, a line each, with all values that are accepted."""
    if not case.gold:
        return "a call" if case.any_call else "no call"
    return "\n".join(f"{gold.name}({_values(gold.arguments)})" for gold in case.gold)


def play_turns(case: TurnsCase, worlds: Worlds) -> Play:
    """A conversation of several turns: calls are run until a reply has none, turn by turn.

    As the benchmark does it: after ``MOST_STEPS`` further steps in a turn the conversation ends
    there, and is wrong unless that was its last turn.
    """
    messages: list[Message] = []
    texts: list[str] = []
    turns: list[list[list[str]]] = []
    tools, fault = case.tools, ""
    try:
        with worlds.open(case.entry) as world:
            for number, asked in enumerate(case.turns):
                tools = (*tools, *case.added.get(number, ()))
                messages += asked
                turns.append([])
                fault, full = yield from _play_turn(world, tools, messages, (turns[-1], texts))
                if fault or full:
                    break
            found = _finding(case, world, turns, fault)
    except WorldError as error:
        found = Finding(False, error.what, "world")
    end = Conversation(tuple(messages), tools)
    return Outcome(
        suite=NAME,
        category=case.category,
        name=case.name,
        marks={RIGHT: float(found.right)},
        reason=found.reason,
        kind=found.kind,
        expected="\n".join(
            f"turn {number}: {', '.join(calls) or 'no call'}"
            for number, calls in enumerate(case.wanted, 1)
        ),
        texts=texts,
        notes={"turns": turns},
        **{**shown(end, []), "asked": len(case.turns[0])},
    )


def _play_turn(
    world: World,
    tools: tuple[Tool, ...],
    messages: list[Message],
    kept: tuple[list[list[str]], list[str]],
) -> Generator[Conversation, Said, tuple[str, bool]]:
    """Goes on until a reply has no call; returns a fault, and whether there were too many steps."""
    steps, texts = kept
    while True:
        said = yield Conversation(tuple(messages), tools)
        texts.append(said.text)
        if said.fault:
            return said.fault, False
        messages.append(said_message(said.reply))
        if not said.reply.calls:
            return "", False
        calls = [written(call) for call in said.reply.calls]
        steps.append(calls)
        results = world.call(calls)
        messages += [
            result_message(call, text) for call, text in zip(said.reply.calls, results, strict=True)
        ]
        if len(steps) > MOST_STEPS:
            return "", True


def _finding(
    case: TurnsCase, world: World, turns: Sequence[Sequence[Sequence[str]]], fault: str
) -> Finding:
    if fault:
        return Finding(False, fault, "fault")
    if len(turns) != len(case.wanted):
        reason = f"more than {MOST_STEPS} steps in turn {len(turns)} of {len(case.wanted)}"
        return Finding(False, reason, "multi_turn:force_terminated")
    return world.check(turns, case.wanted)


def _task(case: Case, checker: Checker) -> Task:
    size = len(json.dumps(case.functions)) + len(case.question)
    return Task(NAME, case.category, case.name, size, lambda: play_case(case, checker))


def _turns_task(case: TurnsCase, worlds: Worlds) -> Task:
    size = sum(len(dump(tool.spec)) for tool in case.tools)
    return Task(NAME, case.category, case.name, size, lambda: play_turns(case, worlds), LIVE)


def _values(arguments: Mapping[str, Sequence[Any]]) -> str:
    return ", ".join(f"{name}: {dump(list(values))}" for name, values in arguments.items())
