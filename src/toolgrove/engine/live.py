"""What an engine that serves is: jobs join and leave while the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from toolgrove.core.messages import JSON
from toolgrove.engine.base import Finish, Sampling


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt to be answered once.

    ``adapter`` None is the bare model. ``top`` None asks for no log-probabilities, n for those of
    each token and the n likeliest in its place. Penalties are OpenAI's; ``repetition`` is the one
    of Hugging Face; ``min_p`` a share of the likeliest token's probability.
    """

    prompt: tuple[int, ...]
    sampling: Sampling
    grammar: JSON | None = None
    adapter: str | None = None
    top: int | None = None
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: Mapping[int, float] = field(default_factory=dict[int, float])


class Scored(NamedTuple):
    """A token, its log-probability (nats), and the likeliest tokens in its place with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Piece(NamedTuple):
    """New tokens of a job's reply, and the text that became certain with them.

    ``text`` ends before a stop. The last piece, and only it, has a ``finish``. ``cached`` is how
    many tokens of the prompt did not have to be run.
    """

    number: int
    ids: tuple[int, ...]
    text: str
    finish: Finish | None
    scores: tuple[Scored, ...] = ()
    cached: int = 0


class LiveEngine(Protocol):
    """Works on many jobs at once. ``prepare`` may be called from any thread and at any time, all
    else from one thread only."""

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        ...

    @property
    def holds_grammars(self) -> bool:
        """Whether replies are held to the grammars of their jobs."""
        ...

    def prepare(self, job: Job) -> Any:
        """What ``add`` takes; ModelError for a job that cannot be done."""
        ...

    def add(self, number: int, prepared: Any) -> None:
        """Takes a job in, under a number of the caller's."""
        ...

    def drop(self, number: int) -> None:
        """Forgets a job, finished or not."""
        ...

    def step(self) -> list[Piece]:
        """Goes on with all jobs; none, one or several tokens for each."""
        ...

    def load_adapter(self, name: str, folder: Path) -> None:
        """Loads a trained adapter under a name; ModelError when that cannot be."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter that no job uses."""
        ...
