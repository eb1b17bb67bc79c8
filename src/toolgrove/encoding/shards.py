"""Encoded sequences as Arrow files that are read without copying them into memory."""

from __future__ import annotations

import importlib
import json
import os
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

from toolgrove.core.errors import DataError
from toolgrove.encoding.encoded import KINDS, NO_MESSAGE, Encoded, TokenSpan
from toolgrove.encoding.job import Work

_META = b"toolgrove"


@dataclass(frozen=True, slots=True)
class Totals:
    """What stands in a shard, or in all of them."""

    rows: int = 0
    sequences: int = 0
    tokens: int = 0
    trained: int = 0
    idle: int = 0
    rejected: int = 0
    acted: tuple[str, ...] = ()

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(
            self.rows + other.rows,
            self.sequences + other.sequences,
            self.tokens + other.tokens,
            self.trained + other.trained,
            self.idle + other.idle,
            self.rejected + other.rejected,
            tuple(sorted({*self.acted, *other.acted})),
        )


def totals_of(about: dict[str, Any]) -> Totals:
    """Totals as they were written."""
    named: dict[str, Any] = {**about, "acted": tuple(about["acted"])}
    return Totals(**named)


class _Lists:
    """A column of lists of numbers in the making."""

    def __init__(self, code: str) -> None:
        self._values: array[Any] = array(code)
        self._offsets = array("i", [0])

    def add(self, values: Sequence[Any]) -> None:
        """Appends one row's list."""
        self._values.extend(values)
        self._offsets.append(len(self._values))

    def column(self, pa: Any, kind: Any) -> Any:
        """The column as Arrow has it."""
        count = len(self._offsets) - 1
        values = pa.Array.from_buffers(kind, len(self._values), [None, pa.py_buffer(self._values)])
        buffers = [None, pa.py_buffer(self._offsets)]
        return pa.Array.from_buffers(pa.list_(kind), count, buffers, children=[values])


def arrow() -> Any:
    """The module pyarrow, with its ``ipc``; an error that names the extra where it is missing."""
    try:
        importlib.import_module("pyarrow.ipc")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise DataError(
            "a cache of encoded rows needs pyarrow", hint='pip install "toolgrove[train]"'
        ) from None


def write_shard(file: Path, work: Work) -> Totals:
    """Writes what rows became; the file appears whole or not at all.

    Weights and kinds are kept as runs, exactly. Rejected rows go to a file beside it.
    """
    pa = arrow()
    totals = Totals(
        work.rows,
        len(work.coded),
        sum(map(len, work.coded)),
        sum(sequence.trained for sequence in work.coded),
        work.idle,
        len(work.rejected),
        tuple(sorted(work.acted)),
    )
    if work.rejected:
        lines = [json.dumps(entry, ensure_ascii=False, default=str) for entry in work.rejected]
        _whole(rejected_file(file), ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    schema, columns = _columns(pa, work)
    schema = schema.with_metadata({_META: json.dumps(asdict(totals)).encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    _whole(file, sink.getvalue())
    return totals


def _columns(pa: Any, work: Work) -> tuple[Any, list[Any]]:
    ids, groups = _Lists("i"), _Lists("Q")
    span_ends, kinds, messages = _Lists("i"), _Lists("b"), _Lists("i")
    weight_ends, weights = _Lists("i"), _Lists("d")
    for sequence, keys in zip(work.coded, work.groups, strict=True):
        ids.add(sequence.ids)
        groups.add([_hash(key) for key in keys])
        span_ends.add(sequence.span_ends)
        kinds.add(sequence.span_kinds)
        messages.add(sequence.span_messages)
        weight_ends.add(sequence.weight_ends)
        weights.add(sequence.weights)
    named = {
        "where": _texts(pa, work.places),
        "groups": groups.column(pa, pa.uint64()),
        "ids": ids.column(pa, pa.int32()),
        "span_ends": span_ends.column(pa, pa.int32()),
        "span_kinds": kinds.column(pa, pa.int8()),
        "span_messages": messages.column(pa, pa.int32()),
        "weight_ends": weight_ends.column(pa, pa.int32()),
        "weights": weights.column(pa, pa.float64()),
    }
    return pa.schema([(name, column.type) for name, column in named.items()]), [*named.values()]


def _texts(pa: Any, texts: Sequence[str]) -> Any:
    """A column of texts, made without ``pa.array``, which imports pandas."""
    raw = [text.encode("utf-8", "backslashreplace") for text in texts]
    offsets = array("i", [0, *accumulate(map(len, raw))])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))]
    return pa.Array.from_buffers(pa.string(), len(raw), buffers)


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


class Shard:
    """An Arrow file of sequences, mapped into memory."""

    def __init__(self, file: Path) -> None:
        pa = arrow()
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(file)))
            self._batch = reader.get_batch(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"not a whole shard of encoded rows ({str(error).splitlines()[0]})",
                where=str(file),
                hint="delete this file and encode again: the other shards are kept",
            ) from None
        self.totals = totals_of(json.loads(reader.schema.metadata[_META]))

    def __len__(self) -> int:
        return self.totals.sequences

    def lengths(self) -> list[int]:
        """How many tokens each sequence has."""
        offsets = cast(list[int], self._batch.column("ids").offsets.to_pylist())
        return [end - start for start, end in pairwise(offsets)]

    def groups(self) -> list[list[int]]:
        """What each sequence's row shares with others, as numbers."""
        return cast(list[list[int]], self._batch.column("groups").to_pylist())

    def get(self, index: int) -> Encoded:
        """The sequence of that number, exactly as it was encoded."""
        row = self._batch.slice(index, 1)

        def values(name: str) -> list[Any]:
            return cast(list[Any], row.column(name).flatten().to_pylist())

        spans: list[TokenSpan] = []
        start = 0
        for end, kind, message in zip(
            values("span_ends"), values("span_kinds"), values("span_messages"), strict=True
        ):
            owner = None if message == NO_MESSAGE else message
            spans.append(TokenSpan(start, end, KINDS[kind], owner))
            start = end
        weights: list[float] = []
        for end, weight in zip(values("weight_ends"), values("weights"), strict=True):
            weights += [weight] * (end - len(weights))
        return Encoded(values("ids"), weights, spans, row.column("where")[0].as_py())


def rejected_file(shard: Path) -> Path:
    """Where the rejected rows of a shard stand."""
    return shard.with_suffix(".rejected.jsonl")


def _whole(file: Path, content: Any) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
