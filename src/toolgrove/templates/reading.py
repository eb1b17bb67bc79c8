"""Replies read as they arrive: thinking, text and calls, whole or in pieces."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Reply, Tool, ToolCall
from toolgrove.templates.base import AgentTemplate
from toolgrove.templates.scanning import held, past_space
from toolgrove.templates.values import NO_LIMIT, Scan, ThinkMarks, Window

_TRIES = 64
_LONG = 4096


class DeltaKind(StrEnum):
    """What a piece of a reply is."""

    THINKING = "thinking"
    TEXT = "text"
    CALL_NAME = "call_name"
    CALL_ARGS = "call_args"


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply. ``index`` counts the calls; it is 0 for thinking and text."""

    kind: DeltaKind
    index: int
    text: str


class Rules(NamedTuple):
    """What a reader must know of a dialect."""

    agent: AgentTemplate | None
    stops: tuple[str, ...]
    think: ThinkMarks = ThinkMarks()
    wrappers: tuple[str, ...] = ()
    lead: str = ""
    opening: re.Pattern[str] | None = None
    """what may open a call"""
    wrapper: re.Pattern[str] | None = None
    """any of the wrappers"""


class _Phase(StrEnum):
    START = "start"
    THINKING = "thinking"
    GAP = "gap"
    BODY = "body"


_START, _THINKING, _GAP, _BODY = _Phase  # an attribute of an enum's class is slow to look up


class Reader:
    """Reads one reply in any pieces.

    Laws: the deltas' thinking and text, joined, are the reply's; no call markup is among them; the
    reply does not depend on where the pieces were cut; nothing raises; the time grows with the
    reply's length and not with its square. For this last law, a reply in which ``_TRIES`` marks
    have opened no call holds no further calls, and once more than ``_LONG`` characters are
    undecided a reader looks again only when there are an eighth more of them.
    """

    def __init__(self, rules: Rules, tools: Sequence[Tool] | None, prompt: str) -> None:
        self._rules = rules
        self._tools = tuple(tools or ())
        self._reads_calls = rules.agent is not None and (tools is None or len(tools) > 0)
        opens = rules.think.open
        opened = prompt.rpartition(opens)[2] if opens in prompt else None
        self._phase = _THINKING if opened is not None and not opened.strip() else _START
        if rules.think.close and prompt.endswith(rules.think.close):
            self._phase = _GAP
        self._buffer = ""
        self._start = 0
        self._position = 0
        self._fresh = 0
        self._pending = ""
        self._cut = False
        self._done = False
        self._tells = True
        self._thinking: list[str] | None = [] if self._phase is _THINKING else None
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._after_call = False
        self._again = False
        self._tries = _TRIES
        self._openings: list[int] = []
        self._limit = NO_LIMIT
        self._look_at = 0

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that are certain so far."""
        return tuple(self._calls)

    def feed(self, text: str) -> list[Delta]:
        """What the new text makes certain."""
        self._buffer += text
        return self._run(_held_stop(self._buffer, self._rules.stops), final=False)

    def read(self, text: str) -> Reply:
        """The reply, the last of which is ``text``."""
        self._buffer += text
        self._tells = False
        return self.finish()

    def finish(self) -> Reply:
        """The whole reply. What was still undecided is text."""
        self.rest()
        thinking = None if self._thinking is None else "".join(self._thinking).rstrip("\n")
        complete = not self._cut and self._phase in (_BODY, _GAP)
        return Reply(thinking, "".join(self._text), tuple(self._calls), complete)

    def rest(self) -> list[Delta]:
        """The last deltas, once no more text will come; ``finish`` calls it when nobody has."""
        if self._done:
            return []
        self._done = True
        self._buffer = without_stops(self._buffer, self._rules.stops)
        self._look_at = 0
        deltas = self._run(len(self._buffer), final=False)
        return deltas + self._run(len(self._buffer), final=True)

    def _run(self, limit: int, final: bool) -> list[Delta]:
        deltas: list[Delta] = []
        if self._phase is _START:
            self._open(limit, final)
        while True:
            if self._phase is _THINKING:
                deltas += self._think(limit, final)
            if self._phase is _GAP:
                while self._start < limit and self._buffer[self._start] == "\n":
                    self._start += 1
                if self._start < limit:
                    self._begin_body(self._start)
            if self._phase is not _BODY:
                return deltas
            deltas += self._read(self._buffer[self._start : limit], final)
            if self._phase is _BODY:
                return deltas

    def _open(self, limit: int, final: bool) -> None:
        opens, closes, bare, _ = self._rules.think
        first = past_space(self._buffer, 0)
        seen = self._buffer[first:limit]
        if seen.startswith(opens):
            self._phase, self._thinking = _THINKING, []
            self._start = first + len(opens)
        elif bare and seen.startswith(closes):
            self._phase, self._start = _GAP, first + len(closes)
        elif final or (seen and not (opens.startswith(seen) or (bare and closes.startswith(seen)))):
            lead = self._rules.lead
            self._begin_body(len(lead) if self._buffer.startswith(lead, 0, limit) else 0)

    def _begin_body(self, start: int) -> None:
        self._phase = _BODY
        self._start = start

    def _think(self, limit: int, final: bool) -> list[Delta]:
        if not self._thinking or self._again:
            while self._start < limit and self._buffer[self._start] == "\n":
                self._start += 1
        window, closes = self._buffer[:limit], self._rules.think.close
        close = window.find(closes, self._start)
        undecided = limit if final else held(window, self._start, closes)
        kept = self._buffer[self._start : close if close >= 0 else undecided].rstrip("\n")
        if close >= 0:
            self._start, self._phase = close + len(closes), _GAP
        else:
            self._start += len(kept)
        if not kept:
            return []
        if self._again:
            kept, self._again = f"\n\n{kept}", False
        self._thinking = [*(self._thinking or []), kept]
        return [Delta(DeltaKind.THINKING, 0, kept)]

    def _read(self, text: str, final: bool) -> list[Delta]:
        if not final and len(text) < self._look_at:
            return []
        self._look_at = 0
        if self._position == len(text):
            self._cut = self._cut and final
            return self._flush() if final else []
        deltas: list[Delta] = []
        self._find_openings(text)
        wrapper = self._next_wrapper(text)
        while self._position < len(text):
            if wrapper is not None and wrapper.start() < self._position:
                wrapper = self._next_wrapper(text)
            scan = self._scan(text, wrapper, final)
            if wrapper is not None and wrapper.start() < scan.begin:
                deltas += self._text_until(wrapper.start(), text)
                self._position = self._fresh = wrapper.end()
                if text.startswith(self._rules.think.open, wrapper.start()):
                    self._think_again()
                    return deltas
                continue
            begin = scan.begin if wrapper or final else self._held_wrapper(text, scan.begin)
            deltas += self._text_until(begin, text)
            if scan.calls and begin == scan.begin:
                deltas += self._add_calls(scan.calls)
                self._position = self._fresh = scan.end
                self._cut = False
            elif begin < self._limit:
                self._wait(scan, text, final)
                break
            if self._position < len(text):
                self._find_openings(text)
        if self._position == len(text):
            self._cut = self._cut and final
        return deltas + self._flush() if final else deltas

    def _wait(self, scan: Scan, text: str, final: bool) -> None:
        """Leave what a scan could not decide to the next piece."""
        if not final:
            self._cut = scan.end > scan.begin
            undecided = len(text) - self._position
            self._look_at = len(text) + undecided // 8 if undecided > _LONG else 0

    def _think_again(self) -> None:
        """Go on after a mark that opens thinking in the middle of a reply."""
        self._start += self._position
        self._position = self._fresh = 0
        self._cut = False
        self._phase, self._again = _THINKING, bool(self._thinking)
        self._thinking = self._thinking or []

    def _scan(self, text: str, wrapper: re.Match[str] | None, final: bool) -> Scan:
        """The text before the next call or wrapper, and the call."""
        agent = self._rules.agent
        if agent is None or not self._reads_calls:
            return Scan(len(text), len(text))
        limit = self._limit if wrapper is None else min(self._limit, wrapper.start() + 1)
        window = Window(text, self._position, self._fresh, final, self._tools, limit)
        scan = agent.scan(window)
        return scan if scan.begin < limit else Scan(limit, limit)

    def _find_openings(self, text: str) -> None:
        """Look where calls may begin, up to the place where the reader gives up."""
        opening = self._rules.opening
        self._limit = NO_LIMIT
        if opening is not None and self._reads_calls:
            found = opening.finditer(text, self._position)
            self._openings = [mark.start() for mark in islice(found, self._tries + 1)]
            if len(self._openings) > self._tries:
                self._limit = self._openings[self._tries]

    def _next_wrapper(self, text: str) -> re.Match[str] | None:
        wrapper = self._rules.wrapper
        return None if wrapper is None else wrapper.search(text, self._position)

    def _held_wrapper(self, text: str, end: int) -> int:
        """Where a wrapper may yet begin; else ``end``."""
        return min([end, *(held(text, self._position, mark) for mark in self._rules.wrappers)])

    def _text_until(self, end: int, text: str) -> list[Delta]:
        """Take the text up to there, in which no mark has opened a call."""
        if self._openings:
            self._tries -= bisect_left(self._openings, end)
            self._tries += bisect_left(self._openings, self._position)
            self._reads_calls = self._reads_calls and end < self._limit
        deltas = self._add_text(text[self._position : end])
        self._position = end
        return deltas

    def _add_text(self, segment: str) -> list[Delta]:
        self._pending += segment
        solid = self._pending.rstrip()
        if not solid:
            return []
        self._pending = self._pending[len(solid) :]
        self._after_call = False
        self._text.append(solid)
        return [Delta(DeltaKind.TEXT, 0, solid)]

    def _add_calls(self, calls: tuple[ToolCall, ...]) -> list[Delta]:
        deltas: list[Delta] = []
        separator = self._rules.agent.text_separator if self._rules.agent else ""
        blank = self._pending.removesuffix(separator)
        if blank and self._text and not self._after_call:
            self._text.append(blank)
            deltas.append(Delta(DeltaKind.TEXT, 0, blank))
        self._pending, self._after_call = "", True
        if self._tells:
            for index, call in enumerate(calls, len(self._calls)):
                deltas.append(Delta(DeltaKind.CALL_NAME, index, call.name))
                deltas.append(Delta(DeltaKind.CALL_ARGS, index, dump(call.arguments)))
        self._calls += calls
        return deltas

    def _flush(self) -> list[Delta]:
        blank, self._pending = self._pending, ""
        if not blank or self._after_call:
            return []
        self._text.append(blank)
        return [Delta(DeltaKind.TEXT, 0, blank)]


def one_of(marks: Sequence[str]) -> re.Pattern[str] | None:
    """A pattern of any of these marks; None without marks."""
    return re.compile("|".join(map(re.escape, sorted(marks)))) if marks else None


def without_stops(text: str, stops: tuple[str, ...]) -> str:
    """The text without stop tokens (and white space after them) at its end."""
    while True:
        bare = text.rstrip()
        if not bare.endswith(stops):
            return text
        text = bare.removesuffix(next(stop for stop in stops if bare.endswith(stop)))


def _held_stop(text: str, stops: tuple[str, ...]) -> int:
    """Where an end of the text begins that may yet turn out to be stop tokens."""
    bare = text.rstrip()
    solid = without_stops(bare, stops)
    if solid != bare:
        return len(solid)
    partial = min((held(text, 0, stop) for stop in stops), default=len(text))
    return len(without_stops(text[:partial], stops)) if partial < len(text) else len(text)
