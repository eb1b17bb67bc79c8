"""How a run's sequences become batches: as forests, as packs without sharing, or padded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import ConfigError
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.packs import Packing, PackPlan, cost, pack
from toolgrove.encoding.scored import Scored
from toolgrove.models.head import causal
from toolgrove.train.batches import (
    ByKind,
    LengthBatches,
    PackBatches,
    Part,
    Plan,
    Sequences,
    Source,
    collate,
    collate_forest,
    collate_part,
)
from toolgrove.train.budget import FILE, fitting, read_budget, write_budget
from toolgrove.train.loss import Loss
from toolgrove.train.probe import set_to_forests
from toolgrove.train.ranks import rank
from toolgrove.train.scored import collate_scored, collate_scored_forest
from toolgrove.train.settings import ROWS_PER_STEP, TrainSettings
from toolgrove.train.stream import StreamSource

logger = logging.getLogger(__name__)

WORTH = 1.15
"""How many times less forests must cost than padded batches to be chosen: their attention is many
small pieces, which keeps processors less busy than a few large ones."""

TOKENS_PER_PACK = 4096
"""Tokens of a pack where no setting says otherwise; a longer row makes all packs longer."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What training and validation draw batches from, and the batches of an optimizer step."""

    train: Source | StreamSource
    val: Source | None
    accumulation: int


def feed(
    settings: TrainSettings,
    loss: Loss,
    sequences: tuple[Sequence[Encoded], Sequence[Encoded]],
    ranks: int,
    run: Path | None = None,
) -> Feed:
    """Batches of the training and validation ``sequences``, as settings and model allow.

    The model is set to tree attention where rows are packed. Where ``forest`` is auto, batches
    are padded if the model cannot run forests, or if they would not pay; that and why is said
    once in the log. With ``auto_budget`` the budget found is kept in the folder ``run``. Errors:
    ConfigError where ``forest`` is on and the model cannot.
    """
    train, val = sequences
    if settings.sequence_parallel_size > 1:
        return _parted(settings, train, val, ranks)
    plan = pack_plan(settings, train)
    packing = pack(train, plan) if settings.forest != "off" or settings.packing else None
    longest = max(_lengths(train) + _lengths(val))
    if packing is None or not _pays(settings, packing, train) or not packs(settings, loss, longest):
        padded, budget = padded_plan(settings), settings.tokens_per_batch
        lengths = enumerate(_lengths(train))
        _tell_longer(settings, train, [n for n, size in lengths if budget and size > budget])
        source = _rows(train, padded, collators(settings, train))
        return Feed(source, padded_val(settings, val), settings.accumulation(ranks))
    accumulation = settings.accumulation(ranks, len(train) / len(packing.packs))
    if settings.auto_budget and run is not None:
        before = len(packing.packs)
        plan = _within_memory(settings, loss, train, plan, run)
        packing = pack(train, plan)
        accumulation = -(-accumulation * len(packing.packs) // before)  # a step keeps its rows
    tell(settings, packing, train, accumulation)
    source = _packed(train, packing, plan, accumulation, collators(settings, train))
    return Feed(source, packed_val(settings, val), accumulation)


class Made(NamedTuple):
    """How a batch becomes tensors: its rows padded, or as a forest."""

    padded: Callable[[Any], dict[str, Any]]
    forest: Callable[..., dict[str, Any]]


def collators(settings: TrainSettings, rows: Sequence[Encoded]) -> Made:
    """How batches of such rows become tensors."""
    if isinstance(rows[0], Scored):
        return Made(collate_scored, collate_scored_forest)
    told = settings.enable_channel_loss
    return Made(partial(collate, channels=told), partial(collate_forest, channels=told))


def by_kind(fed: Feed, kinds: ByKind) -> Feed:
    """The same batches; validation also tells the loss of each kind of token."""
    if fed.val is None:
        return fed
    collate: Any = fed.val.collate
    return replace(fed, val=replace(fed.val, collate=partial(collate, kinds=kinds)))


def _within_memory(
    settings: TrainSettings, loss: Loss, train: Sequence[Encoded], plan: PackPlan, run: Path
) -> PackPlan:
    """The plan with a budget that fits, or with the one that the run began with."""
    file = run / FILE
    if settings.resume or settings.resume_from_checkpoint:
        return replace(plan, tokens=read_budget(file))
    made = partial(collators(settings, train).forest, share=plan.share)
    found = fitting(loss, train, plan, made)
    write_budget(file, found.tokens)
    return found


def packs(settings: TrainSettings, loss: Loss, longest: int) -> bool:
    """Whether rows of up to ``longest`` tokens are packed: as the settings want and the model can.

    The model is set to it. ConfigError where it must and cannot.
    """
    if settings.forest == "off" and not settings.packing:
        return False
    why = set_to_forests(loss, longest)
    if not why:
        return True
    name = type(causal(loss.model)).__name__
    if settings.forest == "on" or settings.packing:
        raise ConfigError(
            f"{name} cannot run forests or packs: {why}", hint="--forest auto and --packing false"
        )
    logger.warning("%s cannot run forests (%s): batches are padded", name, why)
    return False


def _pays(settings: TrainSettings, packing: Packing, train: Sequence[Encoded]) -> bool:
    """Whether forests cost clearly less than padded batches, or were asked for.

    Where it was for us to choose, one line in the log says what was chosen, and why.
    """
    if settings.forest == "on" or settings.packing or settings.auto_budget:
        return True
    lengths = _lengths(train)
    padded, computed = 0.0, 0
    for batch in LengthBatches(lengths, padded_plan(settings)):
        longest = max(lengths[row] for row in batch)
        computed += len(batch) * longest
        padded += cost(len(batch) * longest, len(batch) * longest * (longest + 1) // 2)
    times = padded / sum(one.cost for one in packing.packs)
    logger.info(
        "%s: forests compute %s tokens, padded batches %s, which with attention is %.2f times"
        " the work (%s is worth it)",
        "forests" if times >= WORTH else "padded batches",
        f"{packing.sharing.forests:,}",
        f"{computed:,}",
        times,
        WORTH,
    )
    return times >= WORTH


def pack_plan(settings: TrainSettings, train: Sequence[Encoded]) -> PackPlan:
    """How the rows are packed."""
    tokens, rows = settings.tokens_per_batch, settings.per_device_train_batch_size
    if tokens is None and rows is None:
        tokens = max(TOKENS_PER_PACK, *_lengths(train))
        rows = ROWS_PER_STEP
    return PackPlan(
        tokens=tokens,
        rows=rows,
        mix=settings.forest_mix,
        share=settings.forest != "off",
        seed=settings.data_seed,
    )


def _packed(
    rows: Sequence[Encoded], packing: Packing, plan: PackPlan, turns: int, made: Made
) -> Source:
    batches = partial(PackBatches, packing.packs, plan, turns)
    return Source(Sequences(rows), batches, partial(made.forest, share=plan.share))


def packed_val(settings: TrainSettings, val: Sequence[Encoded]) -> Source | None:
    """Packs of validation rows, if there are any."""
    rows, share = settings.per_device_eval_batch_size, settings.forest != "off"
    plan = PackPlan(rows=rows, share=share, mix=ROWS_PER_STEP)
    return _packed(val, pack(val, plan), plan, 1, collators(settings, val)) if val else None


def padded_val(settings: TrainSettings, val: Sequence[Encoded]) -> Source | None:
    """Padded batches of validation rows, if there are any."""
    plan = Plan(rows=settings.per_device_eval_batch_size, seed=settings.data_seed)
    return _rows(val, plan, collators(settings, val)) if val else None


def padded_plan(settings: TrainSettings) -> Plan:
    """How batches are drawn that are padded."""
    return Plan(
        rows=settings.per_device_train_batch_size or 1,
        tokens=settings.tokens_per_batch,
        by_length=settings.group_by_length,
        seed=settings.data_seed,
    )


def _parted(
    settings: TrainSettings, train: Sequence[Encoded], val: Sequence[Encoded], ranks: int
) -> Feed:
    """Rows of which each process of a group has a part; all batches have equally many rows.

    Validation has whole rows: DeepSpeed shares sequences in training only.
    """
    parts = settings.sequence_parallel_size
    rows = settings.per_device_train_batch_size or 1
    plan = Plan(rows=rows, by_length=settings.group_by_length, seed=settings.data_seed)
    part = Part(rank() % parts, parts, rows)

    learnt = replace(
        _rows(train, plan, collators(settings, train)), collate=partial(collate_part, part=part)
    )
    return Feed(learnt, padded_val(settings, val), settings.accumulation(ranks // parts))


def _rows(rows: Sequence[Encoded], plan: Plan, made: Made) -> Source:
    return Source(Sequences(rows), partial(LengthBatches, _lengths(rows), plan), made.padded)


def _lengths(rows: Sequence[Encoded]) -> list[int]:
    return Sequences(rows).lengths()


def tell(
    settings: TrainSettings, packing: Packing, train: Sequence[Encoded], accumulation: int
) -> None:
    """Says once what packing saves, and which rows are longer than the packs should be."""
    sharing = packing.sharing
    logger.info(
        "%s tokens in rows, %s computed (%.2f times fewer), in %d packs, %d for each step",
        f"{sharing.rows:,}",
        f"{sharing.forests:,}",
        sharing.ratio,
        len(packing.packs),
        accumulation,
    )
    _tell_longer(settings, train, packing.longer)


def _tell_longer(settings: TrainSettings, train: Sequence[Encoded], longer: Sequence[int]) -> None:
    """Names the longest of the rows that are longer than a batch should be."""
    if not longer:
        return
    longest = max(longer, key=lambda number: len(train[number]))
    logger.warning(
        "%d rows are longer than --tokens_per_batch %s and run alone; the longest has %d (%s)",
        len(longer),
        settings.tokens_per_batch,
        len(train[longest]),
        train[longest].where,
    )
