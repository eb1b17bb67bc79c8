"""Streaming training data: what a recipe's rows become, window by window."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import DataError
from toolgrove.encoding.job import RowEncoder
from toolgrove.train.cached import job_of, training_of
from toolgrove.train.ranks import rank
from toolgrove.train.recipe import SftSettings
from toolgrove.train.windows import Made, Windows

if TYPE_CHECKING:
    from toolgrove.core.samples import Text
    from toolgrove.data.rows import Row
    from toolgrove.encoding.encoded import Encoded
    from toolgrove.train.pt_recipe import PtSettings
    from toolgrove.train.settings import TrainSettings

logger = logging.getLogger(__name__)

REJECTED = "rejected.jsonl"


def chat_windows(settings: SftSettings, folder: Path, run: Path, limit: int | None) -> Windows:
    """The training rows as sequences of conversations."""
    encoder = RowEncoder(job_of(settings, folder, limit))

    def make(rows: Sequence[Row]) -> Made:
        work = encoder.work(rows)
        return Made(work.sequences, work.rejected, work.idle)

    columns = settings.columns
    rejected = rejected_file(settings, run)
    return Windows(training_of(settings), settings.shuffle_buffer_size, make, rejected, columns)


def text_windows(
    settings: PtSettings, cut: Callable[[Sequence[Text]], Sequence[Encoded]], run: Path
) -> Windows:
    """The training rows as blocks of plain text; no block reaches over the end of a window."""
    from toolgrove.data.stream import mixture_of

    rejected = rejected_file(settings, run)

    def make(rows: Sequence[Row]) -> Made:
        bad: list[dict[str, Any]] = []
        return Made(cut(_texts(rows, settings.columns, bad if rejected else None)), bad)

    columns = settings.columns
    return Windows(mixture_of(settings), settings.shuffle_buffer_size, make, rejected, columns)


def rejected_file(settings: TrainSettings, run: Path) -> Path | None:
    """Where rejected rows are written, empty where a run begins; None where a bad row stops it.

    Only the first process writes.
    """
    if rank() > 0:
        return Path(os.devnull) if settings.on_bad_row == "skip" else None
    if not (settings.resume or settings.resume_from_checkpoint):
        (run / REJECTED).unlink(missing_ok=True)
    return run / REJECTED if settings.on_bad_row == "skip" else None


def look(windows: Windows) -> Made:
    """The first window; says once when rows have nothing to train."""
    first = windows.first()
    if first.idle:
        logger.warning(
            "%d of the first %d rows have nothing to train; such rows are left out",
            first.idle,
            windows.size,
        )
    return first


def _texts(
    rows: Sequence[Row], columns: Mapping[str, str], bad: list[dict[str, Any]] | None
) -> list[Text]:
    """The texts of the rows; bad rows are added to ``bad``, or raise DataError without it."""
    from toolgrove.data.texts import text_of

    found: list[Text] = []
    for row in rows:
        try:
            found.append(text_of(row, columns))
        except DataError as error:
            if bad is None:
                raise
            entry = {"where": row.where, "reason": error.what, "hint": error.hint}
            bad.append({**entry, "row": row.value})
    return found
