"""Rows of files, each with its place."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, cast

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON
from toolgrove.data.fields import as_object, describe, show, unique
from toolgrove.data.tables import csv_rows, parquet_rows


class Row(NamedTuple):
    """A row and where it stands: ``file:line``, for Parquet ``file:row N`` (both from 1)."""

    value: JSON
    where: str


class Line(NamedTuple):
    """A line of a JSONL file that nobody has looked into yet, and where it stands."""

    raw: bytes
    where: str

    @property
    def text(self) -> str:
        """Its text, also where that is not UTF-8."""
        return self.raw.decode("utf-8", "replace")


class BadLine(NamedTuple):
    """A line that holds no row: why, and its text."""

    error: DataError
    text: str


OnBadLine = Callable[[BadLine], None]

LONGEST_LINE = 64 * 2**20
"""Bytes of the longest line that is read."""
LARGEST_JSON = 1024 * 2**20
"""Bytes of the largest JSON file, which is read in one piece."""
_JSONL = frozenset({".jsonl", ".ndjson"})
_JSON = frozenset({".json"})
_TABLES = frozenset({".csv", ".tsv", ".parquet"})
KNOWN_SUFFIXES = _JSONL | _JSON | _TABLES
"""What ``read_rows`` reads; all but Parquet also with ``.gz`` or ``.zst`` behind."""
_PACKED = frozenset({".gz", ".zst"})
_BOM = b"\xef\xbb\xbf"


def suffix_of(path: Path) -> str:
    """The suffix that tells the kind of file, without a ``.gz`` or ``.zst`` behind it."""
    name = path.with_suffix("") if path.suffix in _PACKED else path
    return name.suffix.lower()


def read_rows(path: str | Path, on_bad_line: OnBadLine | None = None) -> Iterator[Row]:
    """The rows of a file, one after the other, values exactly as the file has them.

    A line that holds no row raises DataError with its place; with ``on_bad_line`` it is handed
    over and the reading goes on, where the kind of file allows that (JSONL, JSON, CSV). A file
    that cannot be read, or that holds nothing at all, is a DataError.
    """
    for item in read_lines(path, on_bad_line):
        try:
            row = row_of(item)
        except DataError as error:
            if on_bad_line is None or not isinstance(item, Line):
                raise
            on_bad_line(BadLine(error, item.text))
        else:
            yield row


def row_of(item: Row | Line) -> Row:
    """The row itself; DataError with its place for a line that holds none."""
    if isinstance(item, Row):
        return item
    try:
        return Row(_line_object(item.raw.decode().strip()), item.where)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error.reason}", where=item.where) from None
    except DataError as error:
        raise DataError(error.what, where=item.where, hint=error.hint) from None


def read_lines(path: str | Path, on_bad_line: OnBadLine | None = None) -> Iterator[Row | Line]:
    """``read_rows``, but that lines of JSONL are left to be looked into by ``row_of``: elsewhere,
    or later. Blank ones are left out."""
    file = Path(path)
    report = _raise if on_bad_line is None else on_bad_line
    empty = True
    try:
        for item in _reader(file, report):
            empty = False
            yield item
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: {error.reason}", where=str(path), hint="save the file as UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from None
    if empty and on_bad_line is None:
        raise DataError("an empty data set: no rows", where=str(path))


def _reader(file: Path, report: OnBadLine) -> Iterator[Row | Line]:
    suffix = suffix_of(file)
    if file.is_dir():
        raise DataError("a folder, not a file", where=str(file))
    if suffix in _JSONL:
        yield from _jsonl(file, report)
    elif suffix in _JSON:
        yield from _json(file, report)
    elif suffix == ".parquet":
        for value, number in parquet_rows(file):
            yield Row(value, f"{file}:row {number}")
    elif suffix in _TABLES:
        with _open(file) as stream:
            yield from _csv(file, stream, report)
    else:
        raise DataError(
            f'a kind of file that is not known: "{file.name}"',
            where=str(file),
            hint=f"known: {', '.join(sorted(KNOWN_SUFFIXES))}, and these with .gz or .zst",
        )


def _refuse_utf16(raw: bytes, where: str) -> None:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise DataError("UTF-16 or UTF-32, not UTF-8", where=where, hint="save the file as UTF-8")


def _open(file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(file))
    return _zstd(file) if file.suffix == ".zst" else file.open("rb")


def _zstd(file: Path) -> IO[bytes]:
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
    except ImportError:
        raise DataError(
            "zst files need pyarrow", where=str(file), hint='pip install "toolgrove[train]"'
        ) from None
    return cast(IO[bytes], io.BufferedReader(pyarrow.input_stream(str(file), compression="zstd")))


def _raise(bad: BadLine) -> NoReturn:
    raise bad.error


def _unreadable(file: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError("no such file", where=str(file))
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(f"cannot be read: {cause}", where=str(file), hint="is the file whole?")


def _lines(file: Path, stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; DataError for one that no conversation is as long as (a bomb)."""
    number = 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE:
            raise DataError(
                f"a line longer than {LONGEST_LINE // 2**20} MiB",
                where=f"{file}:{number}",
                hint="one JSON object a line; is the file what it seems?",
            )
        yield raw


def _is_spread(file: Path, first: bytes) -> bool:
    """Whether the file is JSON over several lines: its first line opens a list, or an object of
    which the second line has a key."""
    begun = first.removeprefix(_BOM).strip()
    if begun != b"{":
        return begun in (b"[", b"[{")
    with _open(file) as stream:
        stream.readline()
        return stream.readline(LONGEST_LINE).lstrip().startswith(b'"')


def _jsonl(file: Path, report: OnBadLine) -> Iterator[Row | Line]:
    """An object a line. A file that is JSON over several lines, whatever its name, is read so."""
    with _open(file) as stream:
        for number, raw in enumerate(_lines(file, stream), start=1):
            where = f"{file}:{number}"
            if number == 1:
                _refuse_utf16(raw, where)
                if _is_spread(file, raw):
                    yield from _json(file, report)
                    return
                raw = raw.removeprefix(_BOM)
            if not _is_blank(raw):
                yield Line(raw, where)


def _is_blank(raw: bytes) -> bool:
    """Whether a line holds white space only; most begin with the brace of an object."""
    return raw[:1] != b"{" and not raw.decode("utf-8", "replace").strip()


def _line_object(line: str) -> JSON:
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not JSON ({_cause(error)}): {show(line)}",
            hint="one whole JSON object a line; was the file cut off?",
        ) from None
    return _object(value, line)


def _object(value: Any, source: str) -> JSON:
    """The value if it can be a row: an object, its text writable as UTF-8."""
    row = as_object(value)
    if row is None:
        hint = "one object a line; rename a JSON list to .json" if source[:1] == "[" else None
        raise DataError(f"a row is an object, not {describe(value)}", hint=hint)
    if "\\ud" in source.lower():
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DataError(
                "half of a surrogate pair (\\ud800 to \\udfff) in a string",
                hint="write the character itself, or both halves",
            ) from None
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, write null")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=unique)


def _cause(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _json(file: Path, report: OnBadLine) -> Iterator[Row]:
    """A list of objects, one object, or objects one after the other."""
    with _open(file) as stream:
        raw = stream.read(LARGEST_JSON + 1)
    if len(raw) > LARGEST_JSON:
        size = LARGEST_JSON // 2**20
        raise DataError(
            f"more than {size} MiB in one piece", where=str(file), hint="write it as JSONL"
        )
    _refuse_utf16(raw, str(file))
    source = raw.decode("utf-8-sig")
    del raw
    decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=unique)
    position = _skip(source, 0)
    in_list = source[position : position + 1] == "["
    position = _skip(source, position + 1) if in_list else position
    line, counted = 1, 0
    while position < len(source) and not (in_list and source[position] == "]"):
        line += source.count("\n", counted, position)
        counted = position
        where = f"{file}:{line}"
        try:
            value, end = decoder.raw_decode(source, position)
            after = _next(source, end, in_list)
        except (ValueError, RecursionError, DataError) as error:
            report(BadLine(_json_problem(error, where), source[position : position + 1000]))
            return
        try:
            row = _object(value, source[position:end])
        except DataError as error:
            report(BadLine(_json_problem(error, where), source[position:end]))
        else:
            yield Row(row, where)
        position = after
    rest = source[position:].strip()
    if rest != ("]" if in_list else ""):
        found = f"{show(rest)} after the list" if rest else "the list is not closed"
        report(BadLine(DataError(found, where=str(file), hint="was the file cut off?"), rest))


def _json_problem(error: Exception, where: str) -> DataError:
    if isinstance(error, DataError):
        return DataError(error.what, where=where, hint=error.hint)
    cause = _cause(error)
    if isinstance(error, json.JSONDecodeError):
        cause = f"{error.msg} at line {error.lineno} column {error.colno}"
    return DataError(
        f"not JSON ({cause}); nothing behind it can be read",
        where=where,
        hint="was the file cut off?",
    )


def _next(source: str, end: int, in_list: bool) -> int:
    """The position of the next value, its comma skipped."""
    position = _skip(source, end)
    if not in_list or position >= len(source) or source[position] == "]":
        return position
    if source[position] != ",":
        raise DataError(f"no comma after this object, but {show(source[position : position + 40])}")
    return _skip(source, position + 1)


def _skip(source: str, position: int) -> int:
    """The position of the next character that is not blank."""
    while position < len(source) and source[position] in " \t\r\n":
        position += 1
    return position


def _csv(file: Path, stream: IO[bytes], report: OnBadLine) -> Iterator[Row]:
    delimiter = "\t" if suffix_of(file) == ".tsv" else ","
    for value, number, problem in csv_rows(stream, delimiter):
        where = f"{file}:{number}"
        if problem is None:
            yield Row(value, where)
        else:
            report(BadLine(DataError(problem, where=where), "\t".join(map(str, value.values()))))
