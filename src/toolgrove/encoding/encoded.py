"""One training sequence: token ids, a weight for each, and what each token is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from toolgrove.core.spans import Kind


class TokenSpan(NamedTuple):
    """Tokens ``start`` to ``end`` (exclusive) stem from text of one kind of one message."""

    start: int
    end: int
    kind: Kind
    message: int | None


@dataclass(frozen=True, slots=True)
class Encoded:
    """Law: ``len(ids) == len(weights)``; ``spans`` cover all tokens; token 0 weighs 0."""

    ids: list[int]
    weights: list[float]
    spans: list[TokenSpan]
    where: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        """How many tokens weigh more than 0."""
        return len(self.weights) - self.weights.count(0.0)

    def trained_by_kind(self) -> Counter[Kind]:
        """How many tokens of each kind weigh more than 0."""
        counts: Counter[Kind] = Counter()
        for span in self.spans:
            counts[span.kind] += sum(1 for w in self.weights[span.start : span.end] if w > 0)
        return +counts
