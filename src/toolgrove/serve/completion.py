"""Plain completions as OpenAI's API tells them, whole and in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from toolgrove.core.messages import JSON
from toolgrove.engine.live import Scored
from toolgrove.serve.answer import Choice, usage_of
from toolgrove.serve.asking import Ask
from toolgrove.serve.chat import token_told
from toolgrove.serve.scheduler import Part
from toolgrove.serve.served import Served
from toolgrove.serve.wire import CompletionRequest


@dataclass
class CompletionAnswer:
    """The answer to a completion: takes the parts of its texts, tells it whole or in chunks."""

    request: CompletionRequest
    ask: Ask
    served: Served
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    choices: list[Choice] = field(default_factory=list[Choice])

    def __post_init__(self) -> None:
        self.choices = [Choice(self.ask, index) for index in range(len(self.ask.jobs))]

    def take(self, part: Part) -> None:
        """Takes a part of a reply."""
        self.choices[part.job].take(part.piece)

    def whole(self) -> JSON:
        """The body of the response, once every text has ended."""
        choices = [self._told(c.index, c.text, c.scores, c.reason()) for c in self.choices]
        if self.request.return_token_ids:
            for told, choice in zip(choices, self.choices, strict=True):
                told["token_ids"] = choice.ids
        return {**self._head(), "choices": choices, "usage": usage_of(self.choices).told()}

    async def chunks(self, parts: AsyncIterator[Part]) -> AsyncIterator[JSON]:
        """The chunks of a stream: text as it becomes certain, and why each choice ended."""
        async for part in parts:
            choice = self.choices[part.job]
            text = "".join(delta.text for delta in choice.take(part.piece))
            ended = choice.reason() if part.piece.finish is not None else None
            if text or ended:
                told = self._told(choice.index, text, part.piece.scores, ended)
                yield {**self._head(), "choices": [told]}
        if self.request.stream_options and self.request.stream_options.include_usage:
            yield {**self._head(), "choices": [], "usage": usage_of(self.choices).told()}

    def _head(self) -> JSON:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.ask.model.name,
            "system_fingerprint": None,
        }

    def _told(self, index: int, text: str, scores: Sequence[Scored], ended: str | None) -> JSON:
        logprobs = self._logprobs(scores) if self.request.logprobs is not None else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": ended}

    def _logprobs(self, scores: Sequence[Scored]) -> JSON:
        tokens = [token_told(self.served, score.token, score.logprob) for score in scores]
        top = [
            {t["token"]: t["logprob"] for t in (token_told(self.served, *pair) for pair in s.top)}
            for s in scores
        ]
        offsets: list[int] = []
        for token in tokens:
            offsets.append(offsets[-1] + len(tokens[len(offsets) - 1]["token"]) if offsets else 0)
            del token["bytes"]
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": top,
            "text_offset": offsets,
        }
