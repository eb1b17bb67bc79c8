"""Calls as a list behind a mark, read one at a time; as JSON, for Granite 3 and Phi-4-mini."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.rules import literal
from toolgrove.templates.scanning import call_of, find_call, past_space
from toolgrove.templates.values import Scan, Window


def json_end(text: str, start: int) -> int:
    """Where the object that begins at ``start`` ends; INCOMPLETE or BROKEN where it does not."""
    return object_end(text, start) if text[start] == "{" else BROKEN


def read_json(text: str, _tools: Sequence[Tool]) -> ToolCall | None:
    """The call in an object with a name and arguments; ``tool_name`` stands for the name, too."""
    try:
        value = loads_object(text)
    except ValueError:
        return None
    if "tool_name" in value:
        value = {**value, "name": value["tool_name"]}
    return call_of(value, ("arguments", "parameters"))


class ListForm(NamedTuple):
    """How a list of calls is written.

    ``open`` and ``close`` are the marks around it (``close`` is empty where it has no end mark),
    ``last`` the character that ends a call. ``item_end`` finds that end as ``object_end`` does,
    ``read`` reads a call.
    """

    open: str
    close: str
    last: str = "}"
    item_end: Callable[[str, int], int] = json_end
    read: Callable[[str, Sequence[Tool]], ToolCall | None] = read_json


def write_list(calls: Sequence[ToolCall], form: ListForm) -> list[Span]:
    """The calls as objects with a name and arguments, on one line."""
    spans: list[Span] = []
    for index, call in enumerate(calls):
        opening = ", " if index else f"{form.open}["
        closing = "}" if index < len(calls) - 1 else f"}}]{form.close}"
        arguments = dump(call.arguments) if call.given is None else call.given
        spans += (
            Span(f'{opening}{{"name": "', Kind.CALL_MARK, None, index),
            Span(dump(call.name)[1:-1], Kind.CALL_NAME, None, index),
            Span('", "arguments": ', Kind.CALL_MARK, None, index),
            Span(arguments, Kind.CALL_ARGS, None, index),
            Span(closing, Kind.CALL_MARK, None, index),
        )
    return [span for span in spans if span.text]


def list_grammar(tools: Sequence[Tool], parallel: bool, form: ListForm) -> Grammar:
    """The calls of a list that ``write_list`` writes."""

    def call(tool: Tool, arguments: str) -> str:
        opening = literal(f'{{"name": {dump(tool.name)}, "arguments": ')
        return f'{opening} {arguments} "}}"'

    around = CallForm(call, literal(", "), literal("["), literal(f"]{form.close}"))
    calls, notes = json_calls(tools, parallel, around)
    return Grammar((Opening(form.open, calls),), notes=notes)


def scan_list(window: Window, form: ListForm) -> Scan:
    """The next call of a list; a single call without brackets is a list of one.

    A call inside a list ends at its last character, the last call behind the list's end mark: so
    the character before ``fresh`` tells whether a list goes on there.
    """
    text, fresh = window.text, window.fresh
    if window.start == fresh and fresh and text[fresh - 1] == form.last:
        comma = past_space(text, fresh)
        if text.startswith(",", comma):
            found = _call_at(window, fresh, comma + 1, form)
            if found is not None:
                return found
    return find_call(window, form.open, lambda window, begin: _first_call(window, begin, form))


def _first_call(window: Window, begin: int, form: ListForm) -> Scan | None:
    start = past_space(window.text, begin + len(form.open))
    return _call_at(window, begin, start + window.text.startswith("[", start), form)


def _call_at(window: Window, begin: int, start: int, form: ListForm) -> Scan | None:
    """The call that opens at ``start``, white space left out; None when it is none."""
    text, waiting = window.text, None if window.final else Scan(begin, len(window.text))
    start = past_space(text, start)
    if start == len(text):
        return waiting
    end = form.item_end(text, start)
    if end == INCOMPLETE:
        return waiting
    call = None if end == BROKEN else form.read(text[start:end], window.tools)
    if call is None:
        return None
    after = _after(text, end, form, window.final)
    return waiting if after is None else Scan(begin, after, (call,))


def _after(text: str, end: int, form: ListForm, final: bool) -> int | None:
    """Where the markup of a call ends that itself ends at ``end``; None while that is unknown."""
    place = past_space(text, end)
    if text.startswith(",", place):
        place = past_space(text, place + 1)
        if place < len(text) and text[place] != "]":
            return end
    if place == len(text):
        return end if final else None
    if text[place] == "]":
        end = place + 1
        place = past_space(text, end)
    if form.close and text.startswith(form.close, place):
        return place + len(form.close)
    return None if form.close and form.close.startswith(text[place:]) and not final else end
