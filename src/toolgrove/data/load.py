"""Chats from data sources, with an account of the rows that were rejected."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from toolgrove.core.errors import ConfigError, DataError, did_you_mean
from toolgrove.core.messages import JSON, Role
from toolgrove.core.samples import Chat
from toolgrove.data.formats import conversation
from toolgrove.data.groups import group_keys, held_out
from toolgrove.data.rows import BadLine, Row
from toolgrove.data.stream import Mixture, stream_rows

_log = logging.getLogger(__name__)

S = TypeVar("S")

_COLUMNS_SHOWN = 100


class OnBadRow(StrEnum):
    """What a bad row does: ``strict`` stops at it, ``skip`` writes it to the rejected file."""

    STRICT = "strict"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class DataSettings:
    """How rows are read. ``columns`` renames columns: {"frage": "query"}."""

    on_bad_row: OnBadRow | str = OnBadRow.STRICT
    rejected_file: Path = Path("rejected.jsonl")
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    seed: int = 42
    shuffle: bool = False
    cache_dir: Path | None = None

    def mixture(self, specs: Sequence[str]) -> Mixture:
        """The sources one after the other, drawn from with these settings."""
        return Mixture(tuple(specs), seed=self.seed, cache_dir=self.cache_dir)

    def __post_init__(self) -> None:
        if self.on_bad_row not in list(OnBadRow):
            known = ", ".join(OnBadRow)
            raise ConfigError(f'unknown on_bad_row "{self.on_bad_row}"', hint=f"known: {known}")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was left out: its error, and the row itself or its text."""

    error: DataError
    row: JSON | str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The chats of all sources, how many rows were rejected, and where these were written."""

    chats: list[Chat]
    rejected: int = 0
    rejected_file: Path | None = None


def load_chats(specs: Sequence[str] | Mixture, settings: DataSettings | None = None) -> Loaded:
    """Reads conversations to learn from: the rows of every source, one source after the other, or
    as the mixture says.

    The first bad row raises DataError with its place. With ``on_bad_row="skip"`` bad rows are
    written to ``rejected_file`` with reason and place instead, and counted in the log. A row
    without an assistant turn is bad: it has nothing to train. No good row at all is an error.
    Arguments are kept as values: their original text is forgotten.
    """
    settings = settings or DataSettings()
    mixture = specs if isinstance(specs, Mixture) else settings.mixture(specs)
    rejected: list[Rejected] = []
    chats = list(read_rows(mixture, settings, rejected, chat_of))
    kept_in = write_rejected(Path(settings.rejected_file), rejected) if rejected else None
    if rejected:
        total = len(chats) + len(rejected)
        _log.warning("%d of %d rows rejected, see %s", len(rejected), total, kept_in)
    if not chats:
        raise no_usable_row(mixture.specs, rejected, kept_in)
    if settings.shuffle:
        random.Random(settings.seed).shuffle(chats)
    return Loaded(chats, len(rejected), kept_in)


def no_usable_row(
    specs: Sequence[str], rejected: Sequence[Rejected], kept_in: Path | None
) -> DataError:
    """The error for data of which no row can be used."""
    first = f"; the first: {rejected[0].error.what}" if rejected else ""
    return DataError(
        f"no usable row in {', '.join(specs)}: {len(rejected)} rejected{first}",
        where=rejected[0].error.where if rejected else None,
        hint=f"see {kept_in}" if kept_in else None,
    )


def split(chats: Sequence[Chat], ratio: float, seed: int = 42) -> tuple[list[Chat], list[Chat]]:
    """Parts the chats into those to learn and those to validate with, each in its order.

    ``ratio`` of them validate, at least one unless it is 0. Rows that belong together
    (``group_keys``) stay together.
    """
    keys = [
        group_keys(chat.conversation, chat.where or f"#{index}") for index, chat in enumerate(chats)
    ]
    out = held_out(keys, ratio, seed)
    learn = [chat for index, chat in enumerate(chats) if index not in out]
    return learn, [chats[index] for index in sorted(out)]


def rename_columns(row: Mapping[str, Any], columns: Mapping[str, str]) -> JSON:
    """The row with its columns renamed, all at once; a name taken by another column is an error."""
    renamed: JSON = {}
    for name, value in row.items():
        new = columns.get(name, name)
        if renamed.get(new) is not None and value is not None:
            raise DataError(
                f'two columns would be named "{new}"',
                hint=f'rename the other one too: "{new}": "{new}_before"',
            )
        if new not in renamed or value is not None:
            renamed[new] = value
    return renamed


def read_rows(
    mixture: Mixture,
    settings: DataSettings,
    rejected: list[Rejected],
    read: Callable[[Row, Mapping[str, str]], S],
) -> Iterator[S]:
    """What ``read`` makes of each row; bad rows stop at once, or are added to ``rejected``."""
    skip = settings.on_bad_row == OnBadRow.SKIP
    columns = ColumnCheck(settings.columns, mixture)

    def report(line: BadLine) -> None:
        rejected.append(Rejected(line.error, line.text))

    bad: set[str] = set()
    for row in stream_rows(mixture, report if skip else None):
        columns.see(row)
        if row.where in bad:
            continue
        try:
            yield read(row, settings.columns)
        except DataError as error:
            if not skip:
                columns.finish()
                raise
            bad.add(row.where)
            rejected.append(Rejected(error, row.value))
    columns.finish()


def chat_of(row: Row, columns: Mapping[str, str]) -> Chat:
    """The conversation of a row to learn from; DataError with the row's place."""
    try:
        conv = conversation(rename_columns(row.value, columns) if columns else row.value)
    except DataError as error:
        raise DataError(error.what, where=row.where, hint=error.hint) from None
    if not any(message.role is Role.ASSISTANT for message in conv.messages):
        hint = "add the answer to learn"
        if "solution" in row.value and "solution" not in columns:
            hint += ', or name its column: --columns \'{"solution": "response"}\''
        raise DataError("nothing to train: no assistant turn", where=row.where, hint=hint)
    return Chat(conv.without_given(), row.where)


class ColumnCheck:
    """Refuses a column to rename that no row has: it is a slip of the pen."""

    def __init__(self, columns: Mapping[str, str], mixture: Mixture) -> None:
        self._wanted = set(columns)
        self._seen: dict[str, None] = {}
        self._mixture = mixture

    @property
    def waits(self) -> bool:
        """Whether there are columns that no row had so far."""
        return bool(self._wanted)

    def see(self, row: Row) -> None:
        """Notes a row's columns."""
        if self._wanted:
            self._wanted.difference_update(row.value)
            if len(self._seen) < _COLUMNS_SHOWN:
                self._seen.update(dict.fromkeys(row.value))

    def finish(self) -> None:
        """DataError for a column that no row had, if there were rows."""
        if not self._wanted or not self._seen:
            return
        name = min(self._wanted)
        shown = sorted(self._seen)[:_COLUMNS_SHOWN]
        near = did_you_mean(name, shown)
        hint = f"columns: {', '.join(shown)}"
        raise DataError(
            f'no row has the column "{name}"',
            where=", ".join(self._mixture.specs),
            hint=f"{near} {hint}" if near else hint,
        )


def write_rejected(file: Path, rejected: Sequence[Rejected]) -> Path:
    """Writes rejected rows as JSON lines, with place, reason and hint; the file comes whole."""
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            for item in rejected:
                entry = {
                    "where": item.error.where,
                    "reason": item.error.what,
                    "hint": item.error.hint,
                    "text" if isinstance(item.row, str) else "row": item.row,
                }
                stream.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")
        part.replace(file)
    except OSError as error:
        raise DataError(
            f"cannot write the rejected rows: {error.strerror or error}",
            where=str(file),
            hint="choose another file with --rejected-file",
        ) from None
    return file
