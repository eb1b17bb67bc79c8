"""Shares of cases that went right, with 95 % Wilson intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolgrove.core.messages import JSON
from toolgrove.eval.cases import Result

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

TOTAL = "total"


class Interval(NamedTuple):
    """From where to where a share may reach."""

    low: float
    high: float


class Share(NamedTuple):
    """``hits`` out of ``cases``."""

    hits: int
    cases: int

    @property
    def value(self) -> float:
        """The share itself; 0 without cases."""
        return self.hits / self.cases if self.cases else 0.0

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % score interval: sound for small samples and for shares near 0 and 1."""
        return wilson(self.hits, self.cases)

    def as_json(self) -> JSON:
        """The share with its interval, for a report."""
        low, high = self.interval
        return {"share": self.value, "low": low, "high": high, "hits": self.hits}


@dataclass(frozen=True, slots=True)
class Score:
    """How one category went: valid format, right function, right arguments."""

    category: str
    cases: int
    format: Share
    function: Share
    arguments: Share

    def as_json(self) -> JSON:
        """The score as a report holds it."""
        return {
            "category": self.category,
            "cases": self.cases,
            "format": self.format.as_json(),
            "function": self.function.as_json(),
            "arguments": self.arguments.as_json(),
        }


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


def score(results: Sequence[Result]) -> list[Score]:
    """A score for each category in the order of its first case, then one for all together."""
    categories = list(dict.fromkeys(result.case.category for result in results))
    scores = [
        _score(name, [result for result in results if result.case.category == name])
        for name in categories
    ]
    return [*scores, _score(TOTAL, results)]


def _score(name: str, results: Sequence[Result]) -> Score:
    return Score(
        name,
        len(results),
        _share(results, lambda result: result.format),
        _share(results, lambda result: result.function),
        _share(results, lambda result: result.arguments),
    )


def _share(results: Iterable[Result], right: Callable[[Result], bool]) -> Share:
    verdicts = [right(result) for result in results]
    return Share(sum(verdicts), len(verdicts))
