"""The files that a command examines row by row, drawn rows and stdin included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolgrove.cli.inputs import SEED
from toolgrove.cli.stdin import NAME, stdin_file
from toolgrove.core.errors import ConfigError

if TYPE_CHECKING:
    from toolgrove.data.doctor.examine import Doctor, Verdict
    from toolgrove.data.rows import BadLine


class Input(NamedTuple):
    """A file to examine, what it is called, and which of its rows (None: all)."""

    file: Path
    name: str
    chosen: frozenset[int] | None = None


def verdicts_of(doctor: Doctor, inputs: list[Input]) -> Iterator[Verdict]:
    """The verdicts of all files, one after the other."""
    for item in inputs:
        yield from doctor.file(item.file, item.name, item.chosen)


def inputs_of(specs: list[str], stack: ExitStack) -> Iterator[Input]:
    """The files of all sources; what stdin sent is kept as long as the stack is open."""
    from toolgrove.data.sources import parse_source, source_files

    if not specs:
        raise ConfigError("no rows", hint="name a file, or - to read from stdin")
    for spec in specs:
        if spec == "-":
            yield Input(stack.enter_context(stdin_file()), NAME)
            continue
        source = parse_source(spec)
        files = source_files(source)
        if source.count is None:
            yield from (Input(file, str(file)) for file in files)
        else:
            yield from _sampled(files, source.count)


def _sampled(files: list[Path], count: int) -> Iterator[Input]:
    """The files with the rows that ``#count`` draws from all of them together."""
    from toolgrove.data.rows import read_rows
    from toolgrove.data.sources import sample

    totals = [sum(1 for _ in read_rows(file, _pass_over)) for file in files]
    chosen = set(sample(range(sum(totals)), count, SEED))
    start = 0
    for file, total in zip(files, totals, strict=True):
        rows = frozenset(n - start for n in chosen if start <= n < start + total)
        yield Input(file, str(file), rows)
        start += total


def _pass_over(_: BadLine) -> None:
    """A line that holds no row is told when the file is examined."""
