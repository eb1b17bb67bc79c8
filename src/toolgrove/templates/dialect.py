"""A dialect: a chat template and an agent template that write, prompt, read and stop together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import chain
from typing import Any

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import JSON, Conversation, Reply, Tool
from toolgrove.core.spans import Span
from toolgrove.templates import probe
from toolgrove.templates.base import AgentTemplate, agent_registry, chat_registry
from toolgrove.templates.constraint import Request, constraint
from toolgrove.templates.losses import losses_of
from toolgrove.templates.reading import Reader, Rules
from toolgrove.templates.writing import ScriptWriter, Traits, Turn, Writer, rules_of, traits_of

JINJA = "jinja"
"""The name of the dialect that writes with a model folder's own template."""


@dataclass(frozen=True)
class Dialect:
    """Writes conversations, builds prompts and reads replies, all from one definition.

    ``native`` dialects are exactly the maker's own template, omissions included (``losses`` names
    them); composed ones write everything.
    """

    chat_name: str
    agent_name: str | None
    chat: Traits
    agent: AgentTemplate | None
    native: bool
    today: date
    writer: Writer
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends generation: control tokens first, then marks such as ReAct's."""
        mark = self.agent.call_stop if self.agent else ""
        return (self.chat.stop, *self.chat.other_stops, *((mark,) if mark else ()))

    def spans(
        self, conv: Conversation, *, keep: bool = False, generate: bool = False
    ) -> list[Span]:
        """The whole conversation; ``keep``: with the thinking of every turn; ``generate``: with the
        generation prompt."""
        return self.writer.spans(conv, keep=keep, generate=generate)

    def text(self, conv: Conversation) -> str:
        """The whole conversation without a generation prompt."""
        return self.writer.text(conv, generate=False)

    def prompt(self, conv: Conversation) -> str:
        """The whole conversation and then the generation prompt."""
        return self.writer.text(conv, generate=True)

    def turns(self, conv: Conversation, *, stopped: bool = False) -> list[Turn]:
        """Every assistant message in the context that it is served in (law 4).

        ``stopped``: with the token that the model stops with also where the maker's text shows
        none (``ChatTemplate.next_turn``), as it is trained.
        """
        return self.writer.turns(conv, stopped=stopped)

    def losses(self, conv: Conversation, turns: Sequence[Turn] | None = None) -> list[str]:
        """What this dialect cannot show of the conversation, in words; empty: nothing is lost.

        ``turns``: the conversation's turns, where the caller has them already.
        """
        try:
            turns = self.turns(conv) if turns is None else turns
            served = [turn.prompt for turn in turns]
            completions = {turn.message: turn.completion for turn in turns}
            if not losses_of(conv, chain.from_iterable(served), completions):
                return []
            return losses_of(conv, chain(self.spans(conv), *served), completions)
        except TemplateError as error:
            return [str(error)]

    def read(self, text: str, tools: Sequence[Tool] | None = None, prompt: str = "") -> Reply:
        """The message in a reply, with or without its stop token.

        ``tools``: None when unknown; an empty list means that none were offered, so nothing is a
        call. ``prompt``: what the reply continues, if that opened a thinking block.
        """
        return self.reader(tools, prompt).read(text)

    def reader(self, tools: Sequence[Tool] | None = None, prompt: str = "") -> Reader:
        """A reader for a reply that arrives in pieces."""
        return Reader(self._rules, tools, prompt)

    @cached_property
    def _rules(self) -> Rules:
        return rules_of(self.chat, self.agent)

    def grammar(
        self,
        tools: Sequence[Tool],
        choice: str | Mapping[str, Any] = "auto",
        parallel: bool = True,
        prompt: str = "",
        *,
        strict: bool = False,
    ) -> JSON:
        """The replies that this dialect can read, as an xgrammar structural tag.

        ``choice``: ``auto`` (text, then maybe calls), ``required`` (at least one call), ``none``,
        or the one tool that must be called, by its name or as OpenAI names it. Without ``parallel``
        there is one call at most. Thinking is free up to its closing mark. ``prompt``: what the
        reply continues, if that opened a thinking block. Stop tokens are not part of it. What of a
        schema a grammar cannot hold is left wider, or where that cannot be narrower
        (``grammar_notes``), or refused where ``strict``.
        Laws: every reply that it admits reads back as calls valid against the tools' schemas; every
        turn of valid calls that the dialect writes is admitted, arguments in any order, where
        ``grammar_notes`` says nothing else.
        """
        made = constraint(self.chat, self.agent, Request(tuple(tools), choice, parallel, prompt))
        return _noted(made.tag, made.notes if strict else ())

    def reply_grammar(self, request: Request, *, strict: bool = False) -> JSON:
        """``grammar`` of a request in one value, which can ask for more: a required call before any
        text, and JSON that is valid for a schema where there is no call. ``strict`` refuses what
        would admit replies that are not valid."""
        made = constraint(self.chat, self.agent, request)
        return _noted(made.tag, made.wider if strict else ())

    def grammar_notes(self, tools: Sequence[Tool]) -> list[str]:
        """What of the tools' schemas a grammar cannot hold, with what goes instead, in words."""
        return list(constraint(self.chat, self.agent, Request(tuple(tools))).notes)

    def fingerprint(self) -> str:
        """A hash over what this dialect writes for probing conversations and where it stops.

        Two dialects with the same fingerprint wrote all probes alike.
        """
        digest = hashlib.sha256()
        for conv in probe.conversations():
            try:
                digest.update(self.prompt(conv).encode())
            except TemplateError as error:
                digest.update(error.what.encode())
        digest.update("\0".join(self.stops).encode())
        return digest.hexdigest()[:16]


def _noted(tag: JSON, notes: Sequence[str]) -> JSON:
    """The tag; TemplateError that tells the notes, where there are any."""
    if notes:
        more = f"; and {len(notes) - 1} more" if notes[1:] else ""
        raise TemplateError(
            notes[0] + more,
            hint="change the tool's parameters, or take the wider grammar: strict=False",
        )
    return tag


def dialect(
    name: str,
    agent: str | None = None,
    options: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> Dialect:
    """The dialect of these names; ``agent`` None: exactly the maker's own template.

    ``options`` are the chat template's own variables, ``today`` the date that some print (None: the
    real date). TemplateError for an unknown name or option.
    """
    if name == JINJA:
        raise TemplateError(
            f'"{JINJA}" is a model\'s own template, and no model is named',
            hint="name its folder: --model FOLDER, or dialect_for(folder, native=False)",
        )
    preset = chat_registry.get(name)
    agent_name = preset.native_agent if agent is None else agent
    writer = ScriptWriter(
        chat_name=name,
        agent_name=agent_name,
        chat=preset.build(name, options),
        agent=None if agent_name is None else agent_registry.get(agent_name)(),
        native=agent is None,
        today=today or date.today(),
        quotes_given=preset.quotes_given,
    )
    return Dialect(
        chat_name=name,
        agent_name=agent_name,
        chat=traits_of(writer.chat),
        agent=writer.agent,
        native=writer.native,
        today=writer.today,
        writer=writer,
        options=dict(options or {}),
    )


def agent_templates() -> list[str]:
    """The names of all agent templates."""
    return agent_registry.names()


def chat_templates() -> list[str]:
    """The names of all chat templates."""
    return chat_registry.names()
