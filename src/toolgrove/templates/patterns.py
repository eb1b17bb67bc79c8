"""A JSON Schema's ``pattern`` as part of a grammar, where that can be said exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_UNKNOWN = re.compile(r"\(\?(?!:)|\\[bBGAZzkpPcxuN0-9]|\{,|[*+?}][+]")
_ODD = re.compile(r"\(\?[=!<P]|\\[bBAZpPkG1-9]")
_WIDE = re.compile(r"\[\^|\\[sSDW]|(?<!\\)\.")
_ANYTHING = re.compile(r"\[\^|\\[SDW]")
_RANGE = re.compile(r"([^\\])-([^\]])")
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


class Pattern(NamedTuple):
    """A regular expression for a whole text; ``before`` and ``after`` it free text may stand."""

    regex: str
    before: bool
    after: bool


def pattern_of(regex: str, marks: Sequence[str]) -> Pattern | None:
    """The pattern; None where it may match one of the marks, or part of one that free text beside
    it completes, or says what xgrammar's expressions cannot say."""
    try:
        re.compile(regex)
    except re.error:
        return None
    pieces = _PIECE.findall(regex)
    starts = pieces[:1] == ["^"]
    ends = pieces[-1:] == ["$"]
    inner = pieces[starts : len(pieces) - ends]
    if _UNKNOWN.search(regex) or any(piece in ("^", "$", ".") for piece in inner):
        return None
    if _has_choice(inner):
        return None  # it binds weaker than the anchors
    barred = {mark[0] for mark in marks}
    if not starts:
        barred |= {mark[-1] for mark in marks}
    body = "".join(inner)
    if not (starts or ends) or any(_may_hold(body, char) for char in barred):
        return None
    return Pattern(body, not starts, not ends)


def _has_choice(pieces: Sequence[str]) -> bool:
    """Whether there is a choice outside all brackets."""
    depth = 0
    for piece in pieces:
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and not depth:
            return True
    return False


def _may_hold(regex: str, char: str) -> bool:
    """Whether what the expression matches may hold the character; in doubt it may."""
    if char in regex or _ANYTHING.search(regex):
        return True
    return any(low <= char <= high for low, high in _RANGE.findall(regex))


def is_whole(pattern: object) -> bool:
    """Whether a pattern is anchored at both ends and uses nothing that a grammar cannot say."""
    if not isinstance(pattern, str) or _ODD.search(pattern):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    inner = pattern[1:-1]
    whole = pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$")
    odd = re.search(r"(?<!\\)(?<!\[)[\^$\"]", inner) or _has_choice(_PIECE.findall(inner))
    return whole and not odd


def needs_escapes(pattern: str) -> bool:
    """Whether a pattern may match what stands in a JSON string only behind a backslash."""
    return bool(_WIDE.search(pattern))
