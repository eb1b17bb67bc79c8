"""Loss rules: what each span of a rendered conversation weighs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from toolgrove.core.errors import ConfigError, did_you_mean
from toolgrove.core.messages import Conversation, Message, Role
from toolgrove.core.spans import CALL_KINDS, WRITTEN_BY_MODEL, Kind, Span
from toolgrove.encoding.scales import SCALES, Piece, Table, pieces_of
from toolgrove.encoding.tables import is_table_file, read_table

_ASSISTANT = Role.ASSISTANT  # an attribute of an enum's class is slow to look up
BASES = ("default", "last_round", "all")


class Weighted(NamedTuple):
    """A piece of a span and its weight."""

    span: Span
    weight: float


_weighted = partial(tuple[Any, ...].__new__, Weighted)  # takes half as long as Weighted itself


class Scale(NamedTuple):
    """A table and the name, or the file, that it was asked for by."""

    name: str
    table: Table


@dataclass(frozen=True, slots=True)
class LossRule:
    """What spans weigh: a base, then the product of the tables.

    ``default`` trains what the model writes, ``last_round`` only what it writes after the last user
    message (a result that answers no call counts as one), ``all`` everything. A message's own
    ``loss`` overrides the base, its own ``loss_scale`` the tables; those of a call act on that call
    alone, and the last one's on the stop that follows.
    """

    base: str
    scales: tuple[Scale, ...] = ()

    def weigh(
        self, spans: Sequence[Span], conv: Conversation, acted: set[str] | None = None
    ) -> list[Weighted]:
        """The spans, cut where a rule cuts inside them, each with its weight.

        ``acted`` gathers the names of the tables that found something to weigh.
        """
        return self.on(conv, acted)(spans)

    def on(
        self, conv: Conversation, acted: set[str] | None = None
    ) -> Callable[[Sequence[Span]], list[Weighted]]:
        """``weigh`` for several runs of spans of one conversation."""
        first_trained = last_input(conv) + 1 if self.base == "last_round" else 0
        if self.scales or _weighs(conv):
            return lambda spans: self._scaled(spans, conv, first_trained, acted)
        if self.base == "all":
            return lambda spans: [Weighted(span, 1.0) for span in spans]
        trained = {
            number
            for number, message in enumerate(conv.messages)
            if number >= first_trained and message.role is _ASSISTANT
        }
        return lambda spans: [
            _weighted((span, 1.0 if span[1] in WRITTEN_BY_MODEL and span[2] in trained else 0.0))
            for span in spans
        ]

    def _scaled(
        self, spans: Sequence[Span], conv: Conversation, first_trained: int, acted: set[str] | None
    ) -> list[Weighted]:
        """``weigh`` where the row has weights of its own, or there are tables."""
        owned = zip(spans, _owns(spans, conv), strict=True)
        if not self.scales:
            return [Weighted(span, self._based(span, own, first_trained)[0]) for span, own in owned]
        items = [_Item(span, *self._based(span, own, first_trained)) for span, own in owned]
        for name, table in self.scales:
            items, found = _applied(table, items, conv)
            if found and acted is not None:
                acted.add(name)
        return [Weighted(item.span, item.weight) for item in items]

    def idle(self, acted: Collection[str]) -> list[str]:
        """One sentence for each table that is not among those that acted."""
        return [
            f'loss scale "{name}" weighs nothing: in what is learnt there is none of what it looks '
            f"for ({table.looks_for()})"
            for name, table in self.scales
            if name not in acted
        ]

    def _based(self, span: Span, own: _Own | None, first_trained: int) -> tuple[float, bool]:
        """What the base gives a span, and whether tables act on it."""
        if own is None or span.message is None:
            return (1.0 if self.base == "all" else 0.0), False
        trains = own.loss
        if trains is None:
            trains = self.base == "all" or span.message >= first_trained
        if own.loss_scale is None:
            return float(trains), True
        return trains * own.loss_scale, False


def _weighs(conv: Conversation) -> bool:
    """Whether a row gives weights of its own."""
    for message in conv.messages:
        if message.loss is not None or message.loss_scale is not None:
            return True
        for call in message.calls:
            if call.loss is not None or call.loss_scale is not None:
                return True
    return False


class _Own(NamedTuple):
    """The weights that a row itself gives to a span that the model writes."""

    loss: bool | None
    loss_scale: float | None


class _Item(NamedTuple):
    """A piece of a span, its weight so far, and whether tables act on it."""

    span: Span
    weight: float
    free: bool

    def times(self, factor: float, text: str | None = None) -> _Item:
        """The piece, or a part of its text, with its weight multiplied where tables may."""
        span = self.span if text is None else self.span._replace(text=text)
        return _Item(span, self.weight * factor if self.free else self.weight, self.free)


def parse_loss_scale(spec: str) -> LossRule:
    """The rule of a text such as ``react``, ``last_round+hermes`` or ``default+my_table.yaml``.

    Files are read here, once. ConfigError for an unknown name, a base that does not stand first,
    and a file that is no table.
    """
    names = [name.strip() for name in spec.split("+")]
    base = names.pop(0) if names[0] in BASES else "default"
    return LossRule(base, tuple(Scale(name, _table(name, spec)) for name in names))


def _table(name: str, spec: str) -> Table:
    if is_table_file(name):
        return read_table(name)
    if name in BASES:
        raise ConfigError(
            f'loss scale "{spec}": "{name}" must stand first', hint=f'write "{name}+..."'
        )
    if name not in SCALES:
        known = [*BASES, *SCALES]
        near = did_you_mean(name, known)
        raise ConfigError(
            f'unknown loss scale "{name}"',
            hint=f"{near + ' ' if near else ''}known: {', '.join(known)}, or a .yaml or .json file",
        )
    return SCALES[name]


def last_input(conv: Conversation) -> int:
    """The index of the last user message, or of a later result that answers no call; else -1."""
    last, awaited = -1, False
    for index, message in enumerate(conv.messages):
        if message.role is Role.ASSISTANT:
            awaited = bool(message.calls)
        elif message.role is Role.USER or (message.role is Role.TOOL and not awaited):
            last = index
    return last


def _owns(spans: Sequence[Span], conv: Conversation) -> Iterator[_Own | None]:
    """For each span what its row gives it; None where the model does not write it.

    Marks around all calls belong to the call beside them: before the first call to the first.
    """
    latest: dict[int, int] = {}
    for span in spans:
        index = span.message
        if index is None or span.kind not in WRITTEN_BY_MODEL:
            yield None
            continue
        message = conv.messages[index]
        if message.role is not Role.ASSISTANT:
            yield None
            continue
        call = span.call
        if call is not None:
            latest[index] = call
        elif span.kind in CALL_KINDS or span.kind is Kind.CALL_STOP:
            call = latest.get(index, 0)
        elif span.kind is Kind.SEPARATOR:
            call = latest.get(index)
        elif span.kind is Kind.STOP:
            call = len(message.calls) - 1
        yield _own(message, call)


def _own(message: Message, call: int | None) -> _Own:
    if call is None or not 0 <= call < len(message.calls):
        return _Own(message.loss, message.loss_scale)
    own = message.calls[call]
    return _Own(
        message.loss if own.loss is None else own.loss,
        message.loss_scale if own.loss_scale is None else own.loss_scale,
    )


def _applied(table: Table, items: list[_Item], conv: Conversation) -> tuple[list[_Item], bool]:
    """The items under one table, and whether it found anything to weigh."""
    empty = _empty_thinking(items) if table.empty_thinking else frozenset[int]()
    asked = _asked(table, conv) if table.questions else {}
    done: list[_Item] = []
    found = False
    for index, item in enumerate(items):
        kind, message = item.span.kind, item.span.message
        if not (item.free and item.weight):
            done.append(item)
        elif message in asked and kind is not Kind.STOP:
            done.append(item.times(asked[message]))
            found = True
        elif index in empty:
            done.append(item.times(0.0))
            found = True
        else:
            factor = table.kinds.get(kind)
            found = found or factor is not None
            item = item if factor is None else item.times(factor)
            if kind is not Kind.TEXT or table.whole or not table.cuts:
                done.append(item)
                continue
            pieces = pieces_of(item.span.text, table)
            found = found or any(piece.matched for piece in pieces)
            done += [item.times(piece.factor, piece.text) for piece in pieces]
    if table.whole and table.cuts:
        done, matched = _cut_whole(table, done, asked)
        found = found or matched
    return done, found


def _cut_whole(
    table: Table, items: list[_Item], asked: dict[int | None, float]
) -> tuple[list[_Item], bool]:
    """The items with all that the model writes in a message cut as one text, its stop left out."""
    done: list[_Item] = []
    found = False
    for message, group in groupby(items, key=_answer):
        answer = list(group)
        if message is None or message in asked:
            done += answer
            continue
        searched = "".join(_searched(item.span) for item in answer)
        pieces = pieces_of("".join(item.span.text for item in answer), table, searched)
        found = found or any(piece.matched for piece in pieces)
        done += _along(answer, pieces)
    return done, found


def _answer(item: _Item) -> int | None:
    kind = item.span.kind
    return item.span.message if kind in WRITTEN_BY_MODEL and kind is not Kind.STOP else None


def _searched(span: Span) -> str:
    """The span's text, with what delimiters are not looked for in blotted out."""
    data = span.kind is Kind.CALL_NAME or span.kind is Kind.CALL_ARGS
    return "\0" * len(span.text) if data else span.text


def _along(items: list[_Item], pieces: list[Piece]) -> Iterator[_Item]:
    """The items cut where the pieces of their joined text are cut, with the pieces' factors."""
    rest = iter(pieces)
    factor, left = 1.0, 0
    for item in items:
        text, start = item.span.text, 0
        while start < len(text):
            if not left:
                piece = next(rest)
                factor, left = piece.factor, len(piece.text)
            end = min(start + left, len(text))
            yield item.times(factor, text[start:end])
            left -= end - start
            start = end


def _asked(table: Table, conv: Conversation) -> dict[int | None, float]:
    """The factor of each assistant message whose user asks one of the table's questions."""
    factors: dict[int | None, float] = {}
    current: float | None = None
    before: Role | None = None
    for index, message in enumerate(conv.messages):
        if message.role is Role.ASSISTANT:
            if current is not None:
                factors[index] = current
        elif message.role is not Role.USER:
            current = None
        elif current is None or before is not Role.USER:
            text = message.text
            current = next((f for question, f in table.questions if question in text), None)
        before = message.role
    return factors


def _empty_thinking(items: Sequence[_Item]) -> frozenset[int]:
    """The items (by place) that make up thinking blocks without thinking."""
    empty: set[int] = set()
    block: list[int] = []
    thinks = False
    for index, item in enumerate(items):
        kind = item.span.kind
        if kind not in (Kind.THINKING, Kind.THINK_CLOSE):
            block, thinks = ([index] if kind is Kind.THINK_OPEN else []), False
            continue
        block.append(index)
        if kind is Kind.THINKING:
            thinks = thinks or bool(item.span.text.strip())
        elif not thinks:
            empty.update(block)
    return frozenset(empty)
