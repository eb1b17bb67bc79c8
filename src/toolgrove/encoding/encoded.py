"""One training sequence: token ids, a weight for each, and what each token is."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from toolgrove.core.spans import Kind

KINDS = tuple(Kind)
"""The kinds by their numbers in ``Coded.span_kinds``."""
NUMBER_OF = {kind: number for number, kind in enumerate(KINDS)}
NO_MESSAGE = -1
"""The number of the message of a span that belongs to none."""


class TokenSpan(NamedTuple):
    """Tokens ``start`` to ``end`` (exclusive) stem from text of one kind of one message."""

    start: int
    end: int
    kind: Kind
    message: int | None


@dataclass(frozen=True, slots=True)
class Encoded:
    """Law: ``len(ids) == len(weights)``; ``spans`` cover all tokens; token 0 weighs 0.

    ``channel`` names the kind of data whose loss is told by itself.
    """

    ids: list[int]
    weights: list[float]
    spans: list[TokenSpan]
    where: str = ""
    channel: str = ""

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


def _ints() -> array[int]:
    return array("i")


def _bytes() -> array[int]:
    return array("b")


def _floats() -> array[float]:
    return array("d")


class Run(NamedTuple):
    """Tokens from the end of the run before up to ``end``: a kind and a message by their numbers,
    and a weight. A run may be empty, and its neighbours may be like it."""

    end: int
    kind: int
    message: int
    weight: float


@dataclass(slots=True)
class Coded:
    """One training sequence as columns of numbers, weights and spans as runs of tokens.

    Each span and each run of one weight goes from the end of the one before to its own; neighbours
    differ. ``span_kinds`` are numbers in ``KINDS``.
    """

    ids: array[int] = field(default_factory=_ints)
    span_ends: array[int] = field(default_factory=_ints)
    span_kinds: array[int] = field(default_factory=_bytes)
    span_messages: array[int] = field(default_factory=_ints)
    weight_ends: array[int] = field(default_factory=_ints)
    weights: array[float] = field(default_factory=_floats)

    @classmethod
    def of(cls, ids: array[int], runs: Iterable[Run]) -> Coded:
        """The sequence of these ids, owned and weighed by runs that cover it."""
        span_ends: list[int] = []
        kinds: list[int] = []
        messages: list[int] = []
        weight_ends: list[int] = []
        weights: list[float] = []
        before = 0
        for end, kind, message, weight in runs:
            if end == before:
                continue
            if kinds and kind == kinds[-1] and message == messages[-1]:
                span_ends[-1] = end
            else:
                span_ends.append(end)
                kinds.append(kind)
                messages.append(message)
            if weights and weight == weights[-1]:
                weight_ends[-1] = end
            else:
                weight_ends.append(end)
                weights.append(weight)
            before = end
        return cls(
            ids,
            array("i", span_ends),
            array("b", kinds),
            array("i", messages),
            array("i", weight_ends),
            array("d", weights),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        """How many tokens weigh more than 0."""
        runs = pairwise((0, *self.weight_ends))
        return sum(
            [end - start for (start, end), w in zip(runs, self.weights, strict=True) if w != 0.0]
        )

    def without_first(self) -> Coded:
        """The same sequence, its first token not trained."""
        if self.weights and self.weights[0] != 0.0:
            if self.weight_ends[0] == 1 and self.weights[1:2] == array("d", [0.0]):
                self.weight_ends.pop(0)
                self.weights.pop(0)
            elif self.weight_ends[0] == 1:
                self.weights[0] = 0.0
            else:
                self.weight_ends.insert(0, 1)
                self.weights.insert(0, 0.0)
        return self

    def encoded(self, where: str = "") -> Encoded:
        """The same sequence with a weight for each token."""
        weights: list[float] = []
        for end, weight in zip(self.weight_ends, self.weights, strict=True):
            weights += [weight] * (end - len(weights))
        spans: list[TokenSpan] = []
        start = 0
        for end, kind, message in zip(
            self.span_ends, self.span_kinds, self.span_messages, strict=True
        ):
            owner = None if message == NO_MESSAGE else message
            spans.append(TokenSpan(start, end, KINDS[kind], owner))
            start = end
        return Encoded(self.ids.tolist(), weights, spans, where)
