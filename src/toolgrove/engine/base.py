"""What an engine is: token ids in, a stream of token ids and text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from toolgrove.core.errors import ModelError
from toolgrove.core.messages import JSON


class Finish(StrEnum):
    """Why a generation ended: at a stop, or at the limit of new tokens or of the context."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens, and when to end.

    ``temperature`` 0 always takes the likeliest token. ``top_p`` 1 and ``top_k`` 0 leave nothing
    out. With a ``seed``, prompt ``i`` draws the same numbers whatever else is in the batch.
    ``stop`` lists texts that end a reply, wherever the borders between tokens fall.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Chunk(NamedTuple):
    """New tokens of the reply to prompt ``index``, and the text that became certain with them.

    ``ids`` are exactly what was generated, the stop included. ``text`` ends before the stop. The
    last chunk of a reply, and only it, has a ``finish``.
    """

    index: int
    ids: tuple[int, ...]
    text: str
    finish: Finish | None


class Generation(NamedTuple):
    """A whole reply: its tokens (stop included), its text (stop left out), why it ended."""

    ids: tuple[int, ...]
    text: str
    finish: Finish


class Engine(Protocol):
    """Generates replies. Chunks of different prompts may come in any order."""

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        grammars: Sequence[JSON | None] = (),
    ) -> Iterator[Chunk]:
        """Chunks for all prompts; each prompt gets exactly one chunk with a finish.

        ``grammars``, where they are given, are one for each prompt: the structural tag that its
        reply is held to (``Dialect.grammar``), or None.
        """
        ...


def check_prompt(prompt: Sequence[int], context: int, where: str | None = None) -> None:
    """ModelError for a prompt that is empty or leaves no room for a reply in the context."""
    if not prompt:
        raise ModelError("an empty prompt", where=where)
    if len(prompt) >= context:
        raise ModelError(
            f"a prompt of {len(prompt)} tokens leaves no room for a reply",
            where=where,
            hint=f"the context is {context} tokens",
        )


def generate(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    grammars: Sequence[JSON | None] = (),
) -> list[Generation]:
    """The whole replies, in the order of the prompts."""
    ids: list[list[int]] = [[] for _ in prompts]
    texts: list[list[str]] = [[] for _ in prompts]
    finishes: list[Finish] = [Finish.LENGTH for _ in prompts]
    for chunk in engine.stream(prompts, sampling, grammars):
        ids[chunk.index].extend(chunk.ids)
        texts[chunk.index].append(chunk.text)
        if chunk.finish is not None:
            finishes[chunk.index] = chunk.finish
    return [
        Generation(tuple(i), "".join(t), f) for i, t, f in zip(ids, texts, finishes, strict=True)
    ]
