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
from toolgrove.eval.drill import Words, drill, missing
from toolgrove.eval.labels import Labelled, label
from toolgrove.eval.numbers import with_other_numbers
from toolgrove.eval.overlap import part
from toolgrove.eval.spoken import answered, small_talk, unfit

CANDIDATES = 40
"""Among so many random tools the one most like the right one is a hard distractor."""

NEARBY = 24
"""How many waiting requests are tried as the next one of a row."""


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
        "parallel",
        "parallel_multiple",
        "live_irrelevance",
    ]
    """Categories that rows are made of."""

    irrelevant: int = Field(default=24, ge=0)
    """At most so many cases whose tools do not fit the question."""

    per_function: int = Field(default=5, ge=1)
    """At most so many cases that call the same function."""

    per_function_with_options: int = Field(default=8, ge=1)
    """The same for cases whose calls give an argument that could be left out: most cases give none,
    and from them alone a model learns to leave out what it was asked for."""

    parallel: float = Field(default=0.6, ge=0, le=1)
    """Share of the cases with several calls that is taken."""

    turns: list[float] = [0.2, 0.2, 0.3, 0.3]
    """How often a row holds 1, 2, 3, ... requests one after the other, as shares of rows. Requests
    of one row share its tools, so that the same compute teaches more calls."""

    distractors: list[float] = [0.3, 0.3, 0.25, 0.15]
    """How often a request finds 0, 1, 2, ... tools beside its own, as shares of rows; tools of the
    other requests of the row count."""

    hard: float = Field(default=0.5, ge=0, le=1)
    """Share of added distractors that resemble the right tool."""

    variants: int = Field(default=0, ge=0)
    """Further rows out of each case, with other numbers and other distractors."""

    drills: list[float] = [0.2, 0.3, 0.3, 0.2]
    """How often a row gets 0, 1, 2, ... made-up requests for its tools, as shares of rows."""

    drilled_options: float = Field(default=0.6, ge=0, le=1)
    """How often a made-up request asks for an argument that may be left out."""

    in_words: list[float] = [0.5, 0.35, 0.15]
    """How often a row gets 0, 1, 2, ... requests that are answered in words, as shares of rows: no
    tool fits, something is missing, or nothing is wanted but talk."""

    answered: float = Field(default=0.2, ge=0, le=1)
    """Share of the calls that a made-up result and an answer in words follow."""

    max_characters: int = Field(default=3000, ge=1)
    """Longest row, tools and question and calls together; longer ones are left out."""

    longest_function: int = Field(default=1000, ge=1)
    """Longest function, in characters of its JSON; cases that call longer ones are left out."""

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
    misfits = [case for case in parted.apart if _misfits(case)]
    wanted = [case for case in parted.apart if not _misfits(case)]
    chosen = _chosen(wanted, checker, settings, rng, left_out)
    called = {call.name for row in chosen for call in row.calls}
    library = _library(parted.apart, settings.longest_function, called)
    asked = [*chosen, *[Labelled(case, (), grounded=True) for case in misfits]]
    maker = _Maker(settings, rng, library, Words.of(chosen), list(filter(_stands_alone, asked)))
    requests = [version for labelled in chosen for version in maker.versions(labelled)]
    rng.shuffle(requests)
    rows = maker.rows(requests, left_out)
    rows += maker.misfit_rows(misfits, left_out)
    rng.shuffle(rows)
    return Practice(rows, +left_out)


def _stands_alone(request: Labelled) -> bool:
    return len(request.case.conversation.messages) == 1 and request.case.question.isascii()


def _misfits(case: Case) -> bool:
    """Whether no tool of the case fits its question."""
    return bool(case.functions) and not case.gold and not case.any_call


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
        optional = _gives_options(labelled)
        most = settings.per_function_with_options if optional else settings.per_function
        if reason is None and _longest(case) > settings.longest_function:
            reason = "too long"
        elif reason is None and taken[called] >= most:
            reason = "enough of this function"
        elif reason is None and len(case.gold) > 1 and rng.random() >= settings.parallel:
            reason = "several calls"
        if reason is None:
            taken[called] += 1
            chosen.append(labelled)
        else:
            left_out[reason] += 1
    return chosen


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
    return [function for function in known.values() if len(json.dumps(function)) <= longest]


def _gives_options(row: Labelled) -> bool:
    """Whether a call gives an argument that its function does not require."""
    required = {f["name"]: f["parameters"].get("required", ()) for f in row.case.functions}
    return any(
        call.arguments.keys() - required.get(call.name, call.arguments) for call in row.calls
    )


def _longest(case: Case) -> int:
    """The length of the longest function that the case calls."""
    names = {accepted.name for accepted in case.gold}
    return max((len(json.dumps(f)) for f in case.functions if f["name"] in names), default=0)


def _wanted(function: JSON, names: AbstractSet[str] | None) -> bool:
    return names is None or function["name"] in names


@dataclass(frozen=True, slots=True)
class _Maker:
    settings: PracticeSettings
    rng: random.Random
    library: list[JSON]
    words: Words
    asked: list[Labelled]
    """requests of one message each, whatever tools they are for"""

    def versions(self, request: Labelled) -> list[Labelled]:
        """The request and its variants."""
        versions = [request]
        for _ in range(self.settings.variants):
            other = with_other_numbers(request, self.rng)
            versions += [other] if other is not None else []
        return versions

    def rows(self, requests: Sequence[Labelled], left_out: Counter[str]) -> list[JSON]:
        """Rows of one or more requests each; counts the requests that are too long for any."""
        waiting = list(requests)
        rows: list[JSON] = []
        while waiting:
            first = waiting.pop()
            if self._row([first], []) is None:
                left_out["too long"] += 1
                continue
            group = [first]
            wanted = self._count(self.settings.turns) + 1
            for other in self._nearby(first, waiting):
                if len(group) < wanted and self._row([*group, other], []) is not None:
                    group.append(other)
                    waiting.remove(other)
            rows.append(self._filled(group, []))
        return rows

    def misfit_rows(self, cases: Sequence[Case], left_out: Counter[str]) -> list[JSON]:
        """Rows of requests that none of their tools fits, each function offered once."""
        rows: list[JSON] = []
        offered = set[str]()
        for case in self.rng.sample(cases, len(cases)):
            request = unfit(Labelled(case, (), grounded=True), self.rng)
            names = {_name(function) for function in case.functions}
            if not case.question.isascii():
                left_out["not English"] += 1
            elif len(rows) >= self.settings.irrelevant or names & offered:
                left_out["enough where no tool fits"] += 1
            elif self._row([request], case.functions) is None:
                left_out["too long"] += 1
            else:
                offered |= names
                rows.append(self._filled([request], case.functions))
        return rows

    def _count(self, shares: Sequence[float]) -> int:
        return self.rng.choices(range(len(shares)), shares)[0]

    def _nearby(self, first: Labelled, waiting: Sequence[Labelled]) -> list[Labelled]:
        """Requests that may follow: those for the same functions before any others."""
        names = {call.name for call in first.calls}
        same = [r for r in waiting if {call.name for call in r.calls} <= names]
        others = [r for r in waiting[-NEARBY:] if not {call.name for call in r.calls} <= names]
        return [*same, *others]

    def _filled(self, group: list[Labelled], offered: Sequence[JSON]) -> JSON:
        """The row of a group and tools that are offered anyway, with distractors and made-up
        requests, as far as they fit."""
        tools = [*_called(group).values(), *offered]
        for _ in range(self._count(self.settings.distractors) + 1 - len(tools)):
            other = self._distractor(tools, group)
            if other is not None and self._row(group, [*tools, other]) is not None:
                tools.append(other)
        for _ in range(self._count(self.settings.drills)):
            asked = self.rng.choice(tools)
            made = drill(asked, self.words, self.rng, self.settings.drilled_options)
            group = self._with(group, made, tools)
        for _ in range(self._count(self.settings.in_words)):
            group = self._with(group, self._in_words(tools), tools)
        for place, request in enumerate(group):
            if len(request.calls) == 1 and self.rng.random() < self.settings.answered:
                told = answered(request, self.words, self.rng)
                longer = [*group[:place], told, *group[place + 1 :]]
                group = longer if self._row(longer, tools) is not None else group
        return self._row(group, tools) or {}

    def _with(
        self, group: list[Labelled], made: Labelled | None, tools: Sequence[JSON]
    ) -> list[Labelled]:
        """The group with a made-up request somewhere in it, if there is a new one and it fits."""
        if made is None or made.case.question in {request.case.question for request in group}:
            return group
        place = self.rng.randrange(len(group) + 1)
        longer = [*group[:place], made, *group[place:]]
        return longer if self._row(longer, tools) is not None else group

    def _in_words(self, tools: Sequence[JSON]) -> Labelled | None:
        """A request that is answered in words; None where none was found."""
        (kind,) = self.rng.choices(("misfit", "missing", "talk"), (3, 2, 1))
        if kind == "talk":
            return small_talk(self.rng)
        if kind == "missing":
            return missing(self.rng.choice(tools), self.words, self.rng)
        topics = set[str]().union(*map(_topic, tools))
        some = self.rng.sample(self.asked, min(NEARBY, len(self.asked)))
        far = min(some, key=lambda request: len(_topic_of(request) & topics), default=None)
        if far is None or {_name(f) for f in far.case.functions} & {_name(f) for f in tools}:
            return None
        return unfit(far, self.rng)

    def _row(self, group: Sequence[Labelled], others: Sequence[JSON]) -> JSON | None:
        """The row of a group; None when it is too long or its functions cannot stand together."""
        called = list(_called(group).values())
        tools = [*called, *(function for function in others if function not in called)]
        if min(len({_name(f) for f in tools}), len({_about(f) for f in tools})) < len(tools):
            return None
        if len(group) > 1 and any(len(r.case.conversation.messages) > 1 for r in group):
            return None
        row = _canonical(group, self.rng.sample(tools, len(tools)))
        fits = len(json.dumps(row, ensure_ascii=False)) <= self.settings.max_characters
        return row if fits else None

    def _distractor(self, tools: Sequence[JSON], group: Sequence[Labelled]) -> JSON | None:
        """A function that no request of the group was written for."""
        known = [*tools, *(f for request in group for f in request.case.functions)]
        taken = {_name(f) for f in known} | {_about(f) for f in known}
        free = [f for f in self.library if not {_name(f), _about(f)} & taken]
        if not free or self.rng.random() >= self.settings.hard:
            return self.rng.choice(free) if free else None
        candidates = self.rng.sample(free, min(CANDIDATES, len(free)))
        wanted = _topic(tools[0])
        return max(candidates, key=lambda function: len(_topic(function) & wanted))


def _called(group: Sequence[Labelled]) -> dict[str, JSON]:
    """The functions that the calls of a group need, by their text."""
    found: dict[str, JSON] = {}
    for request in group:
        names = {call.name for call in request.calls}
        for function in request.case.functions:
            if function["name"] in names:
                found.setdefault(json.dumps(function, sort_keys=True), function)
    return found


def _canonical(group: Sequence[Labelled], tools: Sequence[JSON]) -> JSON:
    from toolgrove.data.canonical import to_row

    messages: list[Message] = []
    for request in group:
        messages += request.case.conversation.messages
        if request.calls:
            messages.append(Message(Role.ASSISTANT, calls=request.calls, has_content=False))
        messages += request.after
    return to_row(Conversation(tuple(messages), tuple(tool(function) for function in tools)))


def _name(function: JSON) -> str:
    return str(function["name"]).casefold()


def _about(function: JSON) -> str:
    return str(function["description"]).casefold()


def _topic_of(request: Labelled) -> set[str]:
    return set[str]().union(*map(_topic, request.case.functions))


def _topic(function: JSON) -> set[str]:
    words = f"{_name(function)} {_about(function)}"
    return set("".join(c if c.isalnum() else " " for c in words).split())
