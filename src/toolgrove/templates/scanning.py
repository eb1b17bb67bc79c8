"""How agent templates look for calls in a reply: marks, what may yet be one, what is cut off."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

from toolgrove.core.jsonish import INCOMPLETE, loads_object
from toolgrove.core.messages import ToolCall
from toolgrove.templates.values import Scan, Window

_SPACE = re.compile(r"\s*")


def call_of(value: dict[str, Any], keys: tuple[str, ...]) -> ToolCall | None:
    """A call out of a JSON object with a name and, under the first key that is there, arguments.

    None when there is no name or the arguments are no object.
    """
    name = value.get("name")
    if not isinstance(name, str) or not name:
        return None
    given = next((value[key] for key in keys if key in value), None)
    if isinstance(given, str):
        try:
            given = loads_object(given)
        except ValueError:
            return None
    if given is None:
        given = {}
    return ToolCall(name, cast(dict[str, Any], given)) if isinstance(given, dict) else None


def find_call(window: Window, mark: str, call_at: Callable[[Window, int], Scan | None]) -> Scan:
    """The first call that opens with ``mark``; ``call_at`` says None where a mark opens none."""
    text, position = window.text, window.start
    while True:
        begin = text.find(mark, position, window.limit + len(mark) - 1)
        if begin < 0:
            safe = len(text) if window.final else held(text, window.start, mark)
            return Scan(safe, safe)
        found = call_at(window, begin)
        if found is not None:
            return found
        if cut_off(window, begin, call_at):
            return Scan(len(text), len(text))
        position = begin + len(mark)


def cut_off(window: Window, begin: int, call_at: Callable[[Window, int], Scan | None]) -> bool:
    """Whether the end of the reply cuts off a call that begins at ``begin``.

    Nothing after such a place is a call: it is data of the one that was cut off.
    """
    return window.final and call_at(window._replace(final=False), begin) is not None


def held(text: str, start: int, mark: str) -> int:
    """Where the longest end of ``text[start:]`` that could become ``mark`` begins; else its end."""
    if not mark:
        return len(text)
    begin = text.find(mark[0], max(start, len(text) - len(mark) + 1))
    while begin >= 0:
        if mark.startswith(text[begin:]):
            return begin
        begin = text.find(mark[0], begin + 1)
    return len(text)


def past_space(text: str, position: int) -> int:
    """The first position from there on that holds no white space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def past_marks(window: Window, end: int, marks: Sequence[str]) -> int:
    """Where those of the marks end that stand from ``end`` on, in their order, white space between
    them; INCOMPLETE while more text may bring one."""
    text = window.text
    for mark in marks:
        place = past_space(text, end)
        if text.startswith(mark, place):
            end = place + len(mark)
        elif not window.final and mark.startswith(text[place:]):
            return INCOMPLETE
    return end
