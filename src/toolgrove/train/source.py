"""How a run's sequences become batches: as forests, as packs without sharing, or padded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from toolgrove.core.errors import ConfigError
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.packs import Packing, PackPlan, pack
from toolgrove.models.head import causal
from toolgrove.train.batches import (
    LengthBatches,
    PackBatches,
    Plan,
    Sequences,
    Source,
    collate,
    collate_forest,
)
from toolgrove.train.loss import WeightedLoss
from toolgrove.train.probe import set_to_forests
from toolgrove.train.settings import ROWS_PER_STEP, TrainSettings

logger = logging.getLogger(__name__)

TOKENS_PER_PACK = 4096
"""Tokens of a pack where no setting says otherwise; a longer row makes all packs longer."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What training and validation draw batches from, and the batches of an optimizer step."""

    train: Source
    val: Source | None
    accumulation: int


def feed(
    settings: TrainSettings,
    loss: WeightedLoss,
    sequences: tuple[Sequence[Encoded], Sequence[Encoded]],
    ranks: int,
) -> Feed:
    """Batches of the training and validation ``sequences``, as settings and model allow.

    The model is set to tree attention where rows are packed. Where it cannot run them, batches
    are padded, which is said once in the log. Errors: ConfigError where ``forest`` is on and the
    model cannot.
    """
    train, val = sequences
    wanted = settings.forest != "off" or settings.packing
    if not wanted or not _able(settings, loss, max(_lengths(train) + _lengths(val))):
        return _padded(settings, train, val, ranks)
    plan = _plan(settings, train)
    packing = pack(train, plan)
    accumulation = settings.accumulation(ranks, len(train) / len(packing.packs))
    _tell(settings, packing, train, accumulation)
    for_val = PackPlan(
        rows=settings.per_device_eval_batch_size, share=plan.share, mix=ROWS_PER_STEP
    )
    return Feed(
        _packed(train, packing, plan, accumulation),
        _packed(val, pack(val, for_val), for_val, 1) if val else None,
        accumulation,
    )


def _able(settings: TrainSettings, loss: WeightedLoss, longest: int) -> bool:
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


def _plan(settings: TrainSettings, train: Sequence[Encoded]) -> PackPlan:
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


def _packed(rows: Sequence[Encoded], packing: Packing, plan: PackPlan, turns: int) -> Source:
    return Source(
        Sequences(rows),
        partial(PackBatches, packing.packs, plan, turns),
        partial(collate_forest, share=plan.share),
    )


def _padded(
    settings: TrainSettings, train: Sequence[Encoded], val: Sequence[Encoded], ranks: int
) -> Feed:
    plan = Plan(
        rows=settings.per_device_train_batch_size or 1,
        tokens=settings.tokens_per_batch,
        by_length=settings.group_by_length,
        seed=settings.data_seed,
    )
    for_val = Plan(rows=settings.per_device_eval_batch_size, seed=plan.seed)
    return Feed(
        _rows(train, plan), _rows(val, for_val) if val else None, settings.accumulation(ranks)
    )


def _rows(rows: Sequence[Encoded], plan: Plan) -> Source:
    return Source(Sequences(rows), partial(LengthBatches, _lengths(rows), plan), collate)


def _lengths(rows: Sequence[Encoded]) -> list[int]:
    return Sequences(rows).lengths()


def _tell(
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
    if packing.longer:
        longest = max(packing.longer, key=lambda number: len(train[number]))
        logger.warning(
            "%d rows are longer than --tokens_per_batch %s and run alone; the longest has %d (%s)",
            len(packing.longer),
            settings.tokens_per_batch,
            len(train[longest]),
            train[longest].where,
        )
