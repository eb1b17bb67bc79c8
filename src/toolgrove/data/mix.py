"""Rows of several sources in exact ratios, in an order that the sources alone decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TypeVar

from toolgrove.core.errors import ConfigError

T = TypeVar("T")
Stream = Callable[[], Iterator[T]]
"""Begins to read a source from its first item."""


class Stopping(StrEnum):
    """When interleaving ends."""

    FIRST_EXHAUSTED = "first_exhausted"
    """as soon as the source whose turn it is has no more rows"""
    ALL_EXHAUSTED = "all_exhausted"
    """when every source was read to its end; shorter ones begin anew"""


def interleave(
    streams: Sequence[Stream[T]], weights: Sequence[float], stopping: Stopping
) -> Iterator[T]:
    """Items of the streams, as many of each as its weight says.

    Law: among any first n items, each stream has its share of n to within one item. Nothing is
    drawn by chance.
    """
    total = _checked(streams, weights)
    running = [stream() for stream in streams]
    ended = [False] * len(streams)
    taken = [0] * len(streams)
    for count in range(1, 2**62):
        turn = max(range(len(streams)), key=lambda i: (count * weights[i] / total - taken[i], -i))
        found = next(running[turn], _END)
        if isinstance(found, _End):
            ended[turn] = True
            if stopping is Stopping.FIRST_EXHAUSTED or all(ended) or not taken[turn]:
                return
            running[turn] = streams[turn]()
            found = next(running[turn], _END)
            if isinstance(found, _End):
                return
        taken[turn] += 1
        yield found


def merge(streams: Sequence[Iterator[T]], counts: Sequence[int]) -> Iterator[T]:
    """All items of the streams, each spread evenly over the whole; ``counts`` are their numbers."""
    total = sum(counts)
    taken = [0] * len(streams)
    for count in range(1, total + 1):
        turn = max(range(len(streams)), key=lambda i: (count * counts[i] / total - taken[i], -i))
        taken[turn] += 1
        yield next(streams[turn])


class _End:
    pass


_END = _End()


def _checked(streams: Sequence[Stream[T]], weights: Sequence[float]) -> float:
    if len(weights) != len(streams):
        raise ConfigError(
            f"{len(weights)} weights for {len(streams)} data sources",
            hint="--interleave_prob takes one number for each --dataset",
        )
    if any(not 0 < weight < float("inf") for weight in weights):
        raise ConfigError(
            f"weights are numbers above 0, not {', '.join(map(str, weights))}",
            hint="leave a source out instead of giving it 0",
        )
    return sum(weights)
