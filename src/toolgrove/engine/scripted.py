"""An engine that says what it is told to say, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from toolgrove.core.messages import JSON
from toolgrove.engine.base import Chunk, Finish, Sampling
from toolgrove.engine.text import ReplyText


class Codec(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]:
        """The ids of the text."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of the ids."""
        ...


class ScriptedEngine:
    """Gives its ``i``-th prompt the reply ``replies[i]``, or ``replies(text of the prompt)``.

    Replies obey ``max_new_tokens`` and ``stop`` as any engine's do, but no grammar; the prompts
    that were asked are kept in ``asked``, the grammars in ``held_to``.
    """

    def __init__(self, replies: Sequence[str] | Callable[[str], str], codec: Codec) -> None:
        self._replies = replies
        self._codec = codec
        self.asked: list[tuple[int, ...]] = []
        self.held_to: list[JSON | None] = []

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        grammars: Sequence[JSON | None] = (),
    ) -> Iterator[Chunk]:
        """Streams the scripted replies, one token a chunk, one prompt after the other."""
        self.held_to += grammars
        for index, prompt in enumerate(prompts):
            self.asked.append(tuple(prompt))
            yield from self._one(index, self._reply(prompt), sampling)

    def _reply(self, prompt: Sequence[int]) -> str:
        if callable(self._replies):
            return self._replies(self._codec.decode(list(prompt)))
        return self._replies[len(self.asked) - 1]

    def _one(self, index: int, reply: str, sampling: Sampling) -> Iterator[Chunk]:
        tokens = self._codec.encode(reply)
        text = ReplyText(self._codec.decode, sampling.stop)
        for count, token in enumerate(tokens, start=1):
            new = text.push(token)
            ended = text.stopped or count == len(tokens)
            full = count == sampling.max_new_tokens
            if ended or full:
                new += text.finish()
                finish = Finish.STOP if ended else Finish.LENGTH
                yield Chunk(index, (token,), new, finish)
                return
            yield Chunk(index, (token,), new, None)
        yield Chunk(index, (), "", Finish.STOP)
