"""Spans of a maker's own text, out of where each of its characters comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from toolgrove.core.spans import CALL_KINDS, WRITTEN_BY_MODEL, Kind, Span
from toolgrove.templates.base import ThinkMarks
from toolgrove.templates.tracked import LITERAL, Origin, Run, Tracked, bare


class Region(NamedTuple):
    """``text[start:end]`` is what the model writes as a message."""

    start: int
    end: int
    message: int


class Marks(NamedTuple):
    """What markup may say: the stops of a turn and the marks of thinking."""

    stops: tuple[str, ...]
    think: ThinkMarks


class _Atom(NamedTuple):
    text: str
    origin: Origin | None


def spans_in(text: Tracked, regions: Sequence[Region], marks: Marks) -> list[Span]:
    """The spans of a text. Laws: they join to the text; only what the template's own source holds
    is of a markup kind; only what stands in a region belongs to the model's side of a message, or
    is a message's own data."""
    spans: list[Span] = []
    done: set[int] = set()
    parts = text.parts([place for region in regions for place in region[:2]])
    for number, region in enumerate(regions):
        spans += _given(parts[2 * number], done)
        spans += written(parts[2 * number + 1], region.message, marks)
        done.add(region.message)
    return spans + _given(parts[-1], done)


def atoms(text: Tracked) -> list[_Atom]:
    """The runs of a text."""
    found: list[_Atom] = []
    position = 0
    for length, origin in text.runs:
        found.append(_Atom(str.__getitem__(text, slice(position, position + length)), origin))
        position += length
    return found


def _given(text: Tracked, done: set[int]) -> list[Span]:
    """What the model is given. Words of a turn that is ``done``, quoted again (the name of the
    tool in a result's header), belong to the result."""
    spans: list[Span] = []
    for piece, origin in atoms(text):
        if origin is None:
            spans.append(Span(piece, Kind.SYSTEM))
        elif origin.message in done and origin.kind in WRITTEN_BY_MODEL:
            spans.append(Span(piece, Kind.RESULT))
        else:
            spans.append(Span(piece, origin.kind, origin.message, origin.call))
    return spans


def written(text: Tracked, message: int, marks: Marks) -> list[Span]:
    """What a model writes as a message: its data, and markup that is named by what is beside it."""
    return list(_written(_Region(bare(text), text.runs, message, marks)))


class _Region(NamedTuple):
    """What there is to know of a text that a model writes."""

    text: str
    runs: tuple[Run, ...]
    message: int
    marks: Marks


@lru_cache(maxsize=512)
def _written(region: _Region) -> tuple[Span, ...]:
    """The spans; a turn's are asked for again with each later turn's prompt."""
    text, message, marks = Tracked.made(region.text, region.runs), region.message, region.marks
    pieces = atoms(text)
    spans: list[Span] = []
    for index, (piece, origin) in enumerate(pieces):
        before = _data(reversed(pieces[:index]), message)
        after = _data(pieces[index + 1 :], message)
        if origin == LITERAL:
            spans += _markup(piece, message, (before, after), marks)
        elif origin is not None and (origin.message == message or origin.message is None):
            spans.append(_model_span(piece, origin, message))
        elif origin is None:
            call = next((o for o in (before, after) if o and o.kind in CALL_KINDS), None)
            kind = Kind.CALL_ARGS if call else Kind.TEXT
            spans.append(Span(piece, kind, message, call.call if call else None))
        else:
            spans.append(Span(piece, origin.kind, origin.message, origin.call))
    return tuple(spans)


def _model_span(piece: str, origin: Origin, message: int) -> Span:
    kind = origin.kind if origin.kind in WRITTEN_BY_MODEL else Kind.TEXT
    return Span(piece, kind, message, origin.call)


def _data(pieces: Iterable[_Atom], message: int) -> Origin | None:
    """The first origin that is the message's own data."""
    for _, origin in pieces:
        if origin is not None and origin.message == message:
            return origin
    return None


def _markup(
    piece: str, message: int, beside: tuple[Origin | None, Origin | None], marks: Marks
) -> list[Span]:
    """The template's own text inside a turn, cut at the marks of thinking and at stops."""
    before, after = beside
    opens, closes = re.escape(marks.think.open), re.escape(marks.think.close)
    thinking = [rf"(?P<open>{opens}\s*)"] if opens else []
    thinking += [rf"(?P<close>\s*{closes}\s*)"] if closes else []
    stops = "|".join(map(re.escape, sorted(marks.stops, key=len, reverse=True)))
    stop = [rf"(?P<stop>{stops})"] if stops and after is None else []
    pattern = "|".join([*thinking, *stop])
    spans: list[Span] = []
    position = 0
    for match in re.finditer(pattern, piece) if pattern else ():
        spans += _plain_markup(piece[position : match.start()], message, before, after)
        kind = _KINDS[str(match.lastgroup)]
        spans.append(Span(match.group(), kind, message))
        position = match.end()
    return spans + _plain_markup(piece[position:], message, before, after)


_KINDS = {"open": Kind.THINK_OPEN, "close": Kind.THINK_CLOSE, "stop": Kind.STOP}


def _plain_markup(
    piece: str, message: int, before: Origin | None, after: Origin | None
) -> list[Span]:
    if not piece:
        return []
    call = next((o for o in (after, before) if o is not None and o.kind in CALL_KINDS), None)
    if call is None:
        kind = Kind.SEPARATOR if piece.isspace() else Kind.TEXT_MARK
        return [Span(piece, kind, message)]
    first = before is None or before.kind not in CALL_KINDS
    blank = len(piece) - len(piece.lstrip()) if first and before is not None else 0
    lead = [Span(piece[:blank], Kind.SEPARATOR, message)] if blank else []
    rest = [Span(piece[blank:], Kind.CALL_MARK, message, call.call)] if piece[blank:] else []
    return [*lead, *rest]
