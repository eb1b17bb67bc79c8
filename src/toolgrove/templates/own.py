"""Conversations written by a maker's own template: whole, and turn by turn."""

from __future__ import annotations

import logging
from typing import NamedTuple

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Role
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.generation import GenerationTags
from toolgrove.templates.jinja import MakersTemplate
from toolgrove.templates.own_spans import Marks, Region, spans_in, written
from toolgrove.templates.prefixes import Prefixes, Recalled
from toolgrove.templates.tracked import LITERAL, Tracked, bare
from toolgrove.templates.writing import Turn

_log = logging.getLogger(__name__)
_THINKING = (Kind.THINK_OPEN, Kind.THINKING, Kind.THINK_CLOSE)


class _Served(NamedTuple):
    """An assistant message as the last one, and where in ``whole`` the model writes it, with the
    text up to its end; ``joined``: right behind the very prompt that it is served with."""

    message: int
    prompt: Tracked
    whole: Tracked
    start: int
    end: int
    joined: bool
    known: str


class _Seen(NamedTuple):
    """What a conversation's renders gave: the first so many messages, with the generation prompt
    or without; and its turns."""

    conversation: Conversation
    texts: dict[tuple[int, bool], Tracked]
    served: list[_Served]
    prefixes: Prefixes


class OwnWriter:
    """Writes with a maker's own template.

    Laws: the text is the template's own, byte for byte; a turn's prompt is the template's own text
    for the messages before it with its generation prompt; a completion is what follows that prompt
    when the template writes one message more, up to its stop. No ``generation`` tags are needed.
    """

    def __init__(self, template: MakersTemplate, marks: Marks) -> None:
        self._template = template
        self._marks = marks
        self._last: _Seen | None = None
        self._recalled = Recalled(template)
        self._tags = GenerationTags(template)
        self._told = not (self._tags.there and marks.stops)

    def text(self, conv: Conversation, *, generate: bool) -> str:
        """The whole conversation's text."""
        return self._template.render(conv, generate)

    def spans(self, conv: Conversation, *, keep: bool, generate: bool) -> list[Span]:
        """The whole conversation. ``keep``: TemplateError where the template rewrites earlier
        turns, since it then writes no text with the thinking of every turn."""
        text = self._rendered(conv, len(conv.messages), generate)
        regions: list[Region] = []
        extents = _extents(text)
        for served in self._all_served(conv):
            exact = served.joined and text.startswith(served.known)
            if keep and not exact:
                raise TemplateError(
                    "the model's own template rewrites earlier turns, so no one text has all of "
                    "their thinking",
                    where=f"messages[{served.message}]",
                    hint='use history="served"',
                )
            start, end = (
                (served.start, served.end) if exact else self._rewritten(text, served, extents)
            )
            start = max(start, regions[-1].end if regions else 0)
            if end > start:
                regions.append(Region(start, end, served.message))
        return spans_in(text, regions, self._marks)

    def turns(self, conv: Conversation, *, stopped: bool) -> list[Turn]:
        """Every assistant message in its context; the maker's text shows all stops that it has."""
        del stopped
        self._tell_unmarked(conv)
        return [self._turn(conv, served) for served in self._all_served(conv)]

    def _tell_unmarked(self, conv: Conversation) -> None:
        """Logs, once, where the template's ``generation`` tags mark other things of a conversation
        than what is trained."""
        served = self._all_served(conv)
        if self._told or not served:
            return
        last = served[-1]
        exact = [turn for turn in served if turn.joined and last.whole.startswith(turn.known)]
        turns = [Region(turn.start, turn.end, turn.message) for turn in exact]
        shown, whole = conv.until(last.message + 1), len(exact) == len(served)
        if said := self._tags.told(shown, bare(last.whole), turns, whole):
            self._told = True
            _log.warning("the model's own template: %s", said)

    def _rendered(self, conv: Conversation, count: int, generate: bool) -> Tracked:
        seen = self._seen_of(conv)
        if (count, generate) not in seen.texts:
            seen.texts[count, generate] = seen.prefixes.tracked(count, generate)
        return seen.texts[count, generate]

    def _seen_of(self, conv: Conversation) -> _Seen:
        """What is known of this conversation; only of the last one anything is kept."""
        last = self._last
        if last is None or last.conversation is not conv:
            prefixes = Prefixes(self._recalled, conv)
            last = self._last = _Seen(conv, {}, [], prefixes)
        return last

    def _all_served(self, conv: Conversation) -> list[_Served]:
        """All assistant messages; that of the longest prompt is held against a fresh render."""
        seen = self._seen_of(conv)
        roles = [message.role for message in conv.messages]
        turns = [index for index, role in enumerate(roles) if role is Role.ASSISTANT]
        if len(seen.served) < len(turns):
            seen.served[:] = [self._as_last(conv, index) for index in turns]
            last = seen.served[-1]
            if seen.prefixes.refuted(last.message, True, last.prompt):
                _log.warning("the model's own template renders a prefix in two ways; each is anew")
                seen.texts.clear()
                seen.served[:] = [self._as_last(conv, index) for index in turns]
        return seen.served

    def _as_last(self, conv: Conversation, index: int) -> _Served:
        prompt = self._rendered(conv, index, True)
        whole = self._rendered(conv, index + 1, False)
        joined = whole.startswith(str(prompt))
        first, last = _extents(whole).get(index, (len(whole), 0))
        start = len(prompt) if joined else self._resumed(prompt, whole, first)
        end = self._stopped(whole, max(start, last))
        known = bare(whole)[:end]
        return _Served(index, prompt, whole, start, end, joined, known)

    def _resumed(self, prompt: Tracked, whole: Tracked, first: int) -> int:
        """Where the model's words begin in a text that does not begin with its prompt: after the
        prompt's own last words, the marks of thinking left aside."""
        tail = _literal_end(prompt)
        bare = _without_thinking(tail, self._marks)
        cuts = [bare[cut:] for cut in range(1, len(bare.rstrip()))]
        for words in (tail, bare, *cuts):
            at = whole.rfind(words, 0, first)
            if words and at >= 0 and _is_bare(whole, at + len(words), first):
                return at + len(words)
        return first

    def _stopped(self, whole: Tracked, last: int) -> int:
        """The end of what the model writes: after the turn's last stop, else the text's end."""
        ends = [
            at + len(stop)
            for stop in self._marks.stops
            if (at := whole.rfind(stop, last)) >= 0 and _is_literal(whole, at, at + len(stop))
        ]
        return max(ends, default=len(whole))

    def _rewritten(self, text: Tracked, served: _Served, extents: _Extents) -> tuple[int, int]:
        """Where a turn stands in a text that rewrites it: its data and the stop behind them."""
        first, last = extents.get(served.message, (0, 0))
        if last <= first:
            return 0, 0
        start = len(served.prompt) if text.startswith(str(served.prompt)) else first
        found = [(at, stop) for stop in self._marks.stops if (at := text.find(stop, last)) >= 0]
        at, stop = min(found, default=(last, ""))
        return start, at + len(stop) if _is_literal(text, last, at + len(stop)) else last

    def _turn(self, conv: Conversation, served: _Served) -> Turn:
        index, marks = served.message, self._marks
        completion = written(served.whole.part(served.start, served.end), index, marks)
        prompt = spans_in(served.prompt, self._earlier(conv, served), marks)
        if not served.joined:
            completion = self._after(str(served.prompt), completion, index)
        rest = spans_in(served.whole.part(served.end, len(served.whole)), (), marks)
        return Turn(index, prompt, completion, rest)

    def _earlier(self, conv: Conversation, served: _Served) -> list[Region]:
        """The regions of earlier turns in a turn's prompt."""
        regions: list[Region] = []
        extents = _extents(served.prompt)
        for earlier in self._all_served(conv):
            if earlier.message >= served.message:
                break
            exact = earlier.joined and served.prompt.startswith(earlier.known)
            span = (
                (earlier.start, earlier.end)
                if exact
                else self._rewritten(served.prompt, earlier, extents)
            )
            start = max(span[0], regions[-1].end if regions else 0)
            if span[1] > start:
                regions.append(Region(start, span[1], earlier.message))
        return regions

    def _after(self, prompt: str, completion: list[Span], index: int) -> list[Span]:
        """A completion that fits a prompt which opens or closes thinking in its own way."""
        opens, closes = self._marks.think.open, self._marks.think.close
        if closes and prompt.rstrip().endswith(closes):
            return [span for span in completion if span.kind not in _THINKING]
        opened = bool(opens) and prompt.rstrip().endswith(opens)
        if opened and completion and completion[0].kind is Kind.THINK_OPEN:
            return completion[1:]
        if opened and not any(span.kind in _THINKING for span in completion):
            newline = "\n" if prompt.endswith("\n") else ""
            return [Span(f"{newline}{closes}\n\n", Kind.THINK_CLOSE, index), *completion]
        return completion


_Extents = dict[int, tuple[int, int]]


def _extents(text: Tracked) -> _Extents:
    """Where each message's own data begin and end in a text, before the next message's data."""
    extents: _Extents = {}
    done: set[int] = set()
    position, current = 0, None
    for length, origin in text.runs:
        owner = None if origin is None else origin.message
        if owner is not None:
            if current is not None and owner != current:
                done.add(current)
            current = owner
            if owner not in done:
                extents[owner] = (extents.get(owner, (position, 0))[0], position + length)
        position += length
    return extents


def _is_bare(text: Tracked, start: int, end: int) -> bool:
    """Whether no message's data stand there."""
    return all(o is None or o.message is None for _, o in text.part(start, end).runs)


def _literal_end(text: Tracked) -> str:
    """The template's own words that a text ends with."""
    start = len(text)
    for length, origin in reversed(text.runs):
        if origin != LITERAL:
            break
        start -= length
    return str.__getitem__(text, slice(start, None))


def _is_literal(text: Tracked, start: int, end: int) -> bool:
    return all(origin == LITERAL for _, origin in text.part(start, end).runs)


def _without_thinking(words: str, marks: Marks) -> str:
    for mark in (marks.think.close, marks.think.open):
        if mark and words.rstrip().endswith(mark):
            words = words.rstrip().removesuffix(mark)
    return words
