"""One training sequence: token ids, a weight for each, and what each token is."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from toolgrove.core.spans import Kind, Span

Owner: TypeAlias = tuple[Span, float]
"""A span and its weight."""
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
    def of(cls, ids: array[int], ends: Iterable[int], owners: Iterable[Owner]) -> Coded:
        """The sequence of these ids. Each owner has the tokens from the end of the one before up to
        its own: maybe none."""
        span_ends: list[int] = []
        kinds: list[int] = []
        messages: list[int] = []
        weight_ends: list[int] = []
        weights: list[float] = []
        before = 0
        last_kind = last_message = last_weight = None
        for end, ((_, kind, message, _), weight) in zip(ends, owners, strict=True):
            if end == before:
                continue
            before = end
            if kind is last_kind and message == last_message:
                span_ends[-1] = end
            else:
                span_ends.append(end)
                kinds.append(NUMBER_OF[kind])
                messages.append(NO_MESSAGE if message is None else message)
                last_kind, last_message = kind, message
            if weight == last_weight:
                weight_ends[-1] = end
            else:
                weight_ends.append(end)
                weights.append(weight)
                last_weight = weight
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

    @property
    def trains(self) -> bool:
        """Whether any token weighs more than 0."""
        return any(self.weights)

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
