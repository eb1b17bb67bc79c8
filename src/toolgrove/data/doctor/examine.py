"""Data files examined row by row: every row gets a verdict, none stops the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON
from toolgrove.data.doctor import unread
from toolgrove.data.doctor.across import Across
from toolgrove.data.doctor.against import Against
from toolgrove.data.doctor.counts import Counts
from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Check, Finding, Found, Kind, Spot, checks
from toolgrove.data.doctor.places import (
    Places,
    difference,
    keys_at,
    path_of,
    places_of,
    repaired,
)
from toolgrove.data.doctor.schemas import Schemas
from toolgrove.data.formats import conversation
from toolgrove.data.load import rename_columns
from toolgrove.data.rows import BadLine, read_rows
from toolgrove.data.samples import LABELS, REJECTED, feedback, preference

MOST_REPAIRS = 200
"""How many changes are made to one row at most."""

MOST_BAD_LINES = 10_000
"""After how many bad lines without a row between them a file is given up."""


class Further(Protocol):
    """A further examiner of rows that could be read, such as one with a model's tokenizer."""

    def examine(self, row: Examined, counts: Counts) -> Iterable[Found]:
        """What it finds; it may add to the counts."""
        ...


class Verdict(NamedTuple):
    """A row, or a line that holds none, with its findings.

    ``row`` None: the text could not be read as a row.
    """

    file: str
    line: int
    findings: list[Finding]
    row: JSON | None = None
    text: str = ""


class Mended(NamedTuple):
    """A row after its safe changes: these as lines of a diff, and the findings that are left."""

    row: JSON
    changes: list[str]
    left: list[Finding]


@dataclass(slots=True)
class Doctor:
    """Examines rows; it remembers those that it has seen, and counts.

    ``columns`` renames columns before reading, ``ignore`` names codes that are not told,
    ``further`` examine after the registered checks.
    """

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    ignore: frozenset[str] = frozenset()
    further: Sequence[Further] = ()
    against: Against | None = None
    across: Across = field(default_factory=Across)
    counts: Counts = field(default_factory=Counts)
    schemas: Schemas = field(default_factory=Schemas)
    checks: list[Check] = field(default_factory=lambda: [checks.get(n) for n in checks.names()])

    def file(
        self, path: Path, name: str = "", chosen: Collection[int] | None = None
    ) -> Iterator[Verdict]:
        """The verdicts of a file, in its order; ``name`` is what the file is called in them.

        ``chosen``: the numbers of the rows that are examined, from 0; lines that hold no row are
        always told.
        """
        called = name or str(path)
        line, number = 0, -1
        try:
            for item in _rows_and_bad_lines(path):
                line = item.line
                if isinstance(item, _Bad):
                    yield self._bad_line(item, called)
                    continue
                number += 1
                if chosen is None or number in chosen:
                    yield self.row(item.value, (called, line))
        except DataError as failure:
            kind = unread.NOT_UTF8 if "not UTF-8" in failure.what else unread.UNREADABLE
            yield _verdict(called, line_of(failure.where, line + 1), kind, failure)
            return
        if not line:
            yield _verdict(called, 1, unread.EMPTY_FILE, DataError("no rows"))

    def row(self, row: JSON, place: tuple[str, int]) -> Verdict:
        """The verdict of a row."""
        self.counts.rows += 1
        try:
            examined, founds = self._examine(row, place)
        except RecursionError:
            examined, founds = None, [Found(unread.TOO_DEEP, Spot(At(), "nested too deeply"))]
        founds = [found for found in founds if found.kind.code not in self.ignore]
        return _told(row, place, founds, examined)

    def _examine(self, row: JSON, place: tuple[str, int]) -> tuple[Examined | None, list[Found]]:
        examined, founds = self.read(row)
        if examined is not None:
            self.counts.add(examined)
            founds += self.across.examine(examined, place)
            founds += self.against.examine(examined) if self.against else ()
            for examiner in self.further:
                founds += examiner.examine(examined, self.counts)
        return examined, founds

    def read(self, row: JSON) -> tuple[Examined | None, list[Found]]:
        """The row as a conversation, and what the checks on single rows find in it."""
        try:
            renamed = rename_columns(row, self.columns) if self.columns else row
            conv = conversation(renamed)
            if any(conv.extra.get(name) is not None for name in REJECTED):
                preference(renamed)
            elif any(isinstance(conv.extra.get(name), bool) for name in LABELS):
                feedback(renamed)
        except DataError as failure:
            return None, [unread.found_in(row, failure)]
        examined = Examined(row, conv, self.schemas)
        founds = [
            Found(check.kind, spot)
            for check in self.checks
            if check.kind.code not in self.ignore
            for spot in check.find(examined)
        ]
        return examined, founds

    def repaired(self, verdict: Verdict) -> Mended:
        """The row of a verdict with every safe change made; nothing is written.

        After each change the row is examined anew, so that none works on what another one moved.
        """
        row, place = verdict.row or {}, (verdict.file, verdict.line)
        changes: list[str] = []
        founds: list[Found] = []
        examined: Examined | None = None
        for _ in range(MOST_REPAIRS):
            examined, founds = self.read(row)
            step = _first_repair(row, founds, examined) if examined is not None else None
            if step is None:
                break
            row = step.row
            changes += step.lines
        if not changes:
            return Mended(row, [], verdict.findings)
        single = {check.kind.code for check in self.checks}
        others = [finding for finding in verdict.findings if finding.kind.code not in single]
        return Mended(row, changes, [*_told(row, place, founds, examined).findings, *others])

    def _bad_line(self, item: _Bad, called: str) -> Verdict:
        self.counts.rows += 1
        bad, line = item.bad, item.line
        undecodable = "UTF-8" in bad.error.what
        kind = unread.kind_of_line(bad.text, called, undecodable)
        problem = DataError(bad.error.what, hint=kind.fix)
        return _verdict(called, line, kind, problem, bad.text)


class _Bad(NamedTuple):
    bad: BadLine
    line: int


class _Good(NamedTuple):
    value: JSON
    line: int


class _Step(NamedTuple):
    row: JSON
    lines: list[str]


def _rows_and_bad_lines(path: Path) -> Iterator[_Good | _Bad]:
    """Rows and lines that hold none, in the order of the file."""
    waiting: list[BadLine] = []
    last = 0

    def bad_lines() -> Iterator[_Bad]:
        nonlocal last
        for bad in waiting:
            last = line_of(bad.error.where, last + 1)
            yield _Bad(bad, last)
        waiting.clear()

    def report(bad: BadLine) -> None:
        waiting.append(bad)
        if len(waiting) >= MOST_BAD_LINES:
            raise DataError(
                f"{MOST_BAD_LINES:,} lines one after the other hold no row; not read on"
            )

    try:
        for row in read_rows(path, report):
            yield from bad_lines()
            last = line_of(row.where, last + 1)
            yield _Good(row.value, last)
    except DataError:
        yield from bad_lines()
        raise
    yield from bad_lines()


def line_of(where: str | None, otherwise: int) -> int:
    """The line, or the number of the row, at the end of a place such as ``train.jsonl:17``."""
    number = (where or "").rpartition(":")[2].removeprefix("row ")
    return int(number) if number.isdecimal() else otherwise


def _verdict(file: str, line: int, kind: Kind, failure: DataError, text: str = "") -> Verdict:
    fix = failure.hint or kind.fix
    return Verdict(file, line, [Finding(file, line, "", kind, failure.what, fix)], text=text)


def _told(
    row: JSON, place: tuple[str, int], founds: list[Found], examined: Examined | None
) -> Verdict:
    file, line = place
    if not founds:
        return Verdict(file, line, [], row)
    places = Places() if examined is None else places_of(row, examined.conversation)
    findings = [
        Finding(
            file,
            line,
            path_of(keys_at(row, places, spot.at)),
            kind,
            spot.message,
            spot.fix or kind.fix,
            spot.repair is not None,
        )
        for kind, spot in founds
    ]
    return Verdict(file, line, findings, row)


def _first_repair(row: JSON, founds: list[Found], examined: Examined) -> _Step | None:
    """The row with the first change that can be made, and the change as lines of a diff."""
    places: Places | None = None
    for _, spot in founds:
        if spot.repair is None:
            continue
        places = places or places_of(row, examined.conversation)
        changed = repaired(row, places, spot.repair)
        if changed is not None and changed != row:
            keys = keys_at(row, places, spot.repair.at)
            return _Step(changed, difference(row, keys, spot.repair))
    return None
