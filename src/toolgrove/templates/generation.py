"""What a template's ``generation`` tags mark, held against what a model must emit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation
from toolgrove.templates.jinja import Code, MakersTemplate
from toolgrove.templates.own_spans import Region
from toolgrove.templates.sandbox import Sandbox

_OPEN, _CLOSE = "\ue002", "\ue003"
_BLOCK = re.compile(f"[{_OPEN}{_CLOSE}]")


class GenerationTags:
    """The tags of a template. What is trained is what the model must emit, whatever they say."""

    def __init__(self, template: MakersTemplate) -> None:
        self._template = template
        self.there = template.has_tag("generation")
        """Whether there are any."""

    @cached_property
    def _code(self) -> Code:
        sandbox = Sandbox(self._template.today)
        sandbox.around_generation = (_OPEN, _CLOSE)
        return self._template.compiled(sandbox)

    def told(self, conv: Conversation, text: str, turns: Sequence[Region], whole: bool) -> str:
        """In words, the first thing that the tags leave out of the ``turns`` that a model writes in
        a conversation's ``text``, or that they mark outside of them where these are the ``whole``
        of what it writes, white space left aside; empty: nothing, or it cannot be told."""
        given = self._template.plain_given(conv, generate=False)
        try:
            made = "".join(self._template.pieces(self._code, conv, given))
        except TemplateError:
            return ""
        plain, marked = _split(made)
        if plain != text:
            return ""
        position = 0
        for turn in turns:
            more = _chosen(plain, marked, (position, turn.start), wanted=True) if whole else ""
            if more.strip():
                return f"its generation tags mark {more!r}, which is given; it is not trained"
            gone = _chosen(plain, marked, (turn.start, turn.end), wanted=False)
            if gone:
                return f"its generation tags leave out {gone!r} of a reply; it is trained"
            position = turn.end
        return ""


def _chosen(plain: str, marked: Sequence[bool], place: tuple[int, int], *, wanted: bool) -> str:
    """The first characters there that are marked, or not, as wanted."""
    return "".join(plain[n] for n in range(*place) if marked[n] is wanted)[:80]


def _split(text: str) -> tuple[str, list[bool]]:
    """The text without the tags' marks, and for each character whether it was inside of them."""
    plain: list[str] = []
    marked: list[bool] = []
    depth = 0
    position = 0
    for match in [*_BLOCK.finditer(text), None]:
        piece = text[position : match.start() if match else len(text)]
        plain.append(piece)
        marked += [depth > 0] * len(piece)
        if match:
            depth += 1 if match.group() == _OPEN else -1
            position = match.end()
    return "".join(plain), marked
