"""Which dialect a served model speaks: as told, as trained, or its own where that loses nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from toolgrove.core.errors import ModelError, TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.templates.detect import dialect_in
from toolgrove.templates.dialect import JINJA, Dialect, dialect
from toolgrove.templates.spoken import FILE

_KEPT = 64
_TOOL = Tool(
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks a word up.",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
        },
    }
)
_CALL = ToolCall("look_up", {"word": "grove"}, id="a1b2c3d4e")
_LOOP = Conversation(
    (
        Message(Role.USER, "What is a grove?"),
        Message(Role.ASSISTANT, "", calls=(_CALL,)),
        Message(Role.TOOL, "A small wood.", name="look_up", call_id="a1b2c3d4e"),
    ),
    (_TOOL,),
)


@dataclass
class Speech:
    """A choice of templates; ``why`` says in one line where it comes from."""

    folder: Path | None
    template: str | None
    agent: str | None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    today: date | None = None
    why: str = "as told"
    _made: dict[str, Dialect] = field(default_factory=dict[str, Dialect])

    def dialect(self, options: Mapping[str, Any] | None = None) -> Dialect:
        """The dialect with these further options (a request's); TemplateError for unknown ones.

        The date that some templates print is today's, also on a server's second day.
        """
        day = self.today or date.today()
        asked = {**self.options, **(options or {})}
        key = json.dumps([day.isoformat(), asked], sort_keys=True, default=str)
        if key not in self._made:
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[key] = self._build(asked, day)
        return self._made[key]

    def _build(self, options: Mapping[str, Any], day: date) -> Dialect:
        if self.template is not None and self.template != JINJA:
            return dialect(self.template, agent=self.agent, options=options, today=day)
        if self.folder is None:
            raise ModelError("no model and no template is named", hint="--model or --template")
        return dialect_in(self.folder, self.template, self.agent, options, day)


def speech_of(told: Speech, places: list[Path]) -> Speech:
    """What to speak: as told; else as a run wrote it down in one of the places (an adapter's or a
    model's folder, or the run's above it); else the model's own, with the agent template of its
    family where its own cannot show tools, calls and results."""
    if told.template is not None or told.agent is not None:
        return told
    for place in places:
        for file in (place / FILE, place.parent / FILE):
            if file.is_file():
                return _as_trained(told, file)
    native = told.dialect()
    named = Speech(told.folder, native.chat_name, None, told.options, told.today)
    named.why = "the model's own template"
    lost = native.losses(_LOOP)
    if not lost:
        return named
    if native.chat_name == JINJA:
        named.why = f"the model's own template, which cannot serve tools: {lost[0]}"
        return named
    agent = native.chat.suggested_agent
    why = f"the model's own template would lose {lost[0]}; the agent template {agent} does not"
    return Speech(told.folder, native.chat_name, agent, told.options, told.today, why)


def _as_trained(told: Speech, file: Path) -> Speech:
    """The dialect that a run wrote down; native, where that is what it was."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        chat, agent, options = kept["chat_template"], kept["agent_template"], kept["options"]
        trained, day = kept["fingerprint"], date.fromisoformat(kept["today"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"what the run wrote about its dialect cannot be read: {error!r}",
            where=str(file),
            hint="name the templates: --template, --agent_template",
        ) from None
    for name in (None, agent):
        found = Speech(told.folder, chat, name, {**options, **told.options}, told.today)
        found.why = f"as trained ({file})"
        try:
            made = Speech(told.folder, chat, name, options, day).dialect()
        except TemplateError:
            continue
        if made.fingerprint() == trained:
            return found
    raise ModelError(
        f"the dialect that the model was trained in ({chat}, {agent}) writes otherwise today",
        where=str(file),
        hint="name the templates to serve it all the same: --template, --agent_template",
    )
