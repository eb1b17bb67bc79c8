"""Chat completions as OpenAI's API tells them, whole and in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolgrove.core.messages import JSON
from toolgrove.engine.live import Scored
from toolgrove.serve.answer import Choice, message_told, usage_of
from toolgrove.serve.asking import Ask
from toolgrove.serve.scheduler import Part
from toolgrove.serve.served import Served
from toolgrove.serve.wire import ChatRequest
from toolgrove.templates.reading import Delta, DeltaKind


@dataclass
class ChatAnswer:
    """The answer to a chat: takes the parts of its replies, tells it whole or chunk by chunk."""

    request: ChatRequest
    ask: Ask
    served: Served
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    choices: list[Choice] = field(default_factory=list[Choice])

    def __post_init__(self) -> None:
        self.choices = [Choice(self.ask, index) for index in range(len(self.ask.jobs))]

    def take(self, part: Part) -> None:
        """Takes a part of a reply."""
        self.choices[part.job].take(part.piece)

    def whole(self) -> JSON:
        """The body of the response, once every reply has ended."""
        return {
            **self._head("chat.completion"),
            "choices": [self._told(choice) for choice in self.choices],
            "usage": usage_of(self.choices).told(),
        }

    async def chunks(self, parts: AsyncIterator[Part]) -> AsyncIterator[JSON]:
        """The chunks of a stream: the role first, then thinking, text and calls as they become
        certain, a call's id and name before its arguments, and why each choice ended."""
        begun: set[int] = set()
        unsaid: dict[int, list[Scored]] = {choice.index: [] for choice in self.choices}
        async for part in parts:
            choice = self.choices[part.job]
            if choice.index not in begun:
                begun.add(choice.index)
                yield self._chunk(choice.index, {"role": "assistant", "content": ""})
            deltas = [told for d in choice.take(part.piece) if (told := self._delta(choice, d))]
            unsaid[choice.index] += part.piece.scores
            for delta in deltas:
                scores, unsaid[choice.index] = unsaid[choice.index], []
                yield self._chunk(choice.index, delta, scores=scores)
            if part.piece.finish is not None:
                last = self._chunk(choice.index, {}, scores=unsaid[choice.index])
                last["choices"][0]["finish_reason"] = choice.reason()
                if self.request.return_token_ids:
                    last["choices"][0]["token_ids"] = choice.ids
                yield last
        if self.request.stream_options and self.request.stream_options.include_usage:
            usage = usage_of(self.choices).told()
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def _head(self, kind: str) -> JSON:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.ask.model.name,
            "system_fingerprint": None,
        }

    def _chunk(self, index: int, delta: JSON, scores: Sequence[Scored] = ()) -> JSON:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": self._logprobs(scores) if scores else None,
            "finish_reason": None,
        }
        chunk: JSON = {**self._head("chat.completion.chunk"), "choices": [choice]}
        if self.request.stream_options and self.request.stream_options.include_usage:
            chunk["usage"] = None
        return chunk

    def _delta(self, choice: Choice, delta: Delta) -> JSON | None:
        if delta.kind is DeltaKind.TEXT:
            return {"content": delta.text}
        if delta.kind is DeltaKind.THINKING:
            if not self.request.include_reasoning:
                return None
            return {"reasoning_content": delta.text, "reasoning": delta.text}
        if delta.kind is DeltaKind.CALL_NAME:
            function = {"name": delta.text, "arguments": ""}
            call: JSON = {"index": delta.index, "id": choice.calls[delta.index].id}
            return {"tool_calls": [{**call, "type": "function", "function": function}]}
        return {"tool_calls": [{"index": delta.index, "function": {"arguments": delta.text}}]}

    def _told(self, choice: Choice) -> JSON:
        told: JSON = {
            "index": choice.index,
            "message": message_told(choice, self.request.include_reasoning),
            "logprobs": self._logprobs(choice.scores) if self.request.logprobs else None,
            "finish_reason": choice.reason(),
        }
        return {**told, "token_ids": choice.ids} if self.request.return_token_ids else told

    def _logprobs(self, scores: Sequence[Scored]) -> JSON:
        content = [
            {
                **token_told(self.served, score.token, score.logprob),
                "top_logprobs": [token_told(self.served, *pair) for pair in score.top],
            }
            for score in scores
        ]
        return {"content": content, "refusal": None}


def token_told(served: Served, token: int, logprob: float) -> JSON:
    """A token with its text, its bytes and its log-probability."""
    table: Any = served.token_bytes
    raw = table[token] if token < len(table) else b""
    return {
        "token": raw.decode("utf-8", "replace"),
        "logprob": max(logprob, -9999.0),
        "bytes": list(raw),
    }
