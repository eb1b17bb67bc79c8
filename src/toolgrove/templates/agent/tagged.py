"""Calls as a name and one pair of tags for each argument: what several wire formats share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from toolgrove.core.jsonish import BROKEN, INCOMPLETE
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.scanning import held, past_space
from toolgrove.templates.tag_rules import TagForm, tagged_calls
from toolgrove.templates.typed import argument_types, read_value, write_value
from toolgrove.templates.values import Scan, Step, Window

_CDATA = "<![CDATA["
_CDATA_END = "]]>"
_NAME = re.compile(r'[^<>\n"{]+')


@dataclass(frozen=True)
class CallForm:
    """The marks of a call, in the order in which they stand: open, name, named, then for each
    argument key, its name, value, its value and ended, then close; all calls in ``wrap``.

    What is written is what is read: at their line breaks the marks may be apart by any white space.
    """

    open: str
    named: str
    key: str
    value: str
    ended: str
    close: str
    wrap: tuple[str, str] = ("", "")
    between: str = ""
    """what stands between two calls"""
    bare: str = ""
    """what stands in the place of arguments where there are none"""
    print_native: Callable[[Any], str] = write_value
    """a value as the maker's own template prints it"""
    cdata: bool = False
    """whether values with markup or line breaks stand in CDATA sections"""

    @cached_property
    def opens(self) -> tuple[str, ...]:
        """The marks before the name."""
        return _marks(self.open)

    @cached_property
    def after_name(self) -> tuple[str, ...]:
        """The marks after the name; none where the next mark or the line's end closes it."""
        return _marks(self.named)

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The marks between an argument's name and its value."""
        return _marks(self.value)

    @cached_property
    def closes(self) -> tuple[str, ...]:
        """The marks after the arguments."""
        return _marks(self.close)

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The marks that may open a call, the outermost first."""
        return tuple(mark for mark in (self.wrap[0].strip(), self.opens[0]) if mark)

    @cached_property
    def after_close(self) -> tuple[str, ...]:
        """The marks that may follow the first closing one."""
        return (*self.closes[1:], *_marks(self.wrap[1]))

    @cached_property
    def head(self) -> re.Pattern[str]:
        """A call up to its first argument, else up to its end."""
        wrap = re.escape(self.wrap[0].strip())
        opens = r"\s*".join(map(re.escape, self.opens))
        named = r"\s*".join(map(re.escape, self.after_name)) or r"(?=[<\n])"
        name = r'(?P<name>[^<>\n"{\s][^<>\n"{]*)'
        return re.compile(rf"(?:{wrap}\s*)?{opens}\s*{name}\s*?{named}\s*{self._more}")

    @cached_property
    def between_values(self) -> re.Pattern[str]:
        """The marks between an argument's name and its value."""
        return re.compile(r"\s*".join(map(re.escape, self.values)))

    @cached_property
    def value_end(self) -> re.Pattern[str]:
        """A value's end and what may follow it."""
        return re.compile(rf"{re.escape(self.ended.strip())}\s*{self._more}")

    @cached_property
    def section_end(self) -> re.Pattern[str]:
        """The end of a value in a CDATA section and what may follow it."""
        return re.compile(re.escape(_CDATA_END) + self.value_end.pattern)

    @property
    def _more(self) -> str:
        return rf"(?:(?P<key>{re.escape(self.key.strip())})|{re.escape(self.closes[0])})"


class TaggedCalls(AgentTemplate):
    """Values are strings as they are and JSON for all else; on the wire they have no types, so
    reading asks the tool's schema. An end tag is part of a value unless it is followed by what may
    follow a value.
    """

    exact: ClassVar[bool] = False
    form: ClassVar[CallForm]

    def write_calls(self, calls: Sequence[ToolCall], step: Step) -> list[Span]:
        form, spans = self.form, list[Span]()
        mark = form.wrap[0]
        for index, call in enumerate(calls):
            if index:
                spans.append(Span(form.between, Kind.SEPARATOR, None, index))
            spans.append(Span(mark + form.open, Kind.CALL_MARK, None, index))
            spans.append(Span(call.name, Kind.CALL_NAME, None, index))
            mark = form.named
            for key, value in call.arguments.items():
                text = form.print_native(value) if step.native else write_value(value)
                plain = step.native and not isinstance(value, str)
                quoted = form.cdata and not plain and any(char in text for char in "<&\n")
                opening, closing = (_CDATA, _CDATA_END) if quoted else ("", "")
                spans += (
                    Span(mark + form.key, Kind.CALL_MARK, None, index),
                    Span(key, Kind.CALL_ARGS, None, index),
                    Span(form.value + opening, Kind.CALL_MARK, None, index),
                    Span(text, Kind.CALL_ARGS, None, index),
                )
                mark = closing + form.ended
            bare = "" if call.arguments else form.bare
            last = form.wrap[1] if index == len(calls) - 1 else ""
            spans.append(Span(mark + bare + form.close + last, Kind.CALL_MARK, None, index))
            mark = ""
        return [span for span in spans if span.text]

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> Grammar:
        form = self.form
        tags = TagForm(
            mark=form.starts[0],
            head=form.wrap[0] + form.open,
            named=form.named,
            key=form.key,
            value=form.value,
            ended=form.ended,
            bare=form.bare,
            close=form.close,
            next=form.between + form.open,
            tail=form.wrap[1],
            barred=(form.ended.strip(),),
            section=(_CDATA, _CDATA_END) if form.cdata else None,
            in_section=("<", "&", "\n") if form.cdata else (),
            python=form.print_native is not write_value,
        )
        return tagged_calls(tools, parallel, tags)

    def scan(self, window: Window) -> Scan:
        text, position = window.text, window.start
        while True:
            found = [
                (at, mark)
                for mark in self.form.starts
                if (at := text.find(mark, position, window.limit + len(mark) - 1)) >= 0
            ]
            if not found:
                marks = () if window.final else self.form.starts
                safe = min((held(text, window.start, mark) for mark in marks), default=len(text))
                return Scan(safe, safe)
            begin, mark = min(found)
            end, call = self._call_at(window, begin)
            if end == INCOMPLETE:  # what a cut-off call holds is data, never a call of its own
                return Scan(len(text) if window.final else begin, len(text))
            if call is not None:
                return Scan(begin, end, (call,))
            position = begin + len(mark)

    def _call_at(self, window: Window, begin: int) -> tuple[int, ToolCall | None]:
        """The call that opens at ``begin`` and where it ends; else INCOMPLETE or BROKEN."""
        text, form = window.text, self.form
        whole = self._whole(window, begin)
        if whole is not None:
            return whole
        position = begin
        wrapper = form.wrap[0].strip()
        if wrapper and text.startswith(wrapper, begin):
            position += len(wrapper)
        position = _past(text, position, form.opens)
        name = self._name(text, position) if position >= 0 else _Piece(position, "")
        if name.end < 0:
            return name.end, None
        arguments: dict[str, str] = {}
        position = name.end
        while (start := _past(text, position, (form.key.strip(),))) >= 0:
            key = _until(text, start, form.values[0])
            value = _past(text, key.end, form.values[1:]) if key.end >= 0 else key.end
            piece = self._value(window, value) if value >= 0 else _Piece(value, "")
            if piece.end < 0:
                return piece.end, None
            arguments[key.text] = piece.text
            position = piece.end
        end = self._closed(window, position, bool(arguments), start)
        if end < 0:
            return end, None
        values = {key: self._typed(window, name.text, key, v) for key, v in arguments.items()}
        return end, ToolCall(name.text, values)

    def _whole(self, window: Window, begin: int) -> tuple[int, ToolCall | None] | None:
        """A call with all its marks; None where one is missing, which ``_call_at`` then judges."""
        text, form = window.text, self.form
        mark = form.head.match(text, begin)
        if mark is None:
            return None
        name = mark["name"].rstrip()
        arguments: dict[str, Any] = {}
        while mark["key"] is not None:
            start = mark.end()
            at = text.find(form.values[0], start)
            between = form.between_values.match(text, at) if at >= 0 else None
            if between is None:
                return None
            value = between.end()
            if form.cdata and text.startswith(_CDATA, past_space(text, value)):
                value = past_space(text, value) + len(_CDATA)
                mark = form.section_end.search(text, value)
            else:
                mark = form.value_end.search(text, value)
            if mark is None:
                return None
            key = text[start:at]
            arguments[key] = self._typed(window, name, key, text[value : mark.start()])
        end = self._past_closes(window, mark.end())
        return end, (ToolCall(name, arguments) if end >= 0 else None)

    def _name(self, text: str, start: int) -> _Piece:
        start = past_space(text, start)
        match = _NAME.match(text, start)
        line = match.end() if match else start
        if line == len(text):
            return _Piece(INCOMPLETE, "")
        after = self.form.after_name
        end = _past(text, line, after) if after else line
        sound = line > start and (after or text[line] in "<\n")
        return _Piece(end if sound else BROKEN, text[start:line].rstrip())

    def _value(self, window: Window, start: int) -> _Piece:
        """The value that begins at ``start``: up to the first end tag that something follows which
        may follow a value."""
        text, form = window.text, self.form
        mark = form.ended.strip()
        if form.cdata:
            section = past_space(text, start)
            if _begins(text, section, _CDATA):
                return _Piece(INCOMPLETE, "")
            if text.startswith(_CDATA, section):
                start, mark = section + len(_CDATA), _CDATA_END + mark
        ended = (form.value_end if mark == form.ended.strip() else form.section_end).search
        found = ended(text, start)
        if found is not None:
            return _Piece(found.start() + len(mark), text[start : found.start()])
        at = text.rfind(mark, start)
        after = past_space(text, at + len(mark))
        begins = any(_begins(text, after, m) for m in (form.key.strip(), form.closes[0]))
        if at < 0 or not (begins and window.final):
            return _Piece(INCOMPLETE, "")
        return _Piece(at + len(mark), text[start:at])

    def _closed(self, window: Window, position: int, certain: bool, key: int) -> int:
        """Where the call ends, its closing marks included. At the end of a reply they may be
        missing, once an argument makes it ``certain`` that there is a call. ``key`` is INCOMPLETE
        where another argument may begin."""
        text, form = window.text, self.form
        end = _past(text, position, form.closes[:1])
        if end == INCOMPLETE and window.final and certain:
            return len(text)
        if end < 0:
            return INCOMPLETE if key == INCOMPLETE else end
        return self._past_closes(window, end)

    def _past_closes(self, window: Window, end: int) -> int:
        """The place after the marks that follow the first closing one."""
        text = window.text
        for mark in self.form.after_close:
            after = _past(text, end, (mark,))
            if after == INCOMPLETE:
                return len(text) if window.final else INCOMPLETE
            end = end if after == BROKEN else after
        return end

    def _typed(self, window: Window, name: str, key: str, text: str) -> Any:
        return read_value(text, argument_types(window.tools, name, key))


class _Piece(NamedTuple):
    """A text and where what stands after it begins; INCOMPLETE or BROKEN when there is none."""

    end: int
    text: str


def _marks(text: str) -> tuple[str, ...]:
    return tuple(mark for mark in text.split("\n") if mark)


def _begins(text: str, position: int, mark: str) -> bool:
    """Whether the text's end could still become the mark."""
    return len(text) - position < len(mark) and mark.startswith(text[position:])


def _past(text: str, position: int, marks: tuple[str, ...]) -> int:
    """The place after these marks, white space before each left out."""
    for mark in marks:
        start = past_space(text, position)
        if not text.startswith(mark, start):
            return INCOMPLETE if _begins(text, start, mark) else BROKEN
        position = start + len(mark)
    return position


def _until(text: str, start: int, mark: str) -> _Piece:
    """The text up to the mark."""
    at = text.find(mark, start)
    return _Piece(INCOMPLETE, "") if at < 0 else _Piece(at + len(mark), text[start:at])
