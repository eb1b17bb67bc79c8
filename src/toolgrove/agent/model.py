"""Models that an agent can speak with: conversations in, replies out as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from toolgrove.agent.events import Said
from toolgrove.core.messages import Conversation
from toolgrove.engine.base import Engine, Finish, Sampling
from toolgrove.templates.reading import Delta

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.templates.dialect import Dialect


class Model(Protocol):
    """Replies to conversations."""

    def stream(self, conv: Conversation, room: int | None = None) -> Iterator[Delta | Said]:
        """The deltas of the next reply, then the whole of it. ``room``: the most tokens it may
        have. Closing the iterator ends the generation."""
        ...


@dataclass(frozen=True)
class EngineModel:
    """An engine, spoken to in a dialect.

    ``unlisted``: calls are read also where a
    conversation offers no tools (its system prompt may describe them). ``strict`` holds calls to
    their tools' schemas while they are generated, where the engine can.
    """

    engine: Engine
    dialect: Dialect
    tokenizer: Tokenizer
    sampling: Sampling = field(default_factory=Sampling)
    unlisted: bool = False
    strict: bool = False

    def stream(self, conv: Conversation, room: int | None = None) -> Iterator[Delta | Said]:
        """The reply. TemplateError where the dialect cannot write the conversation."""
        from toolgrove.encoding.encode import prompt_ids, refuse_losses

        refuse_losses(conv, self.dialect)
        ids = prompt_ids(conv, self.dialect, self.tokenizer)
        prompt = self.dialect.prompt(conv)
        tools = None if self.unlisted and not conv.tools else conv.tools
        reader = self.dialect.reader(tools, prompt)
        limit = self.sampling.max_new_tokens if room is None else room
        sampling = replace(
            self.sampling,
            max_new_tokens=min(limit, self.sampling.max_new_tokens),
            stop=tuple(dict.fromkeys((*self.dialect.stops, *self.sampling.stop))),
        )
        held = [self.dialect.grammar(conv.tools, prompt=prompt) if self.strict else None]
        said: list[str] = []
        finish, count = Finish.LENGTH, 0
        for chunk in self.engine.stream([ids], sampling, held if self.strict else ()):
            said.append(chunk.text)
            count += len(chunk.ids)
            finish = chunk.finish or finish
            yield from reader.feed(chunk.text)
        yield from reader.rest()
        yield Said(reader.finish(), finish, len(ids), count, "".join(said))
