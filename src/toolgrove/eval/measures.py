"""Means of marks over cases, with 95 % intervals."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON
from toolgrove.eval.outcome import RIGHT, Outcome

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

TOTAL = "total"
WHOLE = "conversations"
"""Of groups: the share in which every case is right."""

DRAWS = 1000
_TAIL = 0.025


class Interval(NamedTuple):
    """From where to where a mean may reach."""

    low: float
    high: float


class Measure(NamedTuple):
    """The mean of a mark over the ``cases`` that it applies to, and its 95 % interval."""

    value: float
    low: float
    high: float
    cases: int

    def as_json(self) -> JSON:
        """The measure for a report."""
        return {"share": self.value, "low": self.low, "high": self.high, "cases": self.cases}


@dataclass(frozen=True, slots=True)
class Score:
    """How one category of a suite went; ``total`` is the one of all its categories together."""

    suite: str
    category: str
    cases: int
    marks: Mapping[str, Measure]

    def __getitem__(self, mark: str) -> Measure:
        if mark not in self.marks:
            known = ", ".join(self.marks)
            raise EvalError(f'"{mark}" was not measured in {self.category}', hint=f"known: {known}")
        return self.marks[mark]

    def as_json(self) -> JSON:
        """The score as a report holds it."""
        marks = {name: measure.as_json() for name, measure in self.marks.items()}
        return {"suite": self.suite, "category": self.category, "cases": self.cases, **marks}


def wilson(hits: int, cases: int, z: float = Z_95) -> Interval:
    """Wilson's score interval for ``hits`` out of ``cases``; without cases nothing is known."""
    if cases == 0:
        return Interval(0.0, 1.0)
    share, spread = hits / cases, z * z / cases
    centre = (share + spread / 2) / (1 + spread)
    reach = z * math.sqrt(share * (1 - share) / cases + spread / (4 * cases)) / (1 + spread)
    low = 0.0 if hits == 0 else centre - reach
    high = 1.0 if hits == cases else centre + reach
    return Interval(low, high)


def measure(values: Sequence[float], groups: Sequence[str] = ()) -> Measure:
    """The mean with its percentile bootstrap interval.

    ``groups`` names for each value the group that it belongs to: whole groups are drawn, since
    the turns of one conversation are not independent. Where all values are 0 or all are 1 every
    draw would be alike and the interval a point; it is Wilson's then.
    """
    cases = len(values)
    total = math.fsum(values)
    if cases == 0:
        return Measure(0.0, 0.0, 1.0, 0)
    if total in (0.0, float(cases)):
        units = len(set(groups)) if groups else cases
        return Measure(total / cases, *wilson(units if total else 0, units), cases)
    return Measure(total / cases, *bootstrap(values, groups), cases)


def bootstrap(values: Sequence[float], groups: Sequence[str] = ()) -> Interval:
    """The 2.5 % and 97.5 % points of the mean of as many draws, with replacement.

    For independent marks of 0 and 1 that distribution is the binomial one, and its points are
    exact; else it is made of a thousand samples from a fixed seed.
    """
    alone = not groups or len(set(groups)) == len(groups)
    if alone and all(value in (0.0, 1.0) for value in values):
        return _binomial(round(sum(values)), len(values))
    sums: dict[str, list[float]] = {}
    for index, value in enumerate(values):
        entry = sums.setdefault(groups[index] if groups else str(index), [0.0, 0])
        entry[0] += value
        entry[1] += 1
    rng = random.Random(0)
    units = list(sums.values())
    means: list[float] = []
    for _ in range(DRAWS):
        drawn = rng.choices(units, k=len(units))
        means.append(math.fsum(unit[0] for unit in drawn) / sum(unit[1] for unit in drawn))
    means.sort()
    return Interval(means[round(_TAIL * (DRAWS - 1))], means[round((1 - _TAIL) * (DRAWS - 1))])


def score(outcomes: Sequence[Outcome]) -> list[Score]:
    """A score for each category in the order of its first case, then one for each suite's total."""
    scores: list[Score] = []
    for suite in dict.fromkeys(outcome.suite for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.suite == suite]
        categories = list(dict.fromkeys(outcome.category for outcome in own))
        for name in categories:
            scores.append(_score(suite, name, [o for o in own if o.category == name]))
        scores.append(_score(suite, TOTAL, own))
    return scores


def _score(suite: str, name: str, outcomes: Sequence[Outcome]) -> Score:
    marks: dict[str, Measure] = {}
    for mark in dict.fromkeys(mark for outcome in outcomes for mark in outcome.marks):
        having = [outcome for outcome in outcomes if mark in outcome.marks]
        grouped = any(outcome.group for outcome in having)
        groups = [outcome.group or outcome.name for outcome in having] if grouped else ()
        marks[mark] = measure([outcome.marks[mark] for outcome in having], groups)
    wholes: dict[str, float] = {}
    for outcome in outcomes:
        if outcome.group:
            wholes[outcome.group] = min(outcome.marks[RIGHT], wholes.get(outcome.group, 1.0))
    if wholes:
        marks[WHOLE] = measure(list(wholes.values()))
    return Score(suite, name, len(outcomes), marks)


def _binomial(hits: int, cases: int) -> Interval:
    """The points of hits out of ``cases`` draws, each a hit with the probability hits / cases."""
    share = hits / cases
    down = below = 0
    heap = 0.0
    for count in range(cases + 1):
        heap += math.exp(
            math.lgamma(cases + 1)
            - math.lgamma(count + 1)
            - math.lgamma(cases - count + 1)
            + count * math.log(share)
            + (cases - count) * math.log1p(-share)
        )
        if heap < _TAIL:
            down = count + 1
        if heap < 1 - _TAIL:
            below = count + 1
    return Interval(down / cases, min(below, cases) / cases)


def in_words(found: Measure) -> str:
    """``61.7 % [52.7, 69.9]``."""
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
