"""What only shows across rows: copies, shared ids, columns and arguments of changing types."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from typing import Any

from toolgrove.core.messages import JSON
from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Found, Spot, warning
from toolgrove.data.doctor.sketch import Sketches, shingles
from toolgrove.data.fields import show

DUPLICATE_ID = warning(
    "duplicate-id", "a row with the id of another row", "give each row an id of its own"
)
DUPLICATE_ROW = warning(
    "duplicate-row", "a row whose conversation was there already", "keep it once"
)
NEAR_DUPLICATE = warning(
    "near-duplicate",
    "a row that says nearly the same as an earlier one",
    "keep one of them, unless both are meant",
)
MIXED_COLUMN = warning(
    "mixed-column",
    "a column with values of different types: a table would turn them into one",
    "write all values of the column in one type",
)
MIXED_ARGUMENT = warning(
    "mixed-argument",
    "an argument that comes in different types, and no schema says which is right",
    "declare the argument's type in the tool's schema, and write it so",
)
IDS = ("id", "conversation_id", "uid", "uuid")
LIKENESS = 0.8
"""From which share of common pairs of words on two rows are near-duplicates."""

_MOST_NAMES = 10_000


class Across:
    """Remembers rows and tells what repeats or contradicts an earlier one.

    ``place`` names the row that is examined. About 1 kB a row: digests, a sketch, its place.
    """

    def __init__(self, likeness: float = LIKENESS) -> None:
        self._ids: dict[bytes, int] = {}
        self._rows: dict[bytes, int] = {}
        self._sketches = Sketches(likeness)
        self._files: list[str] = []
        self._file_of = array("H")
        self._line_of = array("L")
        self._columns: dict[str, tuple[str, int]] = {}
        self._arguments: dict[tuple[str, str], tuple[str, int]] = {}

    def examine(self, row: Examined, place: tuple[str, int]) -> Iterator[Found]:
        """What earlier rows say of this one, which is remembered for later ones."""
        number = self._remember(place)
        yield from self._id(row, number)
        yield from self._mixed(row, number)
        yield from self._copies(row, number)

    def _remember(self, place: tuple[str, int]) -> int:
        file, line = place
        if file not in self._files[-1:]:
            self._files.append(file)
        self._file_of.append(min(len(self._files) - 1, 0xFFFF))
        self._line_of.append(line)
        return len(self._line_of) - 1

    def _told(self, number: int) -> str:
        return f"{self._files[self._file_of[number]]}:{self._line_of[number]}"

    def _id(self, row: Examined, number: int) -> Iterator[Found]:
        for column in IDS:
            value = row.row.get(column)
            if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
                continue
            first = self._ids.setdefault(_digest([column, value]), number)
            if first != number:
                what = f"{show(value)} is the id of {self._told(first)}, too"
                yield Found(DUPLICATE_ID, Spot(At(keys=(column,)), what))

    def _copies(self, row: Examined, number: int) -> Iterator[Found]:
        first = self._rows.setdefault(_digest(_plain(row)), number)
        hashes = shingles(_said(row))
        near = self._sketches.nearest(hashes)
        if first != number:
            what = f"the same conversation as {self._told(first)}"
            yield Found(DUPLICATE_ROW, Spot(At(), what))
        elif near is not None:
            other, likeness = near
            what = f"{likeness:.0%} the same as {self._told(other)}"
            yield Found(NEAR_DUPLICATE, Spot(At(), what))

    def _mixed(self, row: Examined, number: int) -> Iterator[Found]:
        for column, value in row.row.items():
            odd = _changed(self._columns, column, value, number)
            if odd is not None:
                what = f"{_type(value)} here, {odd[0]} in {self._told(odd[1])}"
                yield Found(MIXED_COLUMN, Spot(At(keys=(column,)), what))
        for called in row.calls:
            declared: Any = called.tool.parameters.get("properties") if called.tool else None
            for name, value in called.made.arguments.items():
                if isinstance(declared, dict) and name in declared and declared[name]:
                    continue
                key = (called.made.name, name)
                odd = _changed(self._arguments, key, value, number)
                if odd is not None:
                    at = At(called.message, called.call, ("arguments", name))
                    what = f"{_type(value)} here, {odd[0]} in {self._told(odd[1])}"
                    yield Found(MIXED_ARGUMENT, Spot(at, what))


def _changed(
    known: dict[Any, tuple[str, int]], name: Any, value: Any, number: int
) -> tuple[str, int] | None:
    """The other type and its row; the first type met is what the others are held against."""
    if value is None or (len(known) >= _MOST_NAMES and name not in known):
        return None
    kind = _type(value)
    first = known.setdefault(name, (kind, number))
    return first if first[0] != kind else None


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def _digest(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _plain(row: Examined) -> list[Any]:
    conv = row.conversation
    said: list[JSON] = [
        {
            "role": str(message.role),
            "content": message.text,
            "thinking": message.thinking,
            "calls": [[call.name, call.arguments] for call in message.calls],
        }
        for message in conv.messages
    ]
    return [said, [tool.spec for tool in conv.tools], [str(item) for item in conv.images]]


def _said(row: Examined) -> Iterator[str]:
    """What makes a row itself: all that is said and called, and which tools are on offer."""
    for message in row.messages:
        for call in message.calls:
            yield call.name
    for said in row.texts:
        yield said.text
    yield from row.tools
