"""Rows that stream: read over and over, a window of them in memory at a time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import DataError
from toolgrove.data.load import ColumnCheck
from toolgrove.data.rows import BadLine, Row
from toolgrove.data.stream import Mixture, stream_rows
from toolgrove.encoding.encoded import Encoded

logger = logging.getLogger(__name__)


class Made(NamedTuple):
    """What the rows of a window became: sequences, rejected rows, rows with nothing to train."""

    sequences: Sequence[Encoded]
    rejected: Sequence[dict[str, Any]] = ()
    idle: int = 0


class Start(NamedTuple):
    """Where a window begins: its number, the passes through all data before it, the rows of this
    pass before it."""

    window: int = 0
    passes: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Windows:
    """The rows of a mixture, ``size`` of them at a time, as the sequences ``make`` makes of them.

    When all rows were read, reading begins anew. Law: what comes from a start does not depend on
    whether the windows before it were read. Rejected rows are appended to the file ``rejected``
    once each (None: a bad line is an error); their places are what memory grows with.
    """

    mixture: Mixture
    size: int
    make: Callable[[Sequence[Row]], Made]
    rejected: Path | None = None
    columns: dict[str, str] = field(default_factory=dict[str, str])

    def first(self) -> Made:
        """The first window, to look at; DataError where no row of all can be used."""
        for _, made in self.since(Start()):
            if made.sequences:
                return made
        raise DataError("no rows", where=", ".join(self.mixture.specs))

    def since(self, start: Start) -> Iterator[tuple[Start, Made]]:
        """The windows from ``start`` on, without end."""
        told = _Told(self.rejected) if self.rejected else None
        while True:
            useful = start.rows > 0
            columns = ColumnCheck(self.columns, self.mixture)
            rows = stream_rows(self.mixture, told.line if told else None)
            for _ in islice(rows, start.rows):
                useful = True
            while held := list(islice(rows, self.size)):
                for row in held:
                    columns.see(row)
                made = self.make(held)
                if told:
                    told.rows(made.rejected)
                useful = useful or bool(made.sequences)
                yield start, made
                start = Start(start.window + 1, start.passes, start.rows + len(held))
            columns.finish()
            if not useful:
                raise self._nothing(told)
            start = Start(start.window, start.passes + 1)

    def _nothing(self, told: _Told | None) -> DataError:
        return DataError(
            "none of the rows has anything to train"
            + (f", {told.count} were rejected" if told and told.count else ""),
            where=", ".join(self.mixture.specs),
            hint=f"see {self.rejected}" if told and told.count else "are there assistant turns?",
        )


class _Told:
    """The file of rejected rows, in which each stands once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        self._places = {json.loads(line)["where"] for line in lines}

    @property
    def count(self) -> int:
        """How many rows were rejected."""
        return len(self._places)

    def line(self, bad: BadLine) -> None:
        """Notes a line that holds no row."""
        error = bad.error
        entry = {"where": error.where, "reason": error.what, "hint": error.hint, "text": bad.text}
        self.rows([entry])

    def rows(self, entries: Sequence[dict[str, Any]]) -> None:
        """Notes rows that cannot be used."""
        new = [entry for entry in entries if entry["where"] not in self._places]
        if not new:
            return
        if not self._places:
            logger.warning("rows that cannot be used are left out, see %s", self._file)
        self._places.update(entry["where"] for entry in new)
        with self._file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            for entry in new:
                stream.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")
