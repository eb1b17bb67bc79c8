"""What one dialect writes held against the model's own template, as parts of a diff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation
from toolgrove.templates.dialect import Dialect

_WORD = re.compile(r"\w+|\s+|<\|?[\w ]+\|?>|.", re.DOTALL)
_MOST = 4000
"""How many words are compared one by one; beyond that, what differs is shown whole."""


class Part(NamedTuple):
    """A stretch of text: " " in both, "-" only in the model's own, "+" only in ours."""

    side: str
    text: str


class Difference(NamedTuple):
    """Our text against the own template's: parts, or why there is nothing to compare with."""

    parts: list[Part]
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether both texts are the same."""
        return not self.reason and all(part.side == " " for part in self.parts)


def difference(conv: Conversation, dialect: Dialect, own: Dialect | None) -> Difference:
    """The conversation's text in the dialect against the one in the model's own template."""
    if own is None:
        return Difference([], "the model's folder has no chat template")
    try:
        ours = dialect.text(conv)
    except TemplateError as error:
        return Difference([], f"this dialect refuses the row: {error.what}")
    try:
        theirs = own.text(conv)
    except TemplateError as error:
        return Difference([], f"the model's own template refuses the row: {error.what}")
    return Difference(list(parts(theirs, ours)))


def parts(old: str, new: str) -> Iterator[Part]:
    """The parts of a diff. Law: " " and "-" join to the old text, " " and "+" to the new one."""
    start = _shared(old, new)
    end = _shared(old[start:][::-1], new[start:][::-1])
    if start:
        yield Part(" ", old[:start])
    yield from _middle(old[start : len(old) - end], new[start : len(new) - end])
    if end:
        yield Part(" ", old[len(old) - end :])


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    if one == other:
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _middle(old: str, new: str) -> Iterator[Part]:
    before, after = _WORD.findall(old), _WORD.findall(new)
    if max(len(before), len(after)) > _MOST:
        yield from _both(old, new)
        return
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            yield Part(" ", "".join(before[a:b]))
        else:
            yield from _both("".join(before[a:b]), "".join(after[c:d]))


def _both(old: str, new: str) -> Iterator[Part]:
    if old:
        yield Part("-", old)
    if new:
        yield Part("+", new)
