"""Rows of sources one after the other, never more than a few of them in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from toolgrove.core.errors import ConfigError, DataError
from toolgrove.data.fields import dump
from toolgrove.data.known import Mend, mend_for
from toolgrove.data.mix import Stopping, interleave, merge
from toolgrove.data.rows import BadLine, Line, OnBadLine, Row, read_lines, read_rows
from toolgrove.data.self_cognition import self_cognition
from toolgrove.data.sources import Place, Source, parse_source, source_files

_Item = TypeVar("_Item")
_Read: TypeAlias = Callable[[Path, OnBadLine | None], Iterator[_Item]]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which rows, and in what order.

    The sources of ``specs`` stand one after the other, or interleaved by ``weights`` (one for each)
    until ``stopping``. ``general`` adds ``general_ratio`` rows of further sources for each row of
    these, evenly spread. ``names`` and ``authors`` are who the model is in ``self-cognition``.
    """

    specs: tuple[str, ...]
    weights: tuple[float, ...] = ()
    stopping: Stopping = Stopping.FIRST_EXHAUSTED
    general: tuple[str, ...] = ()
    general_ratio: float = 0.0
    names: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    seed: int = 42
    cache_dir: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.specs:
            raise DataError("no data source", hint="give a file, hf:org/name, pypi:package …")
        if bool(self.general) != bool(self.general_ratio):
            raise ConfigError(
                "a mix needs both the general data and its ratio",
                hint="--train_dataset_mix_ds general.jsonl --train_dataset_mix_ratio 2",
            )
        if self.general_ratio < 0:
            raise ConfigError(f"a mix ratio is a number above 0, not {self.general_ratio}")


class MixSettings(Protocol):
    """What a command's settings say about its rows, under the names of its flags."""

    @property
    def dataset(self) -> Sequence[str]:
        """The sources."""
        ...

    @property
    def interleave_prob(self) -> Sequence[float]:
        """The proportions in which they take turns; none: one after the other."""
        ...

    @property
    def stopping_strategy(self) -> str:
        """When taking turns ends, by the name of a ``Stopping``."""
        ...

    @property
    def train_dataset_mix_ds(self) -> Sequence[str]:
        """The sources of general data."""
        ...

    @property
    def train_dataset_mix_ratio(self) -> float:
        """Rows of those for each row of the others."""
        ...

    @property
    def data_seed(self) -> int:
        """What decides the order and which rows are taken."""
        ...


def mixture_of(
    settings: MixSettings, names: Sequence[str] = (), authors: Sequence[str] = ()
) -> Mixture:
    """The training rows that a command's settings name; the rest as in a mixture."""
    return Mixture(
        tuple(settings.dataset),
        weights=tuple(settings.interleave_prob),
        stopping=Stopping(settings.stopping_strategy),
        general=tuple(settings.train_dataset_mix_ds),
        general_ratio=settings.train_dataset_mix_ratio,
        names=tuple(names),
        authors=tuple(authors),
        seed=settings.data_seed,
    )


def stream_rows(mixture: Mixture, on_bad_line: OnBadLine | None = None) -> Iterator[Row]:
    """The rows of a mixture, in an order that files, mixture and seed decide.

    A line that holds no row is an error, or is handed over as ``read_rows`` says, once. A source
    of which ``#N`` rows are taken, and any that is mixed in by a ratio, is read twice: to count its
    rows and to give them.
    """
    return _streamed(mixture, read_rows, on_bad_line)


def stream_lines(mixture: Mixture, on_bad_line: OnBadLine | None = None) -> Iterator[Row | Line]:
    """``stream_rows``, with lines of JSONL that are left to be looked into by ``row_of``.

    Where lines that hold no row are passed over and rows are counted, to draw or to mix some, they
    are looked into here: which rows are taken depends on it.
    """
    if on_bad_line is not None and _counts(mixture):
        return stream_rows(mixture, on_bad_line)
    return _streamed(mixture, read_lines, on_bad_line)


def _counts(mixture: Mixture) -> bool:
    """Whether rows are drawn, or take turns with others."""
    if mixture.weights or mixture.general:
        return True
    return any(parse_source(spec).count is not None for spec in mixture.specs)


def _streamed(
    mixture: Mixture, read: _Read[_Item], on_bad_line: OnBadLine | None
) -> Iterator[Row | _Item]:
    report = _once(on_bad_line)

    def rows() -> Iterator[Row | _Item]:
        streams = [_stream(spec, mixture, read, report) for spec in mixture.specs]
        if mixture.weights:
            return interleave(streams, mixture.weights, mixture.stopping)
        return chain.from_iterable(stream() for stream in streams)

    if not mixture.general:
        return rows()
    count = sum(1 for _ in rows())
    wanted = round(count * mixture.general_ratio)
    further = [_stream(spec, mixture, read, report) for spec in mixture.general]

    def general() -> Iterator[Row | _Item]:
        return chain.from_iterable(stream() for stream in further)

    if count and wanted and next(general(), None) is None:
        raise DataError("no rows to mix in", where=", ".join(mixture.general))
    return merge([rows(), drawn(general, wanted, mixture.seed)], [count, wanted])


def drawn(begin: Callable[[], Iterator[_Item]], count: int | None, seed: int) -> Iterator[_Item]:
    """``count`` of a stream's rows (None: all) in their order, the same ones for the same seed.

    No row is drawn twice; more than there are gives whole copies and a drawn remainder.
    """
    if count is None:
        yield from begin()
        return
    total = sum(1 for _ in begin())
    if not total:
        return
    copies, rest = divmod(count, total)
    for _ in range(copies):
        yield from begin()
    chosen = set(random.Random(seed).sample(range(total), rest))
    if chosen:
        last = max(chosen)
        for index, row in enumerate(begin()):
            if index in chosen:
                yield row
            if index == last:
                return


def files_of(mixture: Mixture) -> list[Path]:
    """All files that the mixture reads, fetched if need be."""
    sources = [parse_source(spec) for spec in (*mixture.specs, *mixture.general)]
    return [file for source in sources for file in _files(source, mixture)]


def _files(source: Source, mixture: Mixture) -> list[Path]:
    return [] if source.place is Place.SELF else source_files(source, mixture.cache_dir)


def _stream(
    spec: str, mixture: Mixture, read: _Read[_Item], report: OnBadLine | None
) -> Callable[[], Iterator[Row | _Item]]:
    source = parse_source(spec)
    files = _files(source, mixture)
    mend = mend_for(str(source).partition("@")[0].rpartition(":")[0]) or mend_for(str(source))

    def whole() -> Iterator[Row | _Item]:
        if source.place is Place.SELF:
            rows = self_cognition(mixture.names, mixture.authors)
            for number, value in enumerate(rows, start=1):
                yield Row(value, f"self-cognition:{number}")
        for file in files:
            if mend is None:
                yield from read(file, report)
            else:
                yield from _mended(read_rows(file, report), mend, report)

    return lambda: drawn(whole, source.count, mixture.seed)


def _mended(rows: Iterator[Row], mend: Mend, report: OnBadLine | None) -> Iterator[Row]:
    for row in rows:
        try:
            yield Row(mend(row.value), row.where)
        except DataError as error:
            placed = DataError(error.what, where=row.where, hint=error.hint)
            if report is None:
                raise placed from None
            report(BadLine(placed, dump(row.value)))


def _once(report: OnBadLine | None) -> OnBadLine | None:
    """Hands each bad line over once, though a source is read several times."""
    if report is None:
        return None
    told: set[str | None] = set()

    def tell(bad: BadLine) -> None:
        if bad.error.where not in told:
            told.add(bad.error.where)
            report(bad)

    return tell
