"""Speakers: whatever answers conversations, an engine with its dialect or a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import JSON, Conversation, Reply

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.base import Engine
    from toolgrove.templates.dialect import Dialect


class Said(NamedTuple):
    """An answer: what was read in it, its text as it came, whether the model stopped by itself.

    ``fault`` says why there is no answer: the conversation could not be put to the model.
    """

    reply: Reply
    text: str
    ended: bool
    fault: str = ""


def unanswered(fault: str) -> Said:
    """No answer, and why."""
    return Said(Reply(None, "", complete=False), "", False, fault)


class Speaker(Protocol):
    """Answers conversations; one answer each, in their order."""

    def answer(self, asked: Sequence[Conversation]) -> list[Said]:
        """The answers. What cannot be put to this model is an answer with a fault."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSpeaker:
    """An engine spoken to in a dialect, decoding greedily.

    ``strict`` holds calls to their tools' schemas while they are generated. A prompt of
    ``context`` tokens or more is not put to the engine.
    """

    engine: Engine
    dialect: Dialect
    tok: Tokenizer
    max_new_tokens: int = 512
    strict: bool = False
    context: int | None = None

    def answer(self, asked: Sequence[Conversation]) -> list[Said]:
        """The answers, generated in one batch."""
        from toolgrove.engine.base import Finish, Sampling, generate

        prepared = [self._prompt(conversation) for conversation in asked]
        good = [index for index, ids in enumerate(prepared) if not isinstance(ids, str)]
        sampling = Sampling(max_new_tokens=self.max_new_tokens, stop=self.dialect.stops)
        prompts = [ids for ids in prepared if not isinstance(ids, str)]
        grammars = [self._grammar(asked[index]) for index in good] if self.strict else []
        answers = [unanswered(ids) if isinstance(ids, str) else None for ids in prepared]
        made = generate(self.engine, prompts, sampling, grammars) if good else []
        for index, one in zip(good, made, strict=True):
            prompt = self.dialect.prompt(asked[index])
            reply = self.dialect.read(one.text, tools=asked[index].tools, prompt=prompt)
            answers[index] = Said(reply, one.text, one.finish is Finish.STOP)
        return [answer for answer in answers if answer is not None]

    def _prompt(self, conversation: Conversation) -> list[int] | str:
        """The tokens of the prompt, or why there are none."""
        from toolgrove.encoding.encode import prompt_ids

        try:
            ids = prompt_ids(conversation, self.dialect, self.tok)
        except TemplateError as error:
            return f"not to be written in this dialect: {error.what}"
        if self.context is not None and len(ids) >= self.context:
            return f"a prompt of {len(ids)} tokens; the context is {self.context}"
        return ids

    def _grammar(self, conversation: Conversation) -> JSON | None:
        return self.dialect.grammar(conversation.tools) if conversation.tools else None


def dialect_name(spoken: Dialect) -> str:
    """The dialect in words: its templates and its fingerprint."""
    return f"{spoken.chat_name} + {spoken.agent_name or 'native'} ({spoken.fingerprint()})"
