"""How streaming rows become batches: each window is packed, or padded, by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.packs import PackPlan, Slots, pack, schedule
from toolgrove.train.batches import LengthBatches, Plan, Share
from toolgrove.train.loss import Loss
from toolgrove.train.run import step_of
from toolgrove.train.settings import TrainSettings
from toolgrove.train.source import (
    Feed,
    collators,
    pack_plan,
    packed_val,
    packs,
    padded_plan,
    padded_val,
    tell,
)
from toolgrove.train.stream import Batches, Stream, StreamSource, read_mark
from toolgrove.train.windows import Windows


class Streamed(NamedTuple):
    """What is streamed: its windows, the sequences of the first, how long a sequence can be."""

    windows: Windows
    first: Sequence[Encoded]
    longest: int | None


def stream_feed(
    settings: TrainSettings,
    loss: Loss,
    data: tuple[Streamed, Sequence[Encoded]],
    share: Share,
    resume: Path | None,
) -> Feed:
    """As ``feed``, for streaming rows and held validation rows; goes on from a checkpoint.

    How many batches make an optimizer step follows from the first window.
    """
    (windows, first, longest), val = data
    batches: Batches
    if packs(settings, loss, longest or max(map(len, [*first, *val]))):
        plan = pack_plan(settings, first)
        packing = pack(first, plan)
        turns = settings.accumulation(share.ranks, len(first) / len(packing.packs))
        tell(settings, packing, first, turns)
        batches = partial(packed_window, plan, turns * share.ranks)
        made = partial(collators(settings, first).forest, share=plan.share)
        held = packed_val(settings, val)
    else:
        turns = settings.accumulation(share.ranks)
        batches = partial(padded_window, padded_plan(settings))
        made, held = collators(settings, first).padded, padded_val(settings, val)
    mark = read_mark(resume, windows.size) if resume else None
    stream = Stream(windows, batches, turns, share, mark)
    if resume:
        stream.skip = step_of(resume) * turns
    return Feed(StreamSource(stream, made), held, turns)


def packed_window(
    plan: PackPlan, step: int, sequences: Sequence[Encoded], number: int
) -> list[list[int]]:
    """The packs of a window in the order that they are learnt in; ``step`` make an optimizer
    step."""
    plan = replace(plan, seed=plan.seed + number)
    made = pack(sequences, plan).packs
    (order,) = schedule(made, plan, number, Slots(step))
    return [list(made[place].rows) for place in order]


def padded_window(plan: Plan, sequences: Sequence[Encoded], number: int) -> list[list[int]]:
    """The batches of a window: rows of like length."""
    plan = replace(plan, seed=plan.seed + number)
    drawn = LengthBatches([len(sequence) for sequence in sequences], plan)
    drawn.set_epoch(number)
    return list(drawn)
