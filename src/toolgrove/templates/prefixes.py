"""A conversation's prefixes, each followed character by character without running all of it anew.

A template mostly writes a message as it wrote it for the prefix before: what its loops and
statements looked at is remembered, and where that is still the same they are not run again.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation
from toolgrove.templates.jinja import Code, MakersTemplate, row_of, tracked_row
from toolgrove.templates.recall import Memory, Recalling, Render, recalling
from toolgrove.templates.sandbox import Sandbox
from toolgrove.templates.tracked import Tracked
from toolgrove.templates.tracking import TrackingSandbox

_SHORTEST = 6
"""Conversations of fewer messages are rendered prefix by prefix: that is as fast."""


class Recalled:
    """A template that is compiled so that its renders recall."""

    def __init__(self, template: MakersTemplate) -> None:
        self.template = template

    @cached_property
    def plain(self) -> tuple[Code, Recalling]:
        """The code that writes plain texts; made when it is first needed."""
        return self._compiled(Sandbox(self.template.today))

    @cached_property
    def tracking(self) -> tuple[Code, Recalling]:
        """The code that writes texts which know where they come from."""
        return self._compiled(TrackingSandbox(self.template.today))

    def _compiled(self, sandbox: Sandbox) -> tuple[Code, Recalling]:
        made = recalling(sandbox)
        return self.template.compiled(sandbox), made


class Prefixes:
    """The followed texts of one conversation's prefixes. Law: each is what the template's
    ``tracked`` gives for that prefix; where that cannot be shown, it is that."""

    def __init__(self, recalled: Recalled, conv: Conversation) -> None:
        self._recalled, self._conv = recalled, conv
        self._memories: tuple[Memory, Memory] = ({}, {})
        self._trusted = len(conv.messages) >= _SHORTEST

    @cached_property
    def _rows(self) -> tuple[list[Any], list[Any]]:
        messages = self._conv.messages
        return [row_of(m) for m in messages], [tracked_row(n, m) for n, m in enumerate(messages)]

    @cached_property
    def _given(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the template is given beside messages: the same objects for all prefixes."""
        template, conv = self._recalled.template, self._conv
        return template.plain_given(conv, False), template.tracked_given(conv, [], False)

    def tracked(self, count: int, generate: bool) -> Tracked:
        """The text of the first ``count`` messages."""
        if self._trusted:
            try:
                plain = self._written(0, count, generate)
                text = self._written(1, count, generate)
            except TemplateError:
                return self._anew(count, generate)
            if plain.strip() and str.__eq__(plain, text):
                return cast(Tracked, text)
        return self._anew(count, generate)

    def refuted(self, count: int, generate: bool, text: Tracked) -> bool:
        """Whether a prefix's text is not what the template renders when nothing is recalled; from
        then on nothing is."""
        if not self._trusted:
            return False
        plain = self._recalled.template.render(self._conv.until(count), generate)
        self._trusted = str.__eq__(plain, text)
        return not self._trusted

    def _anew(self, count: int, generate: bool) -> Tracked:
        return self._recalled.template.tracked(self._conv.until(count), generate)

    def _written(self, way: int, count: int, generate: bool) -> str:
        recalled = self._recalled
        code, made = recalled.tracking if way else recalled.plain
        given = self._given[way]
        render = Render(made, self._memories[way], self._rows[way][:count], [given["tools"]])
        given = {**given, "messages": render.messages, "add_generation_prompt": generate}
        conv = self._conv.until(count)
        return render.written(recalled.template.pieces(code, conv, given))
