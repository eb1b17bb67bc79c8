"""Replies as they arrive, read into what a client is told: thinking, text, calls, why it ended."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON, ToolCall
from toolgrove.engine.base import Finish
from toolgrove.engine.live import Piece, Scored
from toolgrove.serve.asking import Ask
from toolgrove.templates.reading import Delta, DeltaKind, Reader

_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9


class Usage(NamedTuple):
    """How many tokens a request took."""

    prompt: int
    completion: int
    cached: int

    def told(self) -> JSON:
        """As OpenAI's API tells it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass
class Choice:
    """One reply of a request.

    Law: the deltas, joined, are what ``thinking``, ``text`` and ``calls`` say at the end, in
    whatever pieces the reply came.
    """

    ask: Ask
    index: int
    reader: Reader | None = None
    ids: list[int] = field(default_factory=list[int])
    raw: list[str] = field(default_factory=list[str])
    scores: list[Scored] = field(default_factory=list[Scored])
    thinking: str = ""
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    cached: int = 0
    finish: Finish | None = None

    def __post_init__(self) -> None:
        self.reader = self.ask.reader()

    def take(self, piece: Piece) -> list[Delta]:
        """What a piece makes certain. Of several calls only the first is told, where the request
        allows one at most."""
        self.ids += piece.ids
        self.raw.append(piece.text)
        self.scores += piece.scores
        self.cached, self.finish = piece.cached, piece.finish
        if self.reader is None:
            self.text += piece.text
            return [Delta(DeltaKind.TEXT, 0, piece.text)] if piece.text else []
        deltas = self.reader.feed(piece.text)
        if piece.finish is not None:
            deltas += self.reader.rest()
        told = [delta for delta in deltas if self.ask.parallel or delta.index == 0]
        for delta in told:
            self._add(delta)
        return told

    def reason(self) -> str:
        """The finish reason: ``tool_calls`` where the model called and stopped by itself and no
        tool was named, ``length`` at a limit, else ``stop``."""
        if self.finish is Finish.LENGTH:
            return "length"
        return "tool_calls" if self.calls and not self.ask.forced else "stop"

    def _add(self, delta: Delta) -> None:
        if delta.kind is DeltaKind.THINKING:
            self.thinking += delta.text
        elif delta.kind is DeltaKind.TEXT:
            self.text += delta.text
        elif delta.kind is DeltaKind.CALL_NAME:
            given = self.reader.calls[delta.index].id if self.reader else None
            self.calls.append(ToolCall(delta.text, {}, id=given or new_id(), given=""))
        else:
            call = self.calls[delta.index]
            written = (call.given or "") + delta.text
            self.calls[delta.index] = ToolCall(call.name, {}, id=call.id, given=written)


def new_id() -> str:
    """The id of a call: nine letters and digits, which every model's template takes."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))


def usage_of(choices: Sequence[Choice]) -> Usage:
    """What the choices took; a prompt with several choices counts once."""
    prompts = {id(c.ask.jobs[c.index].prompt): len(c.ask.jobs[c.index].prompt) for c in choices}
    completion = sum(len(choice.ids) for choice in choices)
    return Usage(sum(prompts.values()), completion, max((c.cached for c in choices), default=0))


def call_told(call: ToolCall) -> JSON:
    """A call as OpenAI's API tells it."""
    arguments = call.given if call.given is not None else dump(call.arguments)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def message_told(choice: Choice, thinking: bool = True) -> JSON:
    """A reply as an assistant's message; content is null where there are calls alone."""
    message: JSON = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.thinking and thinking:
        message["reasoning_content"] = message["reasoning"] = choice.thinking
    if choice.calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [call_told(call) for call in choice.calls]
    return message
