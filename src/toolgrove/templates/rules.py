"""Rules of an EBNF grammar, as xgrammar reads them, and what texts need of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_CHAIN = 16
"""how many characters of marks may follow one another where a text's length is bounded"""
_LONG_MARK = 6
"""from how many characters on a text that stands in many rules is one of its own"""
_UNSAFE = re.compile(r'["\\\x00-\x1f]')
_ESCAPED = re.compile(r"\\\\|.")
_RANGES = re.compile(r"(.)(?:-(.))?")
_IN_CLASS = re.compile(r"[\]\\^\-\x00-\x1f]")


class Rules:
    """Rules under names of their own; a body that was given before gives the same name."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[object, str] = {}
        self._kept: dict[object, Any] = {}
        self._spent = 0

    def rule(self, body: str, limit: int | None = None) -> str:
        """The name of the rule with this body; ``limit``: characters that it may cover at most."""
        return self.named((body, limit), lambda: body, limit)

    def named(self, key: object, make: Callable[[], str], limit: int | None = None) -> str:
        """The name of the rule that stands for ``key``; ``make`` may ask for the same one."""
        if key not in self._names:
            name = self._names[key] = f"r{len(self._names)}"
            body = make()
            attribute = "" if limit is None else f"[max_chars={limit}]"
            self._bodies[name] = f"{name}{attribute} ::= {body}"
        return self._names[key]

    def mark(self, text: str) -> str:
        """A text as it is: the name of a rule where it is long, so that xgrammar has the states of
        its letters once. The rule stands behind another, or xgrammar would put it back into all
        that name it."""
        if len(text) < _LONG_MARK:
            return literal(text)
        return self.rule(self.rule(literal(text)))

    def remember(self, key: object, make: Callable[[], Any]) -> Any:
        """What ``make`` gave when it was first asked for ``key``."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def spend(self, steps: int, budget: int) -> bool:
        """Whether so many steps are left of the budget; then they are taken from it."""
        enough = self._spent + steps <= budget
        self._spent += steps if enough else 0
        return enough

    def text(self, root: str) -> str:
        """The whole grammar, which begins with the body ``root``."""
        return "\n".join([f"root ::= {root}", *self._bodies.values()])

    def text_without(
        self, marks: Sequence[str], least: int = 0, most: int | None = None, first: str = ""
    ) -> str:
        """Text that holds none of the marks, of ``least`` to ``most`` characters.

        ``first``: characters that it must not begin with.
        """
        wanted = _Text(tuple(marks), least, most, first)
        if not least and not first:
            return self._free(wanted, 0)
        return self._from(wanted, "", 0)

    def _free(self, wanted: _Text, count: int) -> str:
        """Text that goes on without a mark after ``count`` characters."""
        listed = ", ".join(literal(mark) for mark in wanted.marks)
        limit = None if wanted.most is None else max(wanted.most - count, 0)
        return self.rule(f"TagDispatch(loop_after_dispatch=false, excludes=({listed}))", limit)

    def _from(self, wanted: _Text, state: str, count: int) -> str:
        """Text that goes on after ``count`` characters, the last of them being ``state``, with
        which a mark may begin."""
        if count and count >= wanted.least and not state:
            return self._free(wanted, count)
        key = count if wanted.most is not None else min(count, max(wanted.least, 1))
        return self.named((wanted, state, key), lambda: self._steps(wanted, state, key))

    def _steps(self, wanted: _Text, state: str, count: int) -> str:
        steps = [] if count < wanted.least else ['""']
        barred = set("" if count else wanted.first)
        begun = [char for char in _letters(wanted.marks) if _after(wanted.marks, state, char) != ""]
        too_deep = wanted.most is not None and count >= wanted.least + _CHAIN
        if wanted.most is not None and count >= wanted.most:
            return '""'
        for char in begun:
            target = _after(wanted.marks, state, char)
            if target and char not in barred and not too_deep:
                steps.append(f"{literal(char)} {self._from(wanted, target, count + 1)}")
        rest = self._from(wanted, "", count + 1)
        return " | ".join([*steps, f"{none_of({*begun, *barred})} {rest}"])

    def other_than(self, words: Iterable[Sequence[str]], letters: Letters) -> str:
        """A word of one character or more that is none of ``words``, which are given character by
        character as they are written."""
        taken = frozenset(tuple(word) for word in words)

        def after(start: tuple[str, ...]) -> str:
            def body() -> str:
                size = len(start)
                nexts = sorted({w[size] for w in taken if w[:size] == start and len(w) > size})
                steps = ['""'] if start and start not in taken else []
                steps += [f"{literal(char)} {after((*start, char))}" for char in nexts]
                any_more = self.rule(letters.rest)
                return " | ".join([*steps, *(f"{c} {any_more}" for c in letters.but(nexts, start))])

            return self.named(("other", taken, letters, start), body)

        return after(())


class Letters(NamedTuple):
    """What a free word is made of: any character but the ``barred`` ones (as in a character class),
    or, where ``only``, just these, and a first one of ``first``; ``escapes`` are characters that
    may stand behind a backslash."""

    barred: str = ""
    escapes: str = ""
    only: str = ""
    first: str = ""

    @property
    def rest(self) -> str:
        """Any number of characters."""
        plain = f"[{self.only}]*" if self.only else f"[^{self.barred}]*"
        return f'{plain} ("\\\\" [{self.escapes}] {plain})*' if self.escapes else plain

    def but(self, nexts: Sequence[str], start: Sequence[str]) -> list[str]:
        """One character that is none of ``nexts``, behind ``start``."""
        if self.only:
            kept = _without(self.only if start else self.first, nexts)
            return [f"[{kept}]"] if kept else []
        found = [f"[^{self.barred}{_in_class([char for char in nexts if len(char) == 1])}]"]
        if self.escapes:
            pairs = {char[1] for char in nexts if len(char) == 2}
            left = [c for c in _ESCAPED.findall(self.escapes) if c[-1] not in pairs]
            found += [f'"\\\\" [{"".join(left)}]'] if left else []
        return found


class _Text(NamedTuple):
    """Text without marks, of a length, that does not begin with some characters."""

    marks: tuple[str, ...]
    least: int
    most: int | None
    first: str


@lru_cache(maxsize=64)
def _letters(marks: tuple[str, ...]) -> tuple[str, ...]:
    """The characters of the marks."""
    return tuple(sorted({char for mark in marks for char in mark}))


@lru_cache(maxsize=4096)
def _after(marks: tuple[str, ...], state: str, char: str) -> str | None:
    """The end of ``state + char`` with which a mark may begin; None: a mark is complete."""
    text = state + char
    if text.endswith(marks):
        return None
    ends = (text[i:] for i in range(len(text)))
    return next((end for end in ends if any(mark.startswith(end) for mark in marks)), "")


def _without(chars: str, nexts: Sequence[str]) -> str:
    """The ranges of a character class without some characters."""
    listed = {
        chr(code)
        for low, high in _RANGES.findall(chars)
        for code in range(ord(low), ord(high or low) + 1)
    }
    return _in_class(sorted(listed - set(nexts)))


def literal(text: str) -> str:
    """A text as EBNF writes it."""
    return '"' + _UNSAFE.sub(_escaped, text) + '"'


def none_of(chars: Iterable[str]) -> str:
    """Any character but these."""
    listed = _in_class(sorted(set(chars)))
    return f"[^{listed}]" if listed else "[\\u0000-\\U0010ffff]"


def one_of(texts: Iterable[str]) -> str:
    """One of these texts, in brackets."""
    return "(" + " | ".join(literal(text) for text in texts) + ")"


def either(bodies: Iterable[str]) -> str:
    """One of these, in brackets."""
    options = list(dict.fromkeys(bodies))
    return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"


def _in_class(chars: Iterable[str]) -> str:
    return "".join(_IN_CLASS.sub(_escaped, char) for char in chars)


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    return f"\\u{ord(char):04x}" if char < " " else f"\\{char}"
