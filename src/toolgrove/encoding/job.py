"""What turns rows into sequences: all settings that decide it, and the encoder they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from toolgrove.core.errors import DataError, TemplateError
from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.core.registry import load_plugin
from toolgrove.data.groups import group_keys
from toolgrove.data.load import OnBadRow, chat_of
from toolgrove.data.rows import Row
from toolgrove.encoding.encode import EncodeSettings, History, Truncation, encode_whole
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.loss import parse_loss_scale
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.templates.detect import dialect_in
from toolgrove.templates.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Job:
    """All that decides what a row becomes; it travels to the processes that encode.

    ``folder`` holds the tokenizer and the model's own template.
    """

    folder: Path
    today: date
    template: str | None = None
    agent: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    loss_scale: str = "default"
    history: str = "served"
    max_length: int | None = None
    truncation: str = "raise"
    system: str | None = None
    columns: dict[str, str] = field(default_factory=dict[str, str])
    on_bad_row: str = "strict"
    plugins: tuple[str, ...] = ()

    def dialect(self, today: date | None = None) -> Dialect:
        """The dialect that rows are written in; ``today`` in place of the job's own."""
        return dialect_in(self.folder, self.template, self.agent, self.options, today or self.today)


@dataclass(slots=True)
class Work:
    """What rows became: sequences that have something to train, with what they share with others.

    ``idle`` rows had nothing to train; ``acted`` names the loss scales that found something.
    """

    sequences: list[Encoded] = field(default_factory=list[Encoded])
    groups: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    rejected: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    rows: int = 0
    idle: int = 0
    acted: set[str] = field(default_factory=set[str])


class RowEncoder:
    """Encodes the rows of a job; its tokenizer remembers what they share."""

    def __init__(self, job: Job) -> None:
        for plugin in job.plugins:
            load_plugin(plugin)
        self._job = job
        self._dialect = job.dialect()
        self._tok = load_tokenizer(job.folder)
        self._settings = EncodeSettings(
            parse_loss_scale(job.loss_scale),
            History(job.history),
            job.max_length,
            Truncation(job.truncation),
            set(),
        )

    def work(self, rows: Iterable[Row]) -> Work:
        """The sequences of the rows in their order.

        A row that cannot be used is a DataError or TemplateError with its place; where the job
        skips bad rows, a DataError of its format is kept instead.
        """
        done = Work()
        settings = replace(self._settings, acted=done.acted)
        for row in rows:
            try:
                chat = chat_of(row, self._job.columns)
            except DataError as error:
                if self._job.on_bad_row != OnBadRow.SKIP:
                    raise
                done.rejected.append(
                    {"where": row.where, "reason": error.what, "hint": error.hint, "row": row.value}
                )
                continue
            done.rows += 1
            conv = with_system(chat.conversation, self._job.system)
            try:
                encoded = encode_whole(conv, self._dialect, self._tok, settings)
            except (DataError, TemplateError) as error:
                raise error.at(row.where) from error
            useful = [sequence for sequence in encoded if sequence.trained]
            done.idle += not useful
            done.sequences += [replace(sequence, where=row.where) for sequence in useful]
            done.groups += [group_keys(conv, row.where)] * len(useful)
        return done


def with_system(conv: Conversation, system: str | None) -> Conversation:
    """The conversation with a system prompt where it has none."""
    if system is None or any(message.role is Role.SYSTEM for message in conv.messages):
        return conv
    return replace(conv, messages=(Message(Role.SYSTEM, system), *conv.messages))
