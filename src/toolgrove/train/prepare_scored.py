"""From recipe to conversations that are scored: rows read, written in the dialect, labelled."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import DataError
from toolgrove.encoding.scored import Scored, Scorer
from toolgrove.train.cached import training_of, validation_of
from toolgrove.train.prepare import dialect_of, length_limit
from toolgrove.train.recipe import SftSettings

if TYPE_CHECKING:
    from rich.console import Console

    from toolgrove.core.samples import Labelled, Preference
    from toolgrove.data.rows import Row
    from toolgrove.data.stream import Mixture
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.templates.dialect import Dialect

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScoredData:
    """What a run trains and validates on, and the dialect and tokenizer it is written in."""

    train: Sequence[Scored]
    val: Sequence[Scored]
    dialect: Dialect
    tok: Tokenizer
    streamed: None = None


def prepare_scored(settings: SftSettings, folder: Path, run: Path) -> ScoredData:
    """Reads, labels and encodes the data for the model in ``folder``; errors as of ``prepare``."""
    from toolgrove.data.groups import held_out
    from toolgrove.encoding.tokenizer import load_tokenizer

    dialect, tok = dialect_of(settings, folder), load_tokenizer(folder)
    limit, leave_out = length_limit(settings, folder), settings.truncation_strategy == "delete"
    scorer = Scorer(dialect, tok, settings.system, limit, leave_out)

    def read(mixture: Mixture, name: str) -> list[Scored]:
        return _scored(scorer, _samples(settings, mixture, run / name))

    train = read(training_of(settings), "rejected.jsonl")
    if settings.val_dataset:
        val = read(validation_of(settings), "rejected_val.jsonl")
    else:
        keys = [(str(item.rows[0].ids), item.where) for item in train]
        out = held_out(keys, settings.split_dataset_ratio, settings.data_seed)
        val = [train[number] for number in sorted(out)]
        train = [item for number, item in enumerate(train) if number not in out]
    if not train:
        raise DataError("no row is left to train on", where=", ".join(settings.dataset))
    return ScoredData(train, val, dialect, tok)


def show_scored(data: ScoredData, console: Console) -> None:
    """Prints the first conversation with its label, and how many there are of each."""
    first = data.train[0]
    console.rule(f"one of {len(data.train)} samples: {first.where}")
    for row in first.rows:
        console.print(data.tok.decode(row.ids), markup=False)
    console.print(f"label: {', '.join(f'{value:g}' for value in first.label)}")
    counts = Counter(item.label for item in data.train)
    few = ", ".join(f"{_written(label)}: {n}" for label, n in counts.most_common(10))
    tokens = sum(len(row) for item in data.train for row in item.rows)
    console.print(
        f"{len(data.train)} samples, {tokens:,} tokens, {len(data.val)} samples to validate;"
        f" labels {few}",
        soft_wrap=True,
    )


def _written(label: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in label)


def _samples(
    settings: SftSettings, mixture: Mixture, rejected_file: Path
) -> list[Labelled | Preference]:
    from toolgrove.data.load import (
        DataSettings,
        Rejected,
        no_usable_row,
        read_rows,
        write_rejected,
    )

    told = DataSettings(
        on_bad_row=settings.on_bad_row,
        rejected_file=rejected_file,
        columns=settings.columns,
        seed=settings.data_seed,
    )
    rejected: list[Rejected] = []
    samples = list(read_rows(mixture, told, rejected, _reader(settings)))
    kept_in = write_rejected(rejected_file, rejected) if rejected else None
    if rejected:
        total = len(samples) + len(rejected)
        logger.warning("%d of %d rows rejected, see %s", len(rejected), total, kept_in)
    if not samples:
        raise no_usable_row(mixture.specs, rejected, kept_in)
    return samples


def _reader(settings: SftSettings) -> Callable[[Row, Mapping[str, str]], Labelled | Preference]:
    from toolgrove.data.labels import Problem, labelled
    from toolgrove.data.load import rename_columns
    from toolgrove.data.samples import preference

    head = settings.head
    if head is None or head.task == "reward":
        return lambda row, columns: preference(
            rename_columns(row.value, columns) if columns else row.value, row.where
        )
    problem = Problem(head.problem)
    return lambda row, columns: labelled(row, columns, problem, head.labels)


def _scored(scorer: Scorer, samples: Iterable[Any]) -> list[Scored]:
    from toolgrove.core.samples import Preference

    made = [
        scorer.preferred(each) if isinstance(each, Preference) else scorer.labelled(each)
        for each in samples
    ]
    kept = [each for each in made if each is not None]
    if len(kept) < len(made):
        logger.warning("%d of %d rows are too long: left out", len(made) - len(kept), len(made))
    return kept
