"""An engine for one conversation after the other, over one that serves: what prompts begin alike
with is run once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolgrove.core.messages import JSON
from toolgrove.engine.base import Chunk, Sampling
from toolgrove.engine.live import Job, LiveEngine


class KeptPrompts:
    """Generates with a live engine, which keeps the prompts that it has run: each step of an agent
    costs its new tokens only. Closing a stream drops what is left of it."""

    def __init__(self, live: LiveEngine, adapter: str | None = None) -> None:
        self._live = live
        self._adapter = adapter
        self._count = 0

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return self._live.context

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        grammars: Sequence[JSON | None] = (),
    ) -> Iterator[Chunk]:
        """Chunks for all prompts, as each token is generated."""
        held = list(grammars) or [None] * len(prompts)
        places: dict[int, int] = {}
        try:
            for index, (prompt, grammar) in enumerate(zip(prompts, held, strict=True)):
                job = Job(tuple(prompt), sampling, grammar, self._adapter)
                number = self._count = self._count + 1
                self._live.add(number, self._live.prepare(job))
                places[number] = index
            while places:
                for piece in self._live.step():
                    index = places[piece.number]
                    if piece.finish is not None:
                        del places[piece.number]
                    yield Chunk(index, piece.ids, piece.text, piece.finish)
        finally:
            for number in places:
                self._live.drop(number)
