"""Chats from data sources, with an account of the rows that were rejected."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from toolgrove.core.errors import ConfigError, DataError, did_you_mean
from toolgrove.core.messages import JSON, Role
from toolgrove.core.samples import Chat
from toolgrove.data.formats import conversation
from toolgrove.data.rows import BadLine, Row, read_rows
from toolgrove.data.sources import Source, parse_source, sample, source_files

_log = logging.getLogger(__name__)


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


def load_chats(specs: Sequence[str], settings: DataSettings | None = None) -> Loaded:
    """Reads conversations to learn from: the rows of every source, one source after the other.

    The first bad row raises DataError with its place. With ``on_bad_row="skip"`` bad rows are
    written to ``rejected_file`` with reason and place instead, and counted in the log. A row
    without an assistant turn is bad: it has nothing to train. No good row at all is an error.
    Arguments are kept as values: their original text is forgotten.
    """
    settings = settings or DataSettings()
    if not specs:
        raise DataError("no data source", hint="give a file, hf:org/name, pypi:package …")
    rejected: list[Rejected] = []
    chats = [chat for spec in specs for chat in _chats(parse_source(spec), settings, rejected)]
    kept_in = _write_rejected(Path(settings.rejected_file), rejected) if rejected else None
    if rejected:
        total = len(chats) + len(rejected)
        _log.warning("%d of %d rows rejected, see %s", len(rejected), total, kept_in)
    if not chats:
        first = f"; the first: {rejected[0].error.what}" if rejected else ""
        raise DataError(
            f"no usable row in {', '.join(specs)}: {len(rejected)} rejected{first}",
            where=rejected[0].error.where if rejected else None,
            hint=f"see {kept_in}" if rejected else None,
        )
    if settings.shuffle:
        random.Random(settings.seed).shuffle(chats)
    return Loaded(chats, len(rejected), kept_in)


def split(chats: Sequence[Chat], ratio: float, seed: int = 42) -> tuple[list[Chat], list[Chat]]:
    """Parts the chats into those to learn and those to validate with, each in its order.

    ``ratio`` of them validate, at least one unless it is 0. Copies of one row stay together.
    """
    if not 0 <= ratio < 1:
        raise ConfigError(f"a split ratio is from 0 to below 1, not {ratio}")
    keys = [chat.where or f"#{index}" for index, chat in enumerate(chats)]
    rows = list(dict.fromkeys(keys))
    count = max(int(len(rows) * ratio), 1) if ratio > 0 else 0
    if count >= len(rows) and count:
        raise DataError(f"{len(rows)} rows are too few to split", hint="give a validation data set")
    held_out = set(random.Random(seed).sample(rows, count))
    learn = [chat for chat, key in zip(chats, keys, strict=True) if key not in held_out]
    return learn, [chat for chat, key in zip(chats, keys, strict=True) if key in held_out]


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


def _chats(source: Source, settings: DataSettings, rejected: list[Rejected]) -> list[Chat]:
    skip = settings.on_bad_row == OnBadRow.SKIP

    def reject(bad: BadLine) -> None:
        rejected.append(Rejected(bad.error, bad.text))

    rows: list[Row] = []
    for file in source_files(source, settings.cache_dir):
        rows.extend(read_rows(file, reject if skip else None))
    _check_columns(rows, settings.columns, source)
    chats: list[Chat] = []
    bad: set[str] = set()
    for row in sample(rows, source.count, settings.seed):
        if row.where in bad:
            continue
        try:
            chats.append(_chat(row, settings.columns))
        except DataError as error:
            if not skip:
                raise
            bad.add(row.where)
            rejected.append(Rejected(error, row.value))
    return chats


def _chat(row: Row, columns: Mapping[str, str]) -> Chat:
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


def _check_columns(rows: Sequence[Row], columns: Mapping[str, str], source: Source) -> None:
    """A column to rename that no row has is a slip of the pen."""
    for name in columns:
        if rows and not any(name in row.value for row in rows):
            known = sorted({column for row in rows[:100] for column in row.value})
            near = did_you_mean(name, known)
            hint = f"columns: {', '.join(known)}"
            raise DataError(
                f'no row has the column "{name}"',
                where=str(source),
                hint=f"{near} {hint}" if near else hint,
            )


def _write_rejected(file: Path, rejected: Sequence[Rejected]) -> Path:
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
