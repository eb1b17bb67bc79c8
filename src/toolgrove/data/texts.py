"""Plain texts from data sources, for pre-training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from toolgrove.core.errors import DataError
from toolgrove.core.samples import Text
from toolgrove.data.groups import held_out
from toolgrove.data.load import (
    DataSettings,
    Rejected,
    no_usable_row,
    read_rows,
    rename_columns,
    write_rejected,
)
from toolgrove.data.rows import Row
from toolgrove.data.samples import sample
from toolgrove.data.stream import Mixture

_log = logging.getLogger(__name__)


class Texts(NamedTuple):
    """The texts of all sources, and how many rows were rejected."""

    texts: list[Text]
    rejected: int


def load_texts(mixture: Mixture, settings: DataSettings) -> Texts:
    """Reads the texts of every row, as ``load_chats`` reads conversations.

    A row that holds anything but one text is bad, and so is an empty text.
    """
    rejected: list[Rejected] = []
    texts = list(read_rows(mixture, settings, rejected, text_of))
    kept_in = write_rejected(Path(settings.rejected_file), rejected) if rejected else None
    if rejected:
        total = len(texts) + len(rejected)
        _log.warning("%d of %d rows rejected, see %s", len(rejected), total, kept_in)
    if not texts:
        raise no_usable_row(mixture.specs, rejected, kept_in)
    return Texts(texts, len(rejected))


def text_of(row: Row, columns: Mapping[str, str]) -> Text:
    """The text of a row; DataError with the row's place when it is none."""
    value = rename_columns(row.value, columns) if columns else row.value
    found = sample(value, row.where)
    if not isinstance(found, Text):
        raise DataError(
            "not a plain text but a conversation",
            where=row.where,
            hint='toolgrove sft learns conversations; a text stands in the column "text" alone',
        )
    if not found.text.strip():
        raise DataError("an empty text", where=row.where)
    return found


def split_texts(texts: Sequence[Text], ratio: float, seed: int) -> tuple[list[Text], list[Text]]:
    """Parts the texts into those to learn and those to validate with; copies stay together."""
    out = held_out([(text.text,) for text in texts], ratio, seed)
    learn = [text for number, text in enumerate(texts) if number not in out]
    return learn, [texts[number] for number in sorted(out)]
