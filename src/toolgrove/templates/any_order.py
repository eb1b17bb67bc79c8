"""Members of an object, or arguments of a call, as rules of a grammar: in any order, each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from toolgrove.templates.rules import Rules

FREE_STEPS = 1600
"""how many steps a grammar may have from one set of members that are left to the next: n members
need n * 2**(n - 1), so one object may have eight, or eight tools may have six parameters each"""


class Piece(NamedTuple):
    """A member: the name of its rule, and whether it must be there."""

    rule: str
    required: bool


class Members(NamedTuple):
    """All members of an object.

    ``more`` stands for a further one whose name is none of theirs (empty: there are none),
    ``comma`` for what is between two, ``empty`` for what is written where there are none (None:
    there must be one). ``least`` and ``most`` count members.
    """

    pieces: tuple[Piece, ...]
    more: str = ""
    comma: str = '""'
    empty: str | None = '""'
    least: int = 0
    most: int | None = None


class Listing(NamedTuple):
    """The name of the rule for members, and what it leaves out or lets in, in words."""

    rule: str
    notes: tuple[str, ...] = ()


def in_any_order(rules: Rules, members: Members) -> Listing:
    """The members in any order, each of the named ones at most once.

    Law: the rule admits every order that the notes do not name, and always the order in which the
    members are given. Where they are too many, they stand in that order, or first the required ones
    in any order and then the others in any order, as far as these are few enough.
    """

    def make() -> Listing:
        listing = _Listing(rules, members)
        if rules.spend(_steps(len(members.pieces)), FREE_STEPS):
            return Listing(listing.free(), listing.uncounted())
        return listing.restricted()

    return rules.remember(members, make)


def in_order(rules: Rules, members: Members) -> str:
    """The members in the order in which they are given, others behind them."""
    return _Listing(rules, members).ordered()


def _steps(count: int) -> int:
    """How many steps there are between the sets of so many members."""
    return count << (count - 1) if count else 0


class _Listing:
    """Makes the rules."""

    def __init__(self, rules: Rules, members: Members) -> None:
        self._rules = rules
        self._members = members
        comma, more = members.comma, members.more
        self._pieces = members.pieces
        self._next = [rules.rule(f"{comma} {piece.rule}") for piece in members.pieces]
        self._more = more
        self._next_more = rules.rule(f"{comma} {more}") if more else ""

    def uncounted(self) -> tuple[str, ...]:
        """Which counts no rule holds."""
        members = self._members
        if not members.more:
            return ()
        if not self._pieces:
            repeats = members.least > 1
            return ("minProperties counts names that are repeated",) if repeats else ()
        needed = sum(piece.required for piece in self._pieces)
        found = ["minProperties is not enforced"] if members.least > needed else []
        return (*found, *(["maxProperties is not enforced"] if members.most is not None else []))

    def free(self) -> str:
        """All in any order."""
        if not self._pieces:
            return self._only_more()
        return self._first(frozenset(range(len(self._pieces))), self._left)

    def _only_more(self) -> str:
        members = self._members
        if not self._more or members.most == 0:
            return self._rules.rule(members.empty or '""')
        most = "" if members.most is None else members.most - 1
        several = f"{self._more} {self._next_more}{{{max(members.least - 1, 0)},{most}}}"
        empty = [] if members.least or members.empty is None else [members.empty]
        return self._rules.rule(" | ".join([several, *empty]))

    def _first(self, left: frozenset[int], rest: Callable[[frozenset[int]], str]) -> str:
        """The first member, of those that are left, and all behind it."""
        steps = [f"{self._pieces[n].rule} {rest(left - {n})}" for n in sorted(left)]
        if self._more:
            steps.append(f"{self._more} {rest(left)}")
        empty = self._members.empty
        if empty is not None and self._may_end(left):
            steps.append(empty)
        return self._rules.rule(" | ".join(steps))

    def _left(self, left: frozenset[int]) -> str:
        """All behind a member, where these are left; empty: nothing can stand there."""
        if not left and not self._more:
            return ""

        def body() -> str:
            count = len(self._pieces) - len(left)
            most = self._members.most
            steps: list[str] = []
            if self._more or most is None or count < most:
                steps = [f"{self._next[n]} {self._left(left - {n})}" for n in sorted(left)]
            return self._ended(steps, left, self._left)

        return self._rules.named((self._members, "left", left), body)

    def _ended(
        self, steps: list[str], left: frozenset[int], again: Callable[[frozenset[int]], str]
    ) -> str:
        """The steps to named members, with those to others and the end."""
        if self._more:
            steps.append(f"{self._next_more} {again(left)}")
        if self._may_end(left):
            steps.append('""')
        return " | ".join(steps) or '""'

    def _may_end(self, left: frozenset[int]) -> bool:
        counted = self._more or len(self._pieces) - len(left) >= self._members.least
        return bool(counted) and not any(self._pieces[n].required for n in left)

    def ordered(self) -> str:
        """All as they are given."""
        return self._first_of(range(len(self._pieces)), self._behind)

    def _first_of(self, places: range, rest: Callable[[frozenset[int]], str]) -> str:
        steps: list[str] = []
        for n in places:
            steps.append(f"{self._pieces[n].rule} {rest(frozenset(range(n + 1, places.stop)))}")
            if self._pieces[n].required:
                return self._rules.rule(" | ".join(steps))
        if self._more:
            steps.append(f"{self._more} {rest(frozenset())}")
        empty = self._members.empty
        return self._rules.rule(" | ".join([*steps, *([] if empty is None else [empty])]) or '""')

    def _behind(self, left: frozenset[int]) -> str:
        """All behind a member, in order, where these are left."""
        if not left and not self._more:
            return ""

        def body() -> str:
            steps: list[str] = []
            for n in sorted(left):
                later = frozenset(other for other in left if other > n)
                steps.append(f"{self._next[n]} {self._behind(later)}")
                if self._pieces[n].required:
                    return " | ".join(steps)
            return self._ended(steps, frozenset(), self._behind)

        return self._rules.named((self._members, "behind", left), body)

    def restricted(self) -> Listing:
        """All as they are given, or the required ones first."""
        count = len(self._pieces)
        needed = frozenset(n for n in range(count) if self._pieces[n].required)
        others = frozenset(range(count)) - needed
        bodies, told = [self.ordered()], "as declared"
        if needed and self._rules.spend(_steps(len(needed)), FREE_STEPS):
            free = self._rules.spend(_steps(len(others)), FREE_STEPS)
            told += ", or the required ones first" + (" and then the others" if free else "")
            bodies.append(self._first(needed, self._needed_first(others, free)))
        notes = [f"{count} members are too many for any order: they stand {told}"]
        if self._members.least > len(needed) or self._members.most is not None:
            notes.append("the number of members is not enforced")
        return Listing(self._rules.rule(" | ".join(bodies)), tuple(notes))

    def _needed_first(self, others: frozenset[int], free: bool) -> Callable[[frozenset[int]], str]:
        """What stands behind a required member: those that are left of them in any order, then the
        ``others``, in any order too where ``free``."""

        def behind(left: frozenset[int]) -> str:
            if not left:
                return self._others(others) if free else self._behind(others)
            key = (self._members, "needed", left)
            return self._rules.named(
                key,
                lambda: " | ".join(f"{self._next[n]} {behind(left - {n})}" for n in sorted(left)),
            )

        return behind

    def _others(self, left: frozenset[int]) -> str:
        """Members that need not be there, in any order."""
        if not left and not self._more:
            return ""

        def body() -> str:
            steps = [f"{self._next[n]} {self._others(left - {n})}" for n in sorted(left)]
            return self._ended(steps, frozenset(), lambda _: self._others(left))

        return self._rules.named((self._members, "others", left), body)
