"""Batches out of streaming rows, with a mark in each checkpoint where to go on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.encoding.encoded import Encoded
from toolgrove.train.batches import Share
from toolgrove.train.windows import Start, Windows

STREAM = "stream.json"

_BEGINNING = Start()

Batches = Callable[[Sequence[Encoded], int], Sequence[Sequence[int]]]
"""Rows of each batch of a window, by number; also given the window's number."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a stream goes on: behind so many ``batches`` of all processes.

    ``first`` is the number of the first batch of the window that it stands in, which has ``size``
    rows and begins at ``start``.
    """

    size: int
    batches: int = 0
    first: int = 0
    start: Start = _BEGINNING


def read_mark(checkpoint: Path, size: int) -> Mark:
    """The mark in a checkpoint; an error where the run did not stream, or in other windows."""
    file = checkpoint / STREAM
    if not file.is_file():
        raise ModelError(
            "this checkpoint's run did not stream its data",
            where=str(checkpoint),
            hint="go on without --streaming",
        )
    held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if held["size"] != size:
        raise ConfigError(
            f"the run began with a shuffle_buffer_size of {held['size']}, not {size}",
            where=str(file),
            hint=f"--shuffle_buffer_size {held['size']}",
        )
    return Mark(**{**held, "start": Start(*held["start"])})


class Stream(IterableDataset[Any]):
    """The batches of one process, as lists of ``(number, sequence)``, without end.

    Laws: all processes' batches together are those of one process; going on from a mark gives the
    batches that would have come next. Every process reads and encodes all rows.
    """

    def __init__(
        self, windows: Windows, batches: Batches, turns: int, share: Share, mark: Mark | None = None
    ) -> None:
        self._windows = windows
        self._batches = batches
        self._share = share
        self._mark = mark or Mark(windows.size)
        self._turns = turns
        self._marks: deque[Mark] = deque([self._mark], maxlen=2 + turns * share.ranks)
        self._given: deque[dict[int, Encoded]] = deque(maxlen=1 + turns)
        self.skip = 0
        """How many empty batches come first: those that the trainer drops when it goes on."""

    def __iter__(self) -> Iterator[list[tuple[int, Encoded]]]:
        for _ in range(self.skip):
            yield []
        rank, ranks = self._share
        number, rows = self._mark.first, 0
        for start, made in self._windows.since(self._mark.start):
            self._marks.append(Mark(self._windows.size, first=number, start=start))
            for batch in self._batches(made.sequences, start.window):
                if number >= self._mark.batches and number % ranks == rank:
                    items = [(rows + row, made.sequences[row]) for row in batch]
                    self._given.append(dict(items))
                    yield items
                number += 1
            rows += len(made.sequences)

    def sequence(self, number: int) -> Encoded:
        """A sequence of the batches of the present optimizer step."""
        return next(given[number] for given in self._given if number in given)

    def save(self, folder: Path, steps: int) -> None:
        """Writes the mark behind so many optimizer steps of this run and those it went on from."""
        done = steps * self._turns * self._share.ranks
        mark = max((m for m in self._marks if m.first <= done), key=lambda m: m.start.window)
        held = {**asdict(mark), "batches": done, "start": list(mark.start)}
        (folder / STREAM).write_text(json.dumps(held) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A stream, and how its batches are made into tensors."""

    stream: Stream
    collate: Callable[[Any], dict[str, Any]]

    @property
    def dataset(self) -> Stream:
        """What the trainer is told that it trains on."""
        return self.stream

    def sequence(self, number: int) -> Encoded:
        """The sequence of that number, of the present optimizer step."""
        return self.stream.sequence(number)

    def loader(self, _share: Share, **options: Any) -> DataLoader[Any]:
        """The batches of this process as tensors."""
        return DataLoader(
            self.stream,
            batch_size=None,
            collate_fn=self.collate,
            generator=torch.Generator(),  # keeps the loader away from dropout's random numbers
            **options,
        )
