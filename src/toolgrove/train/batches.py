"""Batches of encoded sequences: which rows go together, and how they become tensors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from toolgrove.core.errors import ConfigError
from toolgrove.encoding.cache import CachedSequences
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.forest import Forest, grow
from toolgrove.encoding.kinds import NAMES
from toolgrove.encoding.packs import Pack, PackPlan, Slots, schedule
from toolgrove.train.layout import Layout

_POOL_BATCHES = 50
NO_CHANNEL = "other"
"""The channel of rows that name none."""


ByKind: TypeAlias = Callable[[Encoded], Mapping[str, list[float]]]
"""The weights of a row by kind of token; they add up to the row's weights."""


class Sequences(Dataset[Any]):
    """Encoded sequences by number; an item is ``(number, sequence)``."""

    def __init__(self, encoded: Sequence[Encoded]) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> tuple[int, Encoded]:
        return index, self.encoded[index]

    def lengths(self) -> list[int]:
        """How many tokens each sequence has; those of a cache are not read for it."""
        if isinstance(self.encoded, CachedSequences):
            return self.encoded.lengths()
        return [len(sequence) for sequence in self.encoded]


@dataclass(frozen=True, slots=True)
class Plan:
    """How batches are drawn: by a number of rows, or by a budget of tokens, padding included."""

    rows: int = 1
    tokens: int | None = None
    by_length: bool = True
    seed: int = 42


class Share(NamedTuple):
    """Which training process this is, of how many."""

    rank: int = 0
    ranks: int = 1


class Part(NamedTuple):
    """Which part of each sequence a process has, of how many, and the rows of every batch."""

    number: int
    parts: int
    rows: int


@dataclass(frozen=True, slots=True)
class Source:
    """Sequences, how batches of a process's share of them are drawn, and made into tensors."""

    sequences: Sequences
    batches: Callable[[Share], Sampler[list[int]]]
    collate: Callable[[Any], dict[str, Any]]

    @property
    def dataset(self) -> Sequences:
        """What the trainer is told that it trains on."""
        return self.sequences

    def sequence(self, number: int) -> Encoded:
        """The sequence of that number."""
        return self.sequences.encoded[number]

    def loader(self, share: Share, **options: Any) -> DataLoader[Any]:
        """The batches of a process as tensors, epoch by epoch."""
        return EpochLoader(
            self.sequences,
            batch_sampler=self.batches(share),
            collate_fn=self.collate,
            generator=torch.Generator(),  # keeps the loader away from dropout's random numbers
            **options,
        )


class EpochLoader(DataLoader[Any]):
    """A data loader that passes the epoch on to its batches."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches come next."""
        self.batch_sampler.set_epoch(epoch)  # pyright: ignore


class LengthBatches(Sampler[list[int]]):
    """Batches of rows of like length, in random order; the longest batch of a run comes first.

    Law: the batches of an epoch depend on lengths, plan and epoch only; every epoch has equally
    many; each row comes once in an epoch. Of several processes each takes its share; where the
    batches do not go round, a share ends with an empty batch.
    """

    def __init__(self, lengths: Sequence[int], plan: Plan, share: Share | None = None) -> None:
        self._lengths = lengths
        self._plan = plan
        self._share = share or Share()
        self._epoch = 0
        self._first = self._cut(0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches come next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._first) // self._share.ranks)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._ordered(self._epoch)
        rank, ranks = self._share
        batches += [[] for _ in range(-len(batches) % ranks)]
        return iter(batches[rank::ranks])

    def _ordered(self, epoch: int) -> list[list[int]]:
        # Under a token budget the number of batches depends on who meets whom, so all epochs
        # keep the batches of the first and change their order only.
        batches = list(self._first) if self._plan.tokens or epoch == 0 else self._cut(epoch)
        random.Random(f"{self._plan.seed}/order/{epoch}").shuffle(batches)
        if epoch == 0 and batches:
            longest = max(range(len(batches)), key=lambda b: self._size(batches[b]))
            batches.insert(0, batches.pop(longest))
        return batches

    def _size(self, batch: Sequence[int]) -> int:
        return len(batch) * max(self._lengths[row] for row in batch)

    def _cut(self, epoch: int) -> list[list[int]]:
        order = list(range(len(self._lengths)))
        random.Random(f"{self._plan.seed}/rows/{epoch}").shuffle(order)
        if not self._plan.by_length:
            return self._slices(order)
        if self._plan.tokens:
            return self._slices(sorted(order, key=lambda row: -self._lengths[row]))
        pool = self._plan.rows * _POOL_BATCHES
        pools = (order[start : start + pool] for start in range(0, len(order), pool))
        near = (sorted(rows, key=lambda row: -self._lengths[row]) for rows in pools)
        return [batch for rows in near for batch in self._slices(rows)]

    def _slices(self, order: Sequence[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        batch: list[int] = []
        for row in order:
            if batch and not self._fits([*batch, row]):
                batches.append(batch)
                batch = []
            batch.append(row)
        return [*batches, batch] if batch else batches

    def _fits(self, batch: Sequence[int]) -> bool:
        if self._plan.tokens:
            return self._size(batch) <= self._plan.tokens
        return len(batch) <= self._plan.rows


class PackBatches(Sampler[list[int]]):
    """The rows of one pack after the other, of this process's share of the packs.

    Laws as of ``LengthBatches``; ``turns`` packs on each process make an optimizer step.
    """

    def __init__(
        self, packs: Sequence[Pack], plan: PackPlan, turns: int, share: Share | None = None
    ) -> None:
        self._packs = packs
        self._plan = plan
        self._share = share or Share()
        self._slots = Slots(turns, self._share.ranks)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose packs come next."""
        self._epoch = epoch

    def __len__(self) -> int:
        turns, ranks = self._slots
        steps, rest = divmod(len(self._packs), turns * ranks)
        return steps * turns + -(-rest // ranks)

    def __iter__(self) -> Iterator[list[int]]:
        lines = schedule(self._packs, self._plan, self._epoch, self._slots)
        for number in lines[self._share.rank]:
            yield [] if number < 0 else list(self._packs[number].rows)


def collate(
    items: Sequence[tuple[int, Encoded]], *, channels: bool = False, kinds: ByKind | None = None
) -> dict[str, Any]:
    """Pads rows on the right: ``input_ids`` and ``weights`` (padding weighs 0), with ``counts``.

    No items make a batch of one untrained token, so that a process without work can keep step
    with the others. With ``channels`` the weights of each channel are told too, with ``kinds``
    those of each kind of token.
    """
    longest = max((len(encoded) for _, encoded in items), default=1)
    lines = max(len(items), 1)
    input_ids = torch.zeros(lines, longest, dtype=torch.long)
    weights = torch.zeros(lines, longest)
    for line, (_, encoded) in enumerate(items):
        input_ids[line, : len(encoded)] = torch.tensor(encoded.ids)
        weights[line, : len(encoded)] = torch.tensor(encoded.weights)
    batch: dict[str, Any] = {"input_ids": input_ids, "weights": weights, **_counts(items)}
    if channels or kinds:
        batch["channels"] = told = dict[str, Tensor]()
        for line, each in enumerate(_told([row for _, row in items], kinds, channels=channels)):
            for name, own in each.items():
                told.setdefault(name, torch.zeros_like(weights))[line, : len(own)] = torch.tensor(
                    own
                )
    return batch


def channel_name(row: Encoded) -> str:
    """The channel that a row's loss is told under."""
    return row.channel or NO_CHANNEL


def _told(
    rows: Sequence[Encoded], kinds: ByKind | None, *, channels: bool
) -> list[dict[str, list[float]]]:
    """For each row the weights whose loss is told by itself, by name.

    ConfigError for a channel that has the name of a kind.
    """
    found: list[dict[str, list[float]]] = []
    for row in rows:
        parts = dict(kinds(row)) if kinds else {}
        if channels:
            name = channel_name(row)
            if kinds and name in NAMES:
                raise ConfigError(
                    f'the channel "{name}" has the name of a kind of tokens',
                    where=row.where or None,
                    hint="--eval_loss_by_kind false, or another name",
                )
            parts[name] = row.weights
        found.append(parts)
    return found


def collate_part(
    items: Sequence[tuple[int, Encoded]], *, part: Part
) -> dict[str, Tensor | dict[str, Any]]:
    """A process's part of rows that several processes compute together, each the same number.

    ``input_ids`` and the ``weights`` of what follows each are [rows, tokens of the part]. Missing
    rows are filled up untrained. Only the first part counts.
    """
    whole = collate(items)
    ids, weights = whole["input_ids"], whole["weights"]
    lines, longest = part.rows - len(ids), ids.shape[1]
    wide = -longest % part.parts
    ids = functional.pad(ids, (0, wide + 1, 0, lines))
    weights = functional.pad(weights, (0, wide + 1, 0, lines))
    width = (longest + wide) // part.parts
    mine = slice(part.number * width, (part.number + 1) * width)
    return {
        "input_ids": ids[:, :-1][:, mine],
        "weights": weights[:, 1:][:, mine],
        "part": {
            "targets": ids[:, 1:][:, mine],
            "positions": torch.arange(longest + wide)[mine].expand(part.rows, -1).contiguous(),
        },
        **_counts(items if part.number == 0 else []),
        "rows": whole["rows"],
    }


def collate_forest(
    items: Sequence[tuple[int, Encoded]],
    *,
    share: bool = True,
    channels: bool = False,
    kinds: ByKind | None = None,
) -> dict[str, Tensor | dict[str, Any]]:
    """Rows as one forest: ``input_ids``, the ``weights`` of its targets, its ``tree``, ``counts``.

    No items make a forest of one untrained token.
    """
    idle = Encoded([0], [0.0], [])
    rows = [encoded for _, encoded in items]
    forest = grow(rows or [idle], share=share)
    told: dict[str, Any] = {}
    if channels or kinds:
        parts = _told(rows, kinds, channels=channels)
        told["channels"] = _of_targets(rows, parts, forest, share=share)
    return {
        **told,
        "input_ids": torch.tensor([forest.ids]),
        "weights": torch.tensor([target.weight for target in forest.targets]),
        "tree": {
            "positions": torch.tensor(forest.positions),
            "at": torch.tensor([target.at for target in forest.targets], dtype=torch.long),
            "targets": torch.tensor([target.id for target in forest.targets], dtype=torch.long),
            "layout": Layout(forest.nodes),
        },
        **_counts(items),
    }


def _of_targets(
    rows: Sequence[Encoded],
    told: Sequence[Mapping[str, list[float]]],
    forest: Forest,
    *,
    share: bool,
) -> dict[str, Tensor]:
    """The weights of the forest's targets that are told by themselves.

    The same rows with some of their weights only grow into the same forest with fewer targets.
    """
    places = {(target.at, target.id): place for place, target in enumerate(forest.targets)}
    found: dict[str, Tensor] = {}
    for name in sorted({name for each in told for name in each}):
        only = [
            replace(row, weights=each.get(name) or [0.0] * len(row))
            for row, each in zip(rows, told, strict=True)
        ]
        found[name] = torch.zeros(len(places))
        for target in grow(only, share=share).targets:
            found[name][places[target.at, target.id]] = target.weight
    return found


def _counts(items: Sequence[tuple[int, Encoded]]) -> dict[str, Tensor]:
    """The sequences' numbers; of all rows in full: tokens, trained tokens, sum of weights."""
    rows = [encoded for _, encoded in items]
    return {
        "rows": torch.tensor([number for number, _ in items], dtype=torch.long),
        "tokens": torch.tensor(sum(map(len, rows))),
        "trained": torch.tensor(sum(row.trained for row in rows)),
        "weight": torch.tensor(sum(sum(row.weights) for row in rows), dtype=torch.float32),
    }
