"""The free texts of a reply, as rules that share what xgrammar computes for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from toolgrove.core.messages import JSON
from toolgrove.templates.grammar import rules_of
from toolgrove.templates.rules import literal, one_of

_MANY = 8
"""of more marks that one text holds and another does not, looking for each costs more than tables
of its own"""


def with_shared_texts(content: JSON) -> JSON:
    """The same format with rules in the place of ``any_text``.

    Each text is made of pieces that hold none of the marks which any text of the reply excludes;
    the marks that it does not exclude itself stand between its pieces. So all pieces are one rule
    (xgrammar computes a table of the whole vocabulary for each letter of its marks), which is the
    same for other tools. Where marks overlap, or are many, each text keeps a rule of its own.
    """
    excluded = [set(listed) for listed in _excluded(content)]
    among = set[str]().union(*excluded)
    together = all(_apart(barred, among - barred) for barred in excluded)
    return _rewritten(content, among if together else set())


def _excluded(content: Any) -> Iterator[list[str]]:
    """What each text in a format excludes."""
    if isinstance(content, dict):
        found = cast(JSON, content)
        if found.get("type") == "any_text":
            yield cast(list[str], found["excludes"])
        else:
            yield from _excluded(list(found.values()))
    elif isinstance(content, list):
        for part in cast(list[Any], content):
            yield from _excluded(part)


def _rewritten(content: Any, among: set[str]) -> Any:
    if isinstance(content, list):
        return [_rewritten(part, among) for part in cast(list[Any], content)]
    if not isinstance(content, dict):
        return content
    found = cast(JSON, content)
    if found.get("type") == "any_text":
        barred = set(cast(list[str], found["excludes"]))
        return _text(barred, among - barred)
    return {key: _rewritten(value, among) for key, value in found.items()}


def _text(barred: set[str], free: set[str]) -> JSON:
    """Pieces without any of the marks, with the free ones between them."""
    listed = ", ".join(literal(mark) for mark in sorted(barred | free))
    piece = f"t ::= TagDispatch(loop_after_dispatch=false, excludes=({listed}))"
    if not free:  # "t" under another rule's name is not tied to what stands behind this text
        return rules_of(f"root ::= t\n{piece}")
    return rules_of(f'root ::= t r\nr ::= "" | {one_of(sorted(free))} t r\n{piece}')


def _apart(barred: set[str], free: set[str]) -> bool:
    """Whether pieces with free marks between them hold no barred mark, and the free are few."""
    return len(free) <= _MANY and not any(_meet(one, other) for one in free for other in barred)


def _meet(one: str, other: str) -> bool:
    """Whether a text may hold both marks with letters in common."""
    if one in other or other in one:
        return True
    sizes = range(1, min(len(one), len(other)))
    return any(one.endswith(other[:n]) or other.endswith(one[:n]) for n in sizes)
