"""Renders that recall what an earlier one wrote, where all that it looked at is the same.

A segment of a template is run once and remembered with all that it looked at: the values of its
variables, the attributes of namespaces, how its comparisons came out, and which messages were
there. In the render of another prefix of the same conversation it need not run again while all of
that still holds: it would write the same text and set the same attributes.
"""

from __future__ import annotations

import operator
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jinja2 import TemplateError as JinjaError
from jinja2 import Undefined, nodes, pass_context
from jinja2.runtime import Context, Macro

from toolgrove.templates.alike import is_plain, same
from toolgrove.templates.sandbox import Counted, SafeNamespace, Sandbox, budget
from toolgrove.templates.segments import Path, Segment, segmented
from toolgrove.templates.watched import Watched, begins_at

_OPERATORS = (operator.eq, operator.ne, operator.gt, operator.ge, operator.lt, operator.le)
_REMEMBERED = 4
"""How many ways in which a segment, or a round of it, came out are remembered."""
_MISSING = object()
_RAISED = (JinjaError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class _Compared(NamedTuple):
    """A comparison that came out so; ``first``: the other value stands before the operator."""

    path: Path
    compare: Callable[[Any, Any], Any]
    other: Any
    first: bool
    outcome: bool


@dataclass(slots=True)
class _Round:
    """What a run of a segment wrote and set, and what it looked at on the way: at least ``least``
    messages were there and at most ``most``. Attributes are those of numbered namespaces."""

    text: str = ""
    steps: int = 0
    least: int = 0
    most: int | None = None
    read: dict[tuple[int, str], Any] = field(default_factory=dict[tuple[int, str], Any])
    compared: list[_Compared] = field(default_factory=list[_Compared])
    written: dict[tuple[int, str], Any] = field(default_factory=dict[tuple[int, str], Any])


class _Kept(NamedTuple):
    """A value of one render as it is remembered for others: a watched list by where it begins, a
    namespace by its number, a macro by its name."""

    kind: type
    which: int | str | None


class _Table(NamedTuple):
    """The rounds of a segment, for the values that its variables had."""

    values: tuple[Any, ...]
    rounds: defaultdict[int, deque[_Round]]


Memory = dict[int, list[_Table]]
"""What is remembered of a conversation, by a segment's number."""


class Recalling(NamedTuple):
    """A sandbox whose templates recall, and the segments that they were cut into."""

    sandbox: Sandbox
    segments: list[Segment]


def recalling(sandbox: Sandbox) -> Recalling:
    """Makes a sandbox compile templates so that their renders recall."""
    segments: list[Segment] = []

    def shape(tree: nodes.Template) -> None:
        segments.extend(segmented(tree, sandbox, len(segments)))

    filters = {"rounds": _rounds, "once": _once, "again": _again, "ended": _ended}
    own = {**filters, "compared": _compared, "scanned": _scanned, "scanning": _scanning}
    sandbox.filters.update(own)  # pyright: ignore[reportUnknownMemberType]
    sandbox.globals.update(namespace=_Namespace)  # pyright: ignore[reportUnknownMemberType]
    sandbox.shape = shape
    return Recalling(sandbox, segments)


class Render:
    """A render of some first messages, which uses and adds to what is remembered; ``known`` are the
    very values that all renders of the conversation are given.

    Law: it writes what the template writes for these messages.
    """

    def __init__(
        self, made: Recalling, memory: Memory, rows: Sequence[Any], known: Sequence[Any]
    ) -> None:
        self._made, self._memory, self._count = made, memory, len(rows)
        self._known = known
        self.messages = Watched(rows, self)
        """The messages, as the template is given them."""
        self.scanning = False
        """Whether the loop that looks for something looks through messages."""
        self._spaces: list[SafeNamespace] = []
        self._numbers: dict[int, int] = {}
        self._pieces: list[str] = []
        self._open: _Round | None = None
        self._begun = self._inside = 0
        self._table: _Table | None = None
        self._number, self._round = 0, -1
        self._roots: tuple[Any, ...] = ()
        self._values: dict[Path, Any] = {}

    def written(self, pieces: Iterable[str]) -> str:
        """What the template writes piece by piece, while this render is the one that runs."""
        token = _render.set(self)
        try:
            for piece in pieces:
                self._pieces.append(piece)
        finally:
            _render.reset(token)
        return self._made.sandbox.concat(self._pieces)

    @property
    def is_open(self) -> bool:
        """Whether a segment runs that is to be remembered."""
        return self._open is not None

    def reached(self, index: int, there: bool) -> None:
        """As ``Reader.reached``."""
        made = self._open
        if made is None:
            return
        if there:
            made.least = max(made.least, index + 1)
        else:
            made.most = index if made.most is None else min(made.most, index)

    def measured(self, length: int) -> None:
        """As ``Reader.measured``."""
        self.reached(length - 1, True)
        self.reached(length, False)

    def looped(
        self, items: Any, number: int, names: tuple[Any, ...], roots: tuple[Any, ...]
    ) -> None:
        """A loop begins; only over messages, and over what the template was given, are rounds
        known by their number."""
        self._round, self._roots, self._table = -1, roots, None
        self._values.clear()
        if isinstance(items, Watched) or any(items is value for value in self._known):
            self.opened(number, (items, *names), roots)

    def opened(self, number: int, values: tuple[Any, ...], roots: tuple[Any, ...]) -> None:
        """A segment begins, with these values of its variables."""
        self._number, self._round, self._roots, self._table = number, -1, roots, None
        self._values.clear()
        tables = self._memory.setdefault(number, [])
        kept = tuple(map(self._kept, values))
        for place, table in enumerate(tables):
            if all(map(same, table.values, kept)):
                self._table = table
                tables.insert(0, tables.pop(place))
                return
        if all(map(self._can_tell, kept)):
            self._table = _Table(kept, defaultdict(lambda: deque[_Round](maxlen=_REMEMBERED)))
            tables.insert(0, self._table)
            del tables[_REMEMBERED:]

    def again(self) -> bool:
        """Whether the segment's next round is recalled and needs no run."""
        self._round += 1
        if self._table is None:
            return False
        for made in self._table.rounds[self._round]:
            if self._holds(made):
                self._recalled(made)
                return True
        self._open = _Round(steps=budget().left)
        self._begun, self._inside = len(self._pieces), len(self._spaces)
        if self._made.segments[self._number].measured:
            self.measured(self._count)
        return False

    def _recalled(self, made: _Round) -> None:
        budget().spend(made.steps)
        if made.text:
            self._pieces.append(made.text)
        for (space, name), value in made.written.items():
            _attributes(self._spaces[space])[name] = value
            self._values.clear()

    def ended(self) -> None:
        """The segment's round has been run."""
        for space in self._spaces[self._inside :] if self._table else ():
            del self._numbers[id(space)]
        made, self._open = self._open, None
        if self._table is None:
            return
        del self._spaces[self._inside :]
        if made is not None:
            made.text = self._made.sandbox.concat(self._pieces[self._begun :])
            made.steps -= budget().left
            self._table.rounds[self._round].appendleft(made)

    def compared(self, other: Any, path: Path, operation: int, first: bool) -> Any:
        """A comparison with what a path leads to; not to be looked at otherwise."""
        compare, made = _OPERATORS[operation], self._open
        self._open = None
        value = self._value(path)
        outcome = compare(other, value) if first else compare(value, other)
        self._open = made
        if made is not None:
            if isinstance(outcome, bool) and is_plain(other):
                made.compared.append(_Compared(path, compare, other, first, outcome))
            else:
                self._open = None
        return outcome

    def created(self, space: SafeNamespace) -> None:
        """A namespace was made."""
        self._numbers[id(space)] = len(self._spaces)
        self._spaces.append(space)

    def noted(self, space: SafeNamespace, name: str, value: Any, *, set_here: bool) -> None:
        """An attribute of a namespace was set, or else looked at."""
        if set_here:
            self._values.clear()
        made, number = self._open, self._numbers.get(id(space))
        if made is None or (number is not None and number >= self._inside):
            return
        if number is None or not (value is _MISSING or is_plain(value)):
            self._open = None
        elif set_here:
            made.written[number, name] = value
        elif (number, name) not in made.written:
            made.read.setdefault((number, name), value)

    def _holds(self, made: _Round) -> bool:
        """Whether all that a round looked at is here as it was there."""
        if self._count < made.least or (made.most is not None and self._count > made.most):
            return False
        for (space, name), value in made.read.items():
            if not same(value, _attributes(self._spaces[space]).get(name, _MISSING)):
                return False
        return all(map(self._still, made.compared))

    def _still(self, made: _Compared) -> bool:
        try:
            value = self._value(made.path)
            outcome = (
                made.compare(made.other, value) if made.first else made.compare(value, made.other)
            )
        except _RAISED:
            return False
        return outcome is made.outcome

    def _value(self, path: Path) -> Any:
        if path not in self._values:
            self._values[path] = self._reached(path)
        return self._values[path]

    def _reached(self, path: Path) -> Any:
        (root, steps), sandbox = path, self._made.sandbox
        value = self._roots[root]
        for is_attribute, key in steps:
            if is_attribute:
                value = sandbox.getattr(value, str(key))
            else:
                value = sandbox.getitem(value, key)
        return value

    def _kept(self, value: Any) -> Any:
        if isinstance(value, Watched):
            return _Kept(Watched, begins_at(value))
        if isinstance(value, SafeNamespace):
            return _Kept(SafeNamespace, self._numbers.get(id(value)))
        if isinstance(value, Macro):
            return _Kept(Macro, value.name)
        return _Kept(Undefined, "") if isinstance(value, Undefined) else value

    def _can_tell(self, value: Any) -> bool:
        """Whether what a segment makes of a value shows when it is looked at again."""
        if isinstance(value, _Kept):
            return value.which is not None
        return is_plain(value) or any(
            value is known
            for known in self._made.sandbox.globals.values()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        )


class _Namespace(SafeNamespace):
    """A namespace that tells the render of what is read and set."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        SafeNamespace.__init__(*args, **kwargs)
        _render.get().created(args[0])

    def __getattribute__(self, name: str) -> Any:
        if name in _INNER:
            return object.__getattribute__(self, name)
        value = _attributes(self).get(name, _MISSING)
        render = _render.get()
        if render.is_open:
            render.noted(self, name, value, set_here=False)
        if value is _MISSING:
            raise AttributeError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        SafeNamespace.__setitem__(self, name, value)
        _render.get().noted(self, name, value, set_here=True)

    def __repr__(self) -> str:
        for name, value in _attributes(self).items():
            _render.get().noted(self, name, value, set_here=False)
        return SafeNamespace.__repr__(self)


_INNER = frozenset({"_Namespace__attrs", "__class__"})
_render: ContextVar[Render] = ContextVar("render")


def _attributes(space: SafeNamespace) -> dict[str, Any]:
    return object.__getattribute__(space, "_Namespace__attrs")


@pass_context
def _rounds(
    _context: Context, items: Any, number: int, names: tuple[Any, ...], roots: tuple[Any, ...]
) -> Counted:
    _render.get().looped(items, number, names, roots)
    return Counted(items)


@pass_context
def _once(_context: Context, number: int, names: tuple[Any, ...], roots: tuple[Any, ...]) -> bool:
    _render.get().opened(number, names, roots)
    return _render.get().again()


@pass_context
def _again(_context: Context, _number: int) -> bool:
    return _render.get().again()


@pass_context
def _ended(_context: Context, _number: int) -> None:
    _render.get().ended()


@pass_context
def _compared(_context: Context, other: Any, path: Path, operation: int, first: bool) -> Any:
    return _render.get().compared(other, path, operation, first)


@pass_context
def _scanned(_context: Context, items: Any) -> Any:
    _render.get().scanning = isinstance(items, Watched)
    return items


@pass_context
def _scanning(_context: Context, _nothing: None) -> bool:
    return _render.get().scanning
