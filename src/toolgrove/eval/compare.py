"""Two models on the same cases: differences, their intervals, and whether they are chance."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON
from toolgrove.eval.journal import read_journal
from toolgrove.eval.measures import TOTAL, Interval
from toolgrove.eval.outcome import RIGHT, Outcome

if TYPE_CHECKING:
    from rich.table import Table

CASES_FILE = "cases.jsonl"
DRAWS = 2000
_TAIL = 0.025
_EXACT = 12
"""Up to so many groups that differ, all ways to swap the models are tried."""


class Pair(NamedTuple):
    """One case as both models answered it."""

    first: Outcome
    second: Outcome


@dataclass(frozen=True, slots=True)
class Difference:
    """A mark of a category under both models: ``second - first``, paired by case.

    ``gained`` and ``lost`` count the cases whose mark rose and fell; ``p`` is the probability of
    a difference at least as large if the models were alike (McNemar's exact test where every case
    stands alone and is right or wrong, else a permutation test that swaps the models by group).
    """

    suite: str
    category: str
    mark: str
    cases: int
    first: float
    second: float
    interval: Interval
    gained: int
    lost: int
    p: float

    def as_json(self) -> JSON:
        """The difference for a report."""
        return {
            "suite": self.suite,
            "category": self.category,
            "mark": self.mark,
            "cases": self.cases,
            "first": self.first,
            "second": self.second,
            "difference": self.second - self.first,
            "low": self.interval.low,
            "high": self.interval.high,
            "gained": self.gained,
            "lost": self.lost,
            "p": self.p,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the cases that both have. ``only`` counts what just one of them has."""

    names: tuple[str, str]
    differences: list[Difference]
    pairs: list[Pair]
    only: tuple[int, int]

    def as_json(self) -> JSON:
        """The comparison without the single cases."""
        return {
            "first": self.names[0],
            "second": self.names[1],
            "cases": len(self.pairs),
            "only_first": self.only[0],
            "only_second": self.only[1],
            "interval": "paired bootstrap, 95 %",
            "differences": [difference.as_json() for difference in self.differences],
        }


def compare_runs(first: Path, second: Path) -> Comparison:
    """The comparison of two folders of ``toolgrove eval``. EvalError when they share no case."""
    names, outcomes = [], []
    for folder in (first, second):
        file = folder if folder.is_file() else folder / CASES_FILE
        measured, found = read_journal(file)
        names.append(str(measured.get("model") or measured.get("url") or folder))
        outcomes.append(found)
    if names[0] == names[1]:
        names = [f"{names[0]} ({first.name})", f"{names[1]} ({second.name})"]
    return compare((names[0], names[1]), outcomes[0], outcomes[1])


def compare(
    names: tuple[str, str], first: Sequence[Outcome], second: Sequence[Outcome]
) -> Comparison:
    """The comparison of two runs, case by case. EvalError when they share no case."""
    others = {outcome.key: outcome for outcome in second}
    pairs = [Pair(one, others[one.key]) for one in first if one.key in others]
    if not pairs:
        raise EvalError(
            "the two runs have no case in common",
            hint="run both with the same suites, categories and seed",
        )
    differences: list[Difference] = []
    for suite in dict.fromkeys(pair.first.suite for pair in pairs):
        own = [pair for pair in pairs if pair.first.suite == suite]
        for category in [*dict.fromkeys(pair.first.category for pair in own), TOTAL]:
            within = own if category == TOTAL else [p for p in own if p.first.category == category]
            differences += [
                _difference(suite, category, mark, within)
                for mark in dict.fromkeys(mark for pair in within for mark in pair.first.marks)
            ]
    only = (len(first) - len(pairs), len(second) - len(pairs))
    return Comparison(names, [d for d in differences if d.cases], pairs, only)


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p-value: the binomial test of the cases that changed."""
    changed = gained + lost
    if changed == 0:
        return 1.0
    tail = sum(math.comb(changed, count) for count in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**changed)


def _difference(suite: str, category: str, mark: str, pairs: Sequence[Pair]) -> Difference:
    having = [p for p in pairs if mark in p.first.marks and mark in p.second.marks]
    one = [pair.first.marks[mark] for pair in having]
    two = [pair.second.marks[mark] for pair in having]
    groups = [pair.first.group or pair.first.name for pair in having]
    gained = sum(b > a for a, b in zip(one, two, strict=True))
    lost = sum(b < a for a, b in zip(one, two, strict=True))
    plain = all(value in (0, 1) for value in (*one, *two)) and len(set(groups)) == len(groups)
    units = _by_group([b - a for a, b in zip(one, two, strict=True)], groups)
    return Difference(
        suite,
        category,
        mark,
        len(having),
        math.fsum(one) / max(1, len(one)),
        math.fsum(two) / max(1, len(two)),
        _interval(units),
        gained,
        lost,
        mcnemar(gained, lost) if plain else _permuted(units),
    )


class _Unit(NamedTuple):
    """The sum of a group's differences, and how many they are."""

    total: float
    count: int


def _by_group(values: Sequence[float], groups: Sequence[str]) -> list[_Unit]:
    units: dict[str, _Unit] = {}
    for value, group in zip(values, groups, strict=True):
        known = units.get(group, _Unit(0.0, 0))
        units[group] = _Unit(known.total + value, known.count + 1)
    return list(units.values())


def _interval(units: Sequence[_Unit]) -> Interval:
    """The 2.5 % and 97.5 % points of the mean difference over draws of whole groups."""
    if not units:
        return Interval(-1.0, 1.0)
    rng = random.Random(0)
    means: list[float] = []
    for _ in range(DRAWS):
        drawn = rng.choices(units, k=len(units))
        means.append(math.fsum(u.total for u in drawn) / sum(u.count for u in drawn))
    means.sort()
    return Interval(means[round(_TAIL * (DRAWS - 1))], means[round((1 - _TAIL) * (DRAWS - 1))])


def _permuted(units: Sequence[_Unit]) -> float:
    """How often swapping the models at random gives at least the difference that was found."""
    moved = [unit.total for unit in units if unit.total]
    if not moved:
        return 1.0
    found = abs(math.fsum(moved)) - 1e-12
    if len(moved) <= _EXACT:
        signs = range(2 ** len(moved))
        sums = [math.fsum(-v if at >> i & 1 else v for i, v in enumerate(moved)) for at in signs]
        return sum(abs(total) >= found for total in sums) / len(sums)
    rng = random.Random(0)
    hits = 0
    for _ in range(DRAWS):
        swaps = rng.getrandbits(len(moved))
        total = math.fsum(-v if swaps >> i & 1 else v for i, v in enumerate(moved))
        hits += abs(total) >= found
    return (hits + 1) / (DRAWS + 1)


def comparison_table(comparison: Comparison) -> Table:
    """The differences in what is right as a whole, for a terminal."""
    from rich.table import Table

    table = Table(title=f"A {comparison.names[0]}\nB {comparison.names[1]}", title_justify="left")
    for column in ("suite", "category"):
        table.add_column(column)
    for column in ("cases", "A", "B", "B - A", "gained", "lost", "p"):
        table.add_column(column, justify="right")
    for found in (d for d in comparison.differences if d.mark == RIGHT):
        low, high = found.interval
        table.add_row(
            found.suite,
            found.category,
            str(found.cases),
            f"{100 * found.first:.1f} %",
            f"{100 * found.second:.1f} %",
            f"{100 * (found.second - found.first):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            str(found.gained),
            str(found.lost),
            p_in_words(found.p),
        )
    table.caption = "In points; in brackets paired bootstrap 95 % intervals; p by McNemar's test."
    return table


def p_in_words(p: float) -> str:
    """``0.013``, or ``< 0.001``."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
