"""Rows of CSV and Parquet files as plain values."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON

_LONGEST_FIELD = 2**31 - 1
"""The csv module's own limit of 128 KiB is shorter than long conversations."""


def csv_rows(stream: IO[bytes], delimiter: str) -> Iterator[tuple[JSON, int, str | None]]:
    """Each record with its first line's number; where its length is wrong, with that problem.

    The first record names the columns. Every value is a string.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = 1
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            yield {}, start, f"not CSV ({error})"
            return
        if record is None:
            return
        if header is None:
            header = record
            if len(set(header)) < len(header):
                yield {}, start, "the header names a column twice"
                return
        elif record:
            problem = None
            if len(record) != len(header):
                problem = f"{len(record)} fields, but the header names {len(header)} columns"
            yield dict(zip(header, record, strict=False)), start, problem
        start = reader.line_num + 1


def parquet_rows(file: Path) -> Iterator[tuple[JSON, int]]:
    """Each row with its number from 1.

    Arrow gives every object of a column the same keys and fills what a row did not have with
    null: nulls inside nested objects are taken out again, but for a message's ``content``.
    """
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(
            "Parquet needs pyarrow", where=str(file), hint='pip install "toolgrove[train]"'
        ) from None
    number = 0
    try:
        with file.open("rb") as stream:
            reader = parquet.ParquetFile(stream)
            for batch in reader.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield {name: _without_padding(value) for name, value in row.items()}, number
    except cast(type[Exception], pyarrow.ArrowException) as error:
        raise DataError(
            f"not a whole Parquet file ({str(error).splitlines()[0]})",
            where=f"{file}:row {number + 1}",
            hint="fetch or write the file again",
        ) from None


def _without_padding(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_padding(inner)
            for key, inner in cast(JSON, value).items()
            if inner is not None or key == "content"
        }
    if isinstance(value, list):
        return [_without_padding(inner) for inner in cast(list[Any], value)]
    return value
