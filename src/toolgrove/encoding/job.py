"""What turns rows into sequences: all settings that decide it, and the encoder they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import DataError, TemplateError
from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.core.registry import load_plugin
from toolgrove.core.spans import MARKUP
from toolgrove.data.groups import group_keys
from toolgrove.data.load import OnBadRow, chat_of
from toolgrove.data.rows import Line, Row, row_of
from toolgrove.encoding.encode import (
    EncodeSettings,
    History,
    Truncation,
    coded_whole,
    served_turns,
)
from toolgrove.encoding.encoded import Coded, Encoded
from toolgrove.encoding.loss import parse_loss_scale
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.templates.detect import dialect_in
from toolgrove.templates.dialect import Dialect
from toolgrove.templates.writing import Turn

_TOGETHER = 128
"""How many rows are rendered before they are tokenized."""


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
    """What rows became: sequences that have something to train, with their rows' places and what
    they share with others.

    ``idle`` rows had nothing to train; ``acted`` names the loss scales that found something.
    """

    coded: list[Coded] = field(default_factory=list[Coded])
    places: list[str] = field(default_factory=list[str])
    groups: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    channels: list[str] = field(default_factory=list[str])
    rejected: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    rows: int = 0
    idle: int = 0
    acted: set[str] = field(default_factory=set[str])

    @property
    def sequences(self) -> list[Encoded]:
        """The sequences with a weight for each token."""
        each = zip(self.coded, self.places, self.channels, strict=True)
        return [replace(made.encoded(where), channel=channel) for made, where, channel in each]


class _Talk(NamedTuple):
    """A row's conversation, or why it has none."""

    where: str
    conv: Conversation | None
    error: DataError | None = None


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

    def work(self, rows: Iterable[Row | Line]) -> Work:
        """The sequences of the rows in their order.

        A row that cannot be used is a DataError or TemplateError with its place; where the job
        skips bad rows, a DataError of its line or its format is kept instead.
        """
        done = Work()
        settings = replace(self._settings, acted=done.acted)
        waiting = iter(rows)
        while some := list(islice(waiting, _TOGETHER)):
            self._encode(list(self._talks(some, done)), settings, done)
        return done

    def _talks(self, rows: Iterable[Row | Line], done: Work) -> Iterator[_Talk]:
        for item in rows:
            try:
                chat = chat_of(row_of(item), self._job.columns)
            except DataError as error:
                if self._job.on_bad_row != OnBadRow.SKIP:
                    yield _Talk(item.where, None, error)
                    return
                done.rejected.append(_left_out(item, error))
            else:
                yield _Talk(item.where, with_system(chat.conversation, self._job.system))

    def _encode(self, talks: list[_Talk], settings: EncodeSettings, done: Work) -> None:
        """Appends what the conversations become; what they say is tokenized together."""
        rendered: list[Sequence[Turn] | None] = []
        for talk in talks:
            rendered.append(None if talk.conv is None else self._turns(talk.conv, settings))
        self._tok.learn(
            span.text
            for turn in chain.from_iterable(turns or () for turns in rendered)
            for span in (*turn.prompt, *turn.completion)
            if span.kind not in MARKUP
        )
        for talk, turns in zip(talks, rendered, strict=True):
            if talk.error is not None or talk.conv is None:
                raise talk.error or DataError("a row without a conversation", where=talk.where)
            done.rows += 1
            try:
                encoded = coded_whole(talk.conv, self._dialect, self._tok, settings, turns)
            except (DataError, TemplateError) as error:
                raise error.at(talk.where) from error
            useful = [sequence for sequence in encoded if sequence.trains]
            done.idle += not useful
            done.coded += useful
            done.places += [talk.where] * len(useful)
            done.channels += [channel_of(talk.conv)] * len(useful)
            done.groups += [group_keys(talk.conv, talk.where)] * len(useful)

    def _turns(self, conv: Conversation, settings: EncodeSettings) -> Sequence[Turn] | None:
        """The turns to encode; None also where they cannot be written, which is told in its row's
        place."""
        try:
            return served_turns(conv, self._dialect, settings)
        except TemplateError:
            return None


def channel_of(conv: Conversation) -> str:
    """The row's own column ``channel``; empty where it has none."""
    value = conv.extra.get("channel")
    return "" if value is None else str(value)


def _left_out(item: Row | Line, error: DataError) -> JSON:
    """What is kept of a row that was skipped: its place, the reason, the row or its text."""
    kept: JSON = {"where": item.where, "reason": error.what, "hint": error.hint}
    try:
        return {**kept, "row": row_of(item).value}
    except DataError:
        return {**kept, "text": item.text if isinstance(item, Line) else ""}


def with_system(conv: Conversation, system: str | None) -> Conversation:
    """The conversation with a system prompt where it has none."""
    if system is None or any(message.role is Role.SYSTEM for message in conv.messages):
        return conv
    return replace(conv, messages=(Message(Role.SYSTEM, system), *conv.messages))
