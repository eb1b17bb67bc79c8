"""A list of messages that tells how much of its length each answer depends on."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, SupportsIndex, overload


class Reader(Protocol):
    """Who is told what was looked at."""

    def reached(self, index: int, there: bool) -> None:
        """Whether there is an item of that index was seen."""
        ...

    def measured(self, length: int) -> None:
        """The list's length was seen."""
        ...


class Watched(Sequence[Any]):
    """The items from ``first`` on. Law: two lists that begin alike give the same answers as long as
    what ``reader`` is told holds of both. It behaves as a list that is not changed, but for what
    asks for the type ``list`` itself: ``tojson`` refuses it."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: Sequence[Any], reader: Reader, first: int = 0) -> None:
        self._items, self._reader = items, reader
        self._first = first

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Any]: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        if isinstance(key, slice):
            start = key.start or 0
            if key.stop is None and key.step in (None, 1) and start >= 0:
                return Watched(self._items, self._reader, self._first + start)
            return self.copy()[key]
        index = operator.index(key)
        if index < 0:
            return self.copy()[index]
        self._reader.reached(self._first + index, self._first + index < len(self._items))
        return self._items[self._first + index]

    def __iter__(self) -> Iterator[Any]:
        for index in range(self._first, len(self._items)):
            self._reader.reached(index, True)
            yield self._items[index]
        self._reader.reached(max(self._first, len(self._items)), False)

    def __len__(self) -> int:
        self._reader.measured(len(self._items))
        return max(0, len(self._items) - self._first)

    def __bool__(self) -> bool:
        there = self._first < len(self._items)
        self._reader.reached(self._first, there)
        return there

    def copy(self) -> list[Any]:
        """The items as a list."""
        self._reader.measured(len(self._items))
        return list(self._items[self._first :])

    def __eq__(self, other: object) -> bool:
        return self.copy() == (other.copy() if isinstance(other, Watched) else other)

    def __add__(self, other: Any) -> list[Any]:
        return self.copy() + (other.copy() if isinstance(other, Watched) else other)

    def __radd__(self, other: Any) -> list[Any]:
        return other + self.copy()

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return self.copy() * times

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return repr(self.copy())


def begins_at(items: Watched) -> int:
    """The index of the list's first item."""
    return items._first  # pyright: ignore[reportPrivateUsage]
