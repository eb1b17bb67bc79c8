"""Training rows out of benchmark cases, none of which touches the evaluation."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pydantic import Field

from toolgrove.config.settings import Settings
from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.eval.bfcl import tool
from toolgrove.eval.cases import Case, Checker
from toolgrove.eval.drill import Words, drill
from toolgrove.eval.labels import Labelled, label
from toolgrove.eval.numbers import with_other_numbers
from toolgrove.eval.overlap import part

CANDIDATES = 40
"""Among so many random tools the one most like the right one is a hard distractor."""


class PracticeSettings(Settings):
    """Which cases become training rows, and how."""

    categories: list[str] = [
        "live_simple",
        "live_multiple",
        "live_parallel",
        "live_parallel_multiple",
        "exec_simple",
        "exec_multiple",
        "exec_parallel",
        "exec_parallel_multiple",
    ]
    """Categories that rows are made of."""

    per_function: int = Field(default=2, ge=1)
    """At most so many cases that call the same function."""

    parallel: float = Field(default=0.3, ge=0, le=1)
    """Share of the cases with several calls that is taken."""

    distractors: list[float] = [0.3, 0.3, 0.25, 0.15]
    """How often a row offers 0, 1, 2, ... tools beside the right ones, as shares of rows."""

    hard: float = Field(default=0.5, ge=0, le=1)
    """Share of added distractors that resemble the right tool."""

    variants: int = Field(default=0, ge=0)
    """Further rows out of each case, with other numbers and other distractors."""

    drills: float = Field(default=0.6, ge=0)
    """Made-up requests, as a multiple of the rows made of cases."""

    max_characters: int = Field(default=1250, ge=1)
    """Longest row, tools and question and calls together; longer ones are left out."""

    seed: int = 0
    """Seed of everything random here."""


@dataclass(frozen=True, slots=True)
class Practice:
    """Training rows (canonical, as JSON), and why the other cases gave none."""

    rows: list[JSON]
    left_out: Counter[str]


def practice(
    cases: Sequence[Case], evaluation: Sequence[Case], checker: Checker, settings: PracticeSettings
) -> Practice:
    """Training rows of the cases.

    Left out are cases that share a function or the question with an evaluation case, whose label
    the checker refuses, whose values nobody could know from the question, or that are not in
    ASCII (the demo's model knows English only).
    """
    rng = random.Random(settings.seed)
    parted = part(cases, evaluation)
    left_out = Counter({"overlap": len(parted.overlapping)})
    chosen = _chosen(parted.apart, checker, settings, rng, left_out)
    called = {call.name for row in chosen for call in row.calls}
    maker = _Maker(settings, rng, _library(parted.apart, settings.max_characters, called))
    rows: list[JSON] = []
    for labelled in chosen:
        made = maker.rows(labelled)
        left_out["too long"] += not made
        rows += made
    rows += _drills(parted.apart, chosen, round(settings.drills * len(rows)), settings)
    rng.shuffle(rows)
    return Practice(rows, +left_out)


def _chosen(
    cases: Sequence[Case],
    checker: Checker,
    settings: PracticeSettings,
    rng: random.Random,
    left_out: Counter[str],
) -> list[Labelled]:
    """The cases worth learning from, with their labels; counts why the others are not."""
    taken: Counter[str] = Counter()
    chosen: list[Labelled] = []
    for case in rng.sample(cases, len(cases)):
        labelled = label(case)
        reason = _reason_against(labelled, checker)
        called = case.gold[0].name if case.gold else ""
        if reason is None and taken[called] >= settings.per_function:
            reason = "enough of this function"
        elif reason is None and len(case.gold) > 1 and rng.random() >= settings.parallel:
            reason = "several calls"
        if reason is None:
            taken[called] += 1
            chosen.append(labelled)
        else:
            left_out[reason] += 1
    return chosen


def _drills(
    cases: Sequence[Case], chosen: Sequence[Labelled], count: int, settings: PracticeSettings
) -> list[JSON]:
    """Rows with made-up requests, each function of the cases as often as any other."""
    rng = random.Random(settings.seed)
    library = _library(cases, settings.max_characters, None)
    maker = _Maker(settings, rng, library)
    words = Words.of(chosen)
    rows: list[JSON] = []
    for _ in range(3 * count if library else 0):
        made = drill(rng.choice(library), words, rng)
        row = maker.row(made) if made is not None else None
        rows += [row] if row is not None and len(rows) < count else []
    return rows


def _reason_against(row: Labelled, checker: Checker) -> str | None:
    if not row.calls:
        return "no call"
    if not row.case.question.isascii():
        return "not English"
    if not row.grounded:
        return "values not in the question"
    return None if checker.check(row.case, row.calls).right else "label refused by the checker"


def _library(cases: Sequence[Case], longest: int, names: AbstractSet[str] | None) -> list[JSON]:
    """Each function of these names (None: of any) once, if it is short enough to stand with others.

    Distractors come from the functions that are called elsewhere: else a model learns which
    functions are ever called, and not to choose by the question.
    """
    known = {_name(f): f for case in cases for f in case.functions if _wanted(f, names)}
    return [function for function in known.values() if 3 * len(json.dumps(function)) < longest]


def _wanted(function: JSON, names: AbstractSet[str] | None) -> bool:
    return names is None or function["name"] in names


@dataclass(frozen=True, slots=True)
class _Maker:
    settings: PracticeSettings
    rng: random.Random
    library: list[JSON]

    def rows(self, row: Labelled) -> list[JSON]:
        """The row and its variants, each with tools of its own; none when too long."""
        versions = [row]
        for _ in range(self.settings.variants):
            other = with_other_numbers(row, self.rng)
            versions += [other] if other is not None else []
        made = (self.row(version) for version in versions)
        return [row for row in made if row is not None]

    def row(self, row: Labelled) -> JSON | None:
        """One row with drawn tools, with fewer of them where more would make it too long."""
        shares = self.settings.distractors
        count = self.rng.choices(range(len(shares)), shares)[0]
        for fewer in range(count, -1, -1):
            made = _canonical(row, self._tools(row, fewer))
            if len(json.dumps(made, ensure_ascii=False)) <= self.settings.max_characters:
                return made
        return None

    def _tools(self, row: Labelled, count: int) -> list[JSON]:
        """The called functions and ``count`` others in any order."""
        called = {call.name for call in row.calls}
        right = [f for f in row.case.functions if f["name"] in called]
        taken = {_name(f) for f in row.case.functions} | {_about(f) for f in row.case.functions}
        tools = list(right)
        for _ in range(count):
            free = [f for f in self.library if not {_name(f), _about(f)} & taken]
            if not free:
                break
            other = self._distractor(right[0], free)
            taken |= {_name(other), _about(other)}
            tools.append(other)
        self.rng.shuffle(tools)
        return tools

    def _distractor(self, right: JSON, free: Sequence[JSON]) -> JSON:
        if self.rng.random() >= self.settings.hard:
            return self.rng.choice(free)
        candidates = self.rng.sample(free, min(CANDIDATES, len(free)))
        wanted = _topic(right)
        return max(candidates, key=lambda function: len(_topic(function) & wanted))


def _canonical(row: Labelled, tools: Sequence[JSON]) -> JSON:
    from toolgrove.data.canonical import to_row

    answer = Message(Role.ASSISTANT, None, calls=row.calls, has_content=False)
    messages = (*row.case.conversation.messages, answer)
    return to_row(Conversation(messages, tuple(tool(function) for function in tools)))


def _name(function: JSON) -> str:
    return str(function["name"]).casefold()


def _about(function: JSON) -> str:
    return str(function["description"]).casefold()


def _topic(function: JSON) -> set[str]:
    words = f"{_name(function)} {_about(function)}"
    return set("".join(c if c.isalnum() else " " for c in words).split())
