"""Strings that know where each of their characters comes from, through a whole Jinja render."""

from __future__ import annotations

import re
import string
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Self, SupportsIndex, cast

from markupsafe import escape

from toolgrove.core.spans import Kind
from toolgrove.templates.sandbox import check_length


class Origin(NamedTuple):
    """What a piece of text is: its kind, and the message and call it belongs to."""

    kind: Kind
    message: int | None = None
    call: int | None = None


LITERAL = Origin(Kind.SCAFFOLD)
"""The template's own words (and the names of roles, which a row cannot choose)."""

Run = tuple[int, Origin | None]
"""How many characters, and where they come from; None: made in a way that leaves no trace."""


class Tracked(str):
    """A string with the runs of its origins; every string method keeps or forgets them, never
    invents any. Law: only characters that the template's own text holds are ``LITERAL``."""

    runs: tuple[Run, ...]
    ends: list[int]
    __slots__ = ("ends", "runs")

    def __new__(cls, text: str = "") -> Self:
        """A text of which nothing is known."""
        made = super().__new__(cls, text)
        made.runs = ((len(text), None),) if text else ()
        return made

    @classmethod
    def of(cls, text: str, origin: Origin | None) -> Tracked:
        """A text of one origin."""
        return cls.made(text, ((len(text), origin),) if text else ())

    @classmethod
    def made(cls, text: str, runs: Iterable[Run]) -> Tracked:
        """A text with these runs, equal neighbours joined."""
        made = cls(text)
        joined: list[Run] = []
        for length, origin in runs:
            if joined and joined[-1][1] == origin:
                joined[-1] = (joined[-1][0] + length, origin)
            elif length:
                joined.append((length, origin))
        made.runs = tuple(joined)
        return made

    def part(self, start: int, end: int) -> Tracked:
        """The characters from ``start`` to ``end`` (exclusive, both inside)."""
        if start <= 0 and end >= len(self):
            return self
        runs: list[Run] = []
        ends = self._ends()
        number = bisect_right(ends, start)
        while start < end and number < len(ends):
            last = min(end, ends[number])
            runs.append((last - start, self.runs[number][1]))
            start, number = last, number + 1
        length = sum(run[0] for run in runs)
        return Tracked.made(str.__getitem__(self, slice(end - length, end)), runs)

    def _ends(self) -> list[int]:
        """Where the runs end."""
        if not hasattr(self, "ends"):
            self.ends = list(accumulate(length for length, _ in self.runs))
        return self.ends

    def parts(self, cuts: Sequence[int]) -> list[Tracked]:
        """The text cut at these places, which rise."""
        whole = bare(self)
        made: list[Tracked] = []
        runs = iter(self.runs)
        left, origin = next(runs, (0, None))
        for start, end in pairwise((0, *cuts, len(whole))):
            need, taken = end - start, list[Run]()
            while need:
                if not left:
                    left, origin = next(runs)
                step = min(left, need)
                taken.append((step, origin))
                left, need = left - step, need - step
            made.append(Tracked.made(whole[start:end], taken))
        return made

    def _same_runs(self, text: str) -> Tracked:
        """A text of the same length in the same places; forgets origins where it is longer."""
        return Tracked.made(text, self.runs) if len(text) == len(self) else forgotten(text, self)

    def __str__(self) -> str:
        return self

    def __getitem__(self, key: SupportsIndex | slice) -> Tracked:
        if not isinstance(key, slice):
            index = range(len(self))[key]
            return self.part(index, index + 1)
        start, end, step = key.indices(len(self))
        if step == 1:
            return self.part(start, max(start, end))
        return glued([self.part(i, i + 1) for i in range(start, end, step)])

    def __iter__(self) -> Iterator[str]:
        return (self.part(i, i + 1) for i in range(len(self)))

    def __add__(self, other: str) -> Tracked:
        return glued((self, _string(other)))

    def __radd__(self, other: str) -> Tracked:
        return glued((_string(other), self))

    def __mul__(self, times: SupportsIndex) -> Tracked:
        return glued([self] * int(times))

    def __rmul__(self, times: SupportsIndex) -> Tracked:
        return glued([self] * int(times))

    def strip(self, chars: str | None = None, /) -> Tracked:
        """As ``str.strip``."""
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None, /) -> Tracked:
        """As ``str.lstrip``."""
        return self.part(len(self) - len(str.lstrip(self, chars)), len(self))

    def rstrip(self, chars: str | None = None, /) -> Tracked:
        """As ``str.rstrip``."""
        return self.part(0, len(str.rstrip(self, chars)))

    def removeprefix(self, prefix: str, /) -> Tracked:
        """As ``str.removeprefix``."""
        return self.part(len(prefix), len(self)) if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> Tracked:
        """As ``str.removesuffix``."""
        cut = len(suffix) if suffix and self.endswith(suffix) else 0
        return self.part(0, len(self) - cut)

    def upper(self) -> Tracked:
        """As ``str.upper``."""
        return self._same_runs(str.upper(self))

    def lower(self) -> Tracked:
        """As ``str.lower``."""
        return self._same_runs(str.lower(self))

    def capitalize(self) -> Tracked:
        """As ``str.capitalize``."""
        return self._same_runs(str.capitalize(self))

    def title(self) -> Tracked:
        """As ``str.title``."""
        return self._same_runs(str.title(self))

    def swapcase(self) -> Tracked:
        """As ``str.swapcase``."""
        return self._same_runs(str.swapcase(self))

    def _pieces(self, texts: Sequence[str], gap: int) -> list[str]:
        """The parts of which ``texts`` are copies, in order, each ``gap`` behind the last."""
        parts: list[str] = []
        position = 0
        for text in texts:
            parts.append(self.part(position, position + len(text)))
            position += len(text) + gap
        return parts

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As ``str.split``."""
        if sep is not None:
            return self._pieces(str.split(self, sep, maxsplit), len(sep))
        return self._words(str.split(self, None, maxsplit))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As ``str.rsplit``."""
        if sep is not None:
            return self._pieces(str.rsplit(self, sep, maxsplit), len(sep))
        return self._words(str.rsplit(self, None, maxsplit))

    def splitlines(self, keepends: bool = False) -> list[str]:
        """As ``str.splitlines``."""
        whole = self._pieces(str.splitlines(self, True), 0)
        if keepends:
            return whole
        lines = str.splitlines(self)
        return [cast(Tracked, w).part(0, len(t)) for w, t in zip(whole, lines, strict=True)]

    def _words(self, texts: list[str]) -> list[str]:
        words: list[str] = []
        position = 0
        for text in texts:
            position = self.index(text, position)
            words.append(self.part(position, position + len(text)))
            position += len(text)
        return words

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        """As ``str.partition``."""
        left, middle, right = self._pieces(str.partition(self, sep), 0)
        return left, middle, right

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        """As ``str.rpartition``."""
        left, middle, right = self._pieces(str.rpartition(self, sep), 0)
        return left, middle, right

    def join(self, iterable: Iterable[str], /) -> Tracked:
        """As ``str.join``."""
        items: list[str] = []
        for item in iterable:
            items += (self, _string(item)) if items else (_string(item),)
        return glued(items)

    def __mod__(self, values: Any) -> Tracked:
        given = cast(tuple[Any, ...], values) if isinstance(values, tuple) else (values,)
        parts = self._pieces(str.split(self, "%s"), 2)
        if isinstance(values, dict) or len(parts) != len(given) + 1 or "%" in "".join(parts):
            return forgotten(str.__mod__(self, values), self)
        rest = [piece for pair in zip(map(str, given), parts[1:], strict=True) for piece in pair]
        return glued([parts[0], *rest])

    def filled(self, *args: Any, **kwargs: Any) -> Tracked | None:
        """As ``format``, for fields without attributes, conversions and widths; else None."""
        pieces: list[str] = []
        position = 0
        for text, name, spec, conversion in string.Formatter().parse(self):
            start = self.index(text, position) if text else position
            pieces.append(self.part(start, start + len(text)))
            position = start + len(text)
            if name is None:
                continue
            key = name or str(len(pieces) // 2)
            value = args[int(key)] if key.isdigit() and int(key) < len(args) else kwargs.get(key)
            if spec or conversion or value is None:
                return None
            pieces.append(str(value))
            position = self.index("}", position) + 1
        return glued(pieces)

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> Tracked:
        """As ``str.replace``."""
        if not old:
            return forgotten(str.replace(self, old, new, count), self, new)
        return new_joined(new, self.split(old, count))


def _string(value: Any) -> str:
    """The value, as Python's own strings take no other in a sum or a join."""
    if not isinstance(value, str):
        raise TypeError(f"a string is needed, not {type(value).__name__}")
    return value


def new_joined(separator: str, pieces: list[str]) -> Tracked:
    """The pieces with the separator between them."""
    return (separator if isinstance(separator, Tracked) else Tracked.of(separator, None)).join(
        pieces
    )


def bare(text: str) -> str:
    """The same text as a string of Python's own."""
    return str.__getitem__(text, slice(0, len(text) + 1)) if type(text) is not str else text


def forgotten(text: str, *sources: str) -> Tracked:
    """A text made out of others in a way that is not followed: of their one origin, else of
    none."""
    origins = {origin for source in sources for _, origin in runs_of(source)}
    return Tracked.of(text, origins.pop() if len(origins) == 1 else None)


def runs_of(text: str) -> tuple[Run, ...]:
    """A text's runs; of a plain text one without origin."""
    return text.runs if isinstance(text, Tracked) else ((len(text), None),)


def glued(pieces: Iterable[Any]) -> Tracked:
    """All pieces, one after the other."""
    texts: list[str] = []
    runs: list[Run] = []
    length = 0
    for piece in pieces:
        text = piece if isinstance(piece, str) else str(piece)
        length += len(text)
        check_length(length)
        texts.append(text)
        runs += runs_of(text)
    return Tracked.made("".join(texts), runs)


class TrackedDict(dict[Any, Any]):
    """An object of one origin: printed as JSON, all of it is of that origin."""

    origin: Origin

    def __str__(self) -> str:
        return Tracked.of(repr(self), self.origin)


class TrackedList(list[Any]):
    """A list of one origin."""

    origin: Origin

    def __str__(self) -> str:
        return Tracked.of(repr(self), self.origin)


class SafeText(Tracked):
    """What the ``safe`` filter gives: other text that is added to it is escaped for HTML."""

    __slots__ = ()

    def __html__(self) -> str:
        return self

    def __add__(self, other: str) -> Tracked:
        return safe(glued((self, escaped(other))))

    def __radd__(self, other: str) -> Tracked:
        return safe(glued((escaped(other), self)))


def track(value: Any, origin: Origin) -> Any:
    """The same JSON value, its strings, keys, objects and lists of one origin."""
    if isinstance(value, str):
        return Tracked.of(value, origin)
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        made = TrackedDict({track(key, origin): track(item, origin) for key, item in items})
        made.origin = origin
        return made
    if isinstance(value, list):
        listed = TrackedList([track(item, origin) for item in cast(list[Any], value)])
        listed.origin = origin
        return listed
    return value


def safe(value: Any) -> SafeText:
    """What the ``safe`` filter gives."""
    text = value if isinstance(value, str) else str(value)
    made = SafeText(text)
    made.runs = runs_of(text)
    return made


def escaped(text: str) -> str:
    """The text as HTML, each character's places of the character's own origin."""
    if hasattr(text, "__html__") or not _HTML.search(text):
        return text
    pieces: list[str] = []
    position = 0
    for length, origin in runs_of(text):
        plain = str.__getitem__(text, slice(position, position + length))
        pieces.append(Tracked.of(str(escape(plain)), origin))
        position += length
    return glued(pieces)


_HTML = re.compile("[&<>'\"]")
