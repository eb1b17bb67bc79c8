"""From recipe to training sequences: rows read, written in the dialect, encoded, shown."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from toolgrove.core.errors import DataError, ModelError, TemplateError
from toolgrove.core.samples import Chat
from toolgrove.encoding.encoded import Encoded
from toolgrove.models.load import declared_context
from toolgrove.train.cached import from_cache, training_of, uses_cache, validation_of
from toolgrove.train.recipe import SftSettings
from toolgrove.train.settings import TrainSettings

if TYPE_CHECKING:
    from rich.console import Console

    from toolgrove.data.load import Loaded
    from toolgrove.data.stream import Mixture
    from toolgrove.encoding.encode import EncodeSettings
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.templates.dialect import Dialect
    from toolgrove.train.stream_source import Streamed

logger = logging.getLogger(__name__)

_SHOW_BAR_FROM = 200
_COUNTED = 10_000
"""How many sequences are read to tell what there is to learn."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run trains and validates on, and the dialect and tokenizer it is written in."""

    train: Sequence[Encoded]
    val: Sequence[Encoded]
    dialect: Dialect
    tok: Tokenizer
    rows: int
    rejected: int
    streamed: Streamed | None = None
    answered: Sequence[Chat] = ()
    """Validation rows that the model answers while it is trained."""


def prepare(settings: SftSettings, folder: Path, run: Path, console: Console) -> Prepared:
    """Reads and encodes the data for the model in ``folder``.

    Errors: DataError for rows that cannot be used and for data with nothing to train;
    TemplateError when the dialect would leave out something that a row has.
    """
    from toolgrove.encoding.encode import EncodeSettings, History, Truncation
    from toolgrove.encoding.loss import parse_loss_scale
    from toolgrove.encoding.tokenizer import load_tokenizer

    dialect = dialect_of(settings, folder)
    tok = load_tokenizer(folder)
    rule = parse_loss_scale(settings.loss_scale)
    if uses_cache(settings):
        found = from_cache(settings, folder, length_limit(settings, folder), console)
        for idle in rule.idle(found.train.totals.acted):
            logger.warning(idle)
        read = _read_val(settings, run).chats if settings.eval_generate else []
        held = found.val or []
        answered = _answered(settings, read)
        rows, bad = found.rows, found.rejected
        return Prepared(found.train, held, dialect, tok, rows, bad, answered=answered)
    limit = length_limit(settings, folder)
    encoding = EncodeSettings(
        rule, History(settings.history), limit, Truncation(settings.truncation_strategy), set()
    )
    encoder = _Encoder(dialect, tok, encoding, settings.system)
    if settings.streaming:
        streamed = _streamed(settings, folder, run, limit)
        val, rejected = _held_out(settings, run)
        held_out = encoder.validating(val, console)
        answered = _answered(settings, val)
        return Prepared(streamed.first, held_out, dialect, tok, 0, rejected, streamed, answered)
    train, val, rejected = _read(settings, run)
    sequences = encoder.all(train, console)
    for idle in rule.idle(encoding.acted or ()):
        logger.warning(idle)
    if not sequences:
        raise DataError(
            f"none of the {len(train)} rows has anything to train",
            where=", ".join(settings.dataset),
            hint="are there assistant turns, and does --loss_scale give them weight?",
        )
    held_out, answered = encoder.validating(val, console), _answered(settings, val)
    return Prepared(sequences, held_out, dialect, tok, len(train), rejected, answered=answered)


def dialect_of(settings: SftSettings, folder: Path) -> Dialect:
    """The dialect that the recipe names, or that belongs to the model in ``folder``."""
    from toolgrove.templates.detect import dialect_in

    today = settings.today or date.today()
    return dialect_in(folder, settings.template, settings.agent_template, settings.options(), today)


def show_sample(prepared: Prepared, console: Console) -> None:
    """Prints the first sequence in colours, and how much of what there is to learn; of very many
    sequences the kinds of the first ones only."""
    from toolgrove.encoding.show import coloured, legend, pieces, totals

    first = prepared.train[0]
    number = f"the first {len(prepared.train)}" if prepared.streamed else len(prepared.train)
    console.rule(f"one of {number} sequences: {first.where}")
    console.print(coloured(pieces(first, prepared.tok)))
    counted = prepared.train[:_COUNTED]
    more = len(prepared.train) > _COUNTED
    console.rule("tokens by kind" + (f", first {_COUNTED:,} sequences" if more else ""))
    console.print(legend(totals(counted)))
    rows = "a stream" if prepared.streamed else f"{prepared.rows} rows"
    if prepared.rejected:
        rows += f" ({prepared.rejected} more rejected)"
    tokens = sum(map(len, counted))
    trained = sum(sequence.trained for sequence in counted)
    of_these = f" in the first {_COUNTED:,}" if more else ""
    console.print(
        f"{rows}, {len(prepared.train)} sequences, {tokens:,} tokens{of_these}, {trained:,} of them"
        " learnt,"
        f" {len(prepared.val)} sequences to validate"
    )


def _streamed(settings: SftSettings, folder: Path, run: Path, limit: int | None) -> Streamed:
    from toolgrove.train.stream_source import Streamed
    from toolgrove.train.streaming import chat_windows, look

    windows = chat_windows(settings, folder, run, limit)
    return Streamed(windows, look(windows).sequences, limit)


def _held_out(settings: SftSettings, run: Path) -> tuple[list[Chat], int]:
    """The validation rows of a run that streams, and how many were rejected."""
    if not settings.val_dataset:
        return [], 0
    val = _read_val(settings, run)
    return val.chats, val.rejected


def _read_val(settings: SftSettings, run: Path) -> Loaded:
    return _load(settings, validation_of(settings), run / "rejected_val.jsonl")


def _answered(settings: SftSettings, val: Sequence[Chat]) -> list[Chat]:
    """The validation rows that are answered, drawn by the data's seed, in their order."""
    from toolgrove.encoding.job import with_system

    count = min(settings.eval_generate, len(val))
    chosen = sorted(random.Random(settings.data_seed).sample(range(len(val)), count))
    return [
        replace(val[n], conversation=with_system(val[n].conversation, settings.system))
        for n in chosen
    ]


def _load(settings: SftSettings, mixture: Mixture, rejected: Path) -> Loaded:
    from toolgrove.data.load import DataSettings, load_chats

    return load_chats(
        mixture,
        DataSettings(
            on_bad_row=settings.on_bad_row,
            rejected_file=rejected,
            columns=settings.columns,
            seed=settings.data_seed,
        ),
    )


def _read(settings: SftSettings, run: Path) -> tuple[list[Chat], list[Chat], int]:
    from toolgrove.data.load import split

    loaded = _load(settings, training_of(settings), run / "rejected.jsonl")
    if settings.val_dataset:
        val = _read_val(settings, run)
        return loaded.chats, val.chats, loaded.rejected + val.rejected
    train, held_out = split(loaded.chats, settings.split_dataset_ratio, settings.data_seed)
    return train, held_out, loaded.rejected


def length_limit(settings: TrainSettings, folder: Path) -> int | None:
    """The longest sequence: as set, but never longer than the model can be."""
    own = declared_context(folder)
    if settings.max_length and own and settings.max_length > own:
        raise ModelError(
            f"max_length {settings.max_length} is beyond this model's {own} tokens",
            hint=f"--max_length {own}, or leave it out",
        )
    return settings.max_length or own


@dataclass(frozen=True, slots=True)
class _Encoder:
    dialect: Dialect
    tok: Tokenizer
    settings: EncodeSettings
    system: str | None

    def all(self, chats: Sequence[Chat], console: Console) -> list[Encoded]:
        """The sequences of all chats that have something to train; says how many had not."""
        from rich.progress import track

        quiet = not console.is_terminal or len(chats) < _SHOW_BAR_FROM
        bar = track(chats, "encoding", console=console, transient=True, disable=quiet)
        sequences: list[Encoded] = []
        idle = 0
        for chat in bar:
            encoded = self._one(chat)
            useful = [sequence for sequence in encoded if sequence.trained]
            idle += not useful
            sequences += useful
        if idle:
            logger.warning("%d of %d rows have nothing to train and are left out", idle, len(chats))
        return sequences

    def validating(self, chats: Sequence[Chat], console: Console) -> list[Encoded]:
        """``all``; DataError where there are chats and none has anything to predict."""
        sequences = self.all(chats, console)
        if chats and not sequences:
            raise DataError(
                "none of the validation rows has anything to predict",
                hint="are there assistant turns, and does --loss_scale give them weight?",
            )
        return sequences

    def _one(self, chat: Chat) -> list[Encoded]:
        from toolgrove.encoding.encode import encode_whole
        from toolgrove.encoding.job import channel_of, with_system

        conv = with_system(chat.conversation, self.system)
        try:
            encoded = encode_whole(conv, self.dialect, self.tok, self.settings)
        except (DataError, TemplateError) as error:
            raise error if error.where or not chat.where else error.at(chat.where) from error
        channel = channel_of(conv)
        return [
            replace(sequence, where=sequence.where or chat.where, channel=channel)
            for sequence in encoded
        ]
