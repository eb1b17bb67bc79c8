"""``toolgrove convert``: rows of any format written in another one, or refused with a reason."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import Field

from toolgrove.cli.stdin import NAME, named, stdin_file
from toolgrove.config.settings import CommandSettings
from toolgrove.core.errors import ConfigError, DataError, ToolgroveError, did_you_mean
from toolgrove.data.load import OnBadRow

if TYPE_CHECKING:
    from toolgrove.data.rows import BadLine, OnBadLine, Row
    from toolgrove.data.target import Target

logger = logging.getLogger(__name__)

AUTO = "auto"
OPENAI_LOG = "openai-log"
SEED = 42
"""Which rows ``path#20`` takes."""


class ConvertSettings(CommandSettings):
    """What to convert, and into what."""

    dataset: list[str] = []
    """Files, hf:, ms: or pypi: sources, - for stdin; path#20 takes 20 rows."""

    to: str = "canonical"
    """The format to write: canonical, openai, sharegpt, trl, llamafactory, or the text of an
    agent template: react_en, react_zh, toolbench, agentfabric, hermes."""

    output: Path | None = None
    """The file to write (JSONL), also -o; left out, rows go to stdout."""

    source_format: str = Field(default=AUTO, alias="from")
    """What is read: auto finds each row's format by its content; openai-log reads recorded
    requests and responses."""

    on_bad_row: OnBadRow = OnBadRow.STRICT
    """What a row does that cannot be read or carried: strict stops, skip keeps it in a file."""

    rejected_file: Path = Path("rejected.jsonl")
    """Where rejected rows go, with the reason."""

    columns: dict[str, str] = {}
    """Columns to rename, as frage=query."""


@dataclass(slots=True)
class Account:
    """What became of the rows."""

    settings: ConvertSettings
    written: int = 0
    formats: Counter[str] = field(default_factory=Counter[str])
    unread: Counter[str] = field(default_factory=Counter[str])
    columns: set[str] = field(default_factory=set[str])
    rejected: int = 0
    first: ToolgroveError | None = None
    file: IO[str] | None = None

    def reject(self, error: ToolgroveError, row: Any) -> None:
        """Keeps a row that is left out, with the reason; raises where rows must not be."""
        if self.settings.on_bad_row == OnBadRow.STRICT:
            raise error
        if self.file is None:
            self.settings.rejected_file.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.settings.rejected_file.open("w", encoding="utf-8")
        what = "text" if isinstance(row, str) else "row"
        entry = {"where": error.where, "reason": error.what, "hint": error.hint, what: row}
        text = json.dumps(entry, ensure_ascii=False, default=str)
        self.file.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
        self.first = self.first or error
        self.rejected += 1


def run(settings: ConvertSettings) -> int:
    """Writes the rows; the account of them goes to the log."""
    target = _target(settings.to)
    if settings.source_format not in (AUTO, OPENAI_LOG):
        raise ConfigError(
            f'unknown --from "{settings.source_format}"', hint=f"known: {AUTO}, {OPENAI_LOG}"
        )
    if not settings.dataset:
        raise ConfigError("no rows", hint="name a file, hf:org/name, pypi:package …")
    _refuse_overwriting(settings)
    account = Account(settings)
    try:
        with _output(settings.output) as stream:
            for row in _rows(account):
                _convert(row, target, account, stream)
            _check_columns(account)
            if not account.written:
                first = f"; the first: {account.first.what}" if account.first else ""
                raise DataError(
                    f"no row could be converted: {account.rejected} rejected{first}",
                    where=account.first.where if account.first else None,
                )
    finally:
        if account.file is not None:
            account.file.close()
    _tell(account)
    return 0


def _refuse_overwriting(settings: ConvertSettings) -> None:
    """ConfigError where an input, the rejected rows or a folder stand where rows are written."""
    from toolgrove.data.sources import Place, parse_source, source_files

    specs = [parse_source(spec) for spec in settings.dataset if spec != "-"]
    local = [spec for spec in specs if spec.place is Place.LOCAL]
    inputs = {file.resolve() for spec in local for file in source_files(spec)}
    targets = [settings.rejected_file] if settings.on_bad_row == OnBadRow.SKIP else []
    if settings.output is not None:
        if settings.output.resolve() in {file.resolve() for file in targets}:
            raise ConfigError("--output and --rejected_file name the same file")
        targets.append(settings.output)
    for file in targets:
        if file.is_dir():
            raise ConfigError("a folder", where=str(file), hint="name a file in it")
        if file.resolve() in inputs:
            raise ConfigError(
                "an input would be written over", where=str(file), hint="name another file"
            )


def _target(name: str) -> Target:
    from toolgrove.data.target import targets

    if name in targets.names():
        return targets.get(name)
    from toolgrove.encoding.transcript import text_target, text_targets

    known = [*targets.names(), *text_targets()]
    if name not in known:
        hint = f"known: {', '.join(known)}"
        near = did_you_mean(name, known)
        raise ConfigError(f'unknown --to "{name}"', hint=f"{near} {hint}" if near else hint)
    return text_target(name)


def _rows(account: Account) -> Iterator[Row]:
    """The rows of all sources; recorded traffic as sessions."""
    from toolgrove.data.openai_log import log_rows, sessions

    settings = account.settings
    found = (row for spec in settings.dataset for row in _from(spec, account))
    if settings.source_format == AUTO:
        yield from found
        return

    def exchanged() -> Iterator[Row]:
        for row in found:
            try:
                yield from log_rows(row)
            except DataError as error:
                account.reject(error.at(row.where), row.value)

    yield from sessions(exchanged())


def _from(spec: str, account: Account) -> Iterator[Row]:
    from toolgrove.data.stream import Mixture, stream_rows

    def reject(bad: BadLine) -> None:
        account.reject(bad.error, bad.text)

    report = reject if account.settings.on_bad_row == OnBadRow.SKIP else None
    if spec == "-":
        return _from_stdin(report)
    return stream_rows(Mixture((spec,), seed=SEED), report)


def _from_stdin(report: OnBadLine | None) -> Iterator[Row]:
    """The rows of stdin, with their numbers."""
    from toolgrove.data.rows import BadLine, read_rows

    with stdin_file() as file:

        def tell(bad: BadLine) -> None:
            if report is not None:
                report(BadLine(named(bad.error, file), bad.text))

        for row in read_rows(file, tell if report else None):
            yield row._replace(where=row.where.replace(str(file), NAME))


def _convert(row: Row, target: Target, account: Account, stream: IO[str]) -> None:
    from toolgrove.data.formats import format_of
    from toolgrove.data.leftovers import unread_keys
    from toolgrove.data.load import rename_columns
    from toolgrove.data.samples import sample
    from toolgrove.data.target import written

    columns: Mapping[str, str] = account.settings.columns
    if columns:
        account.columns.update(row.value)
    try:
        value = rename_columns(row.value, columns) if columns else row.value
        result = written(sample(value), target)
    except ToolgroveError as error:
        account.reject(error.at(row.where), row.value)
        return
    account.formats[format_of(value)] += 1
    account.unread.update(unread_keys(value))
    account.written += 1
    stream.write(json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n")


def _check_columns(account: Account) -> None:
    """A column to rename that no row has is a slip of the pen."""
    for name in account.settings.columns:
        if account.columns and name not in account.columns:
            hint = did_you_mean(name, account.columns)
            known = f"columns: {', '.join(sorted(account.columns))}"
            raise DataError(f'no row has the column "{name}"', hint=hint or known)


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    """The stream to write to; a file appears when it is whole."""
    if path is None:
        yield sys.stdout
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _tell(account: Account) -> None:
    settings = account.settings
    read = ", ".join(f"{name} {count}" for name, count in account.formats.most_common())
    where = settings.output or "stdout"
    logger.info("%d rows (%s) written to %s as %s", account.written, read, where, settings.to)
    for key, count in account.unread.most_common():
        logger.warning("left out, no part of a conversation: %s (%d rows)", key, count)
    if account.rejected:
        logger.warning("%d rows rejected, see %s", account.rejected, settings.rejected_file)
