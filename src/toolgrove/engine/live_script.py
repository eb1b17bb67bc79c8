"""Serving replies that were written beforehand: no model, for tests and demonstrations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, cast

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.engine.base import Finish, check_prompt
from toolgrove.engine.live import Job, Piece, Scored
from toolgrove.engine.scripted import Codec
from toolgrove.engine.text import ReplyText

SIZES = (1, 3, 2, 5, 1, 4)
"""How many tokens come at a time, over and over."""

_CONTEXT = 1 << 20


def read_script(file: str | Path) -> list[str]:
    """The replies of a script: a JSON file with a list of texts."""
    path = Path(file)
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such script", where=str(path)) from None
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"not a JSON file: {error}", where=str(path), hint='write ["first reply", "second"]'
        ) from None
    replies = cast("list[Any]", value) if isinstance(value, list) else []
    if not replies or not all(isinstance(reply, str) for reply in replies):
        raise ConfigError(
            "a script is a list of texts, one for each request",
            where=str(path),
            hint='write ["first reply", "second"]',
        )
    return replies


class _Said(NamedTuple):
    """A reply as tokens, where it stands, and its text so far."""

    job: Job
    tokens: list[int]
    text: ReplyText


class ScriptedLive:
    """Gives the jobs the replies of a script in the order in which they come, one for each.

    Replies obey ``max_new_tokens`` and ``stop``, but no grammar. Each comes in pieces of
    ``SIZES`` tokens. Log-probabilities are 0: a script is certain of what it says.
    """

    holds_grammars = False

    def __init__(self, replies: Sequence[str], codec: Codec, context: int = _CONTEXT) -> None:
        self._replies = list(replies)
        self._codec = codec
        self._context = context
        self._played = 0
        self._said: dict[int, _Said] = {}
        self._at: dict[int, int] = {}
        self._sizes = cycle(SIZES)

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return self._context

    def prepare(self, job: Job) -> Job:
        """The job itself; ModelError for a prompt that is empty or too long."""
        check_prompt(job.prompt, self._context)
        return job

    def add(self, number: int, prepared: Job) -> None:
        """Gives the job the next reply; ModelError when all were played."""
        if self._played == len(self._replies):
            raise ModelError(
                f"the script has no more replies: all {self._played} were played",
                hint="start the server anew, or with a longer script",
            )
        tokens = self._codec.encode(self._replies[self._played])
        self._played += 1
        self._said[number] = _Said(
            prepared, tokens, ReplyText(self._codec.decode, prepared.sampling.stop)
        )
        self._at[number] = 0

    def drop(self, number: int) -> None:
        """Forgets a job; its reply was played all the same."""
        self._said.pop(number, None)
        self._at.pop(number, None)

    def step(self) -> list[Piece]:
        """The next few tokens of every reply."""
        return [self._piece(number, said) for number, said in list(self._said.items())]

    def load_adapter(self, name: str, folder: Path) -> None:
        """ModelError: a script has no model."""
        del folder
        raise ModelError(f'a scripted server has no model that "{name}" could go on')

    def unload_adapter(self, name: str) -> None:
        """ModelError: a script has no adapters."""
        raise ModelError(f'no adapter "{name}": a scripted server has none')

    def _piece(self, number: int, said: _Said) -> Piece:
        begin, limit = self._at[number], said.job.sampling.max_new_tokens
        text, end = "", begin
        for token in said.tokens[begin : min(begin + next(self._sizes), limit)]:
            text += said.text.push(token)
            end += 1
            if said.text.stopped:
                break
        self._at[number] = end
        ids = tuple(said.tokens[begin:end])
        ended = said.text.stopped or end == len(said.tokens)
        finish = Finish.STOP if ended else Finish.LENGTH if end >= limit else None
        if finish is not None:
            text += said.text.finish()
            self.drop(number)
        certain = said.job.top is not None
        scores = tuple(Scored(t, 0.0, ((t, 0.0),) if said.job.top else ()) for t in ids)
        return Piece(number, ids, text, finish, scores if certain else ())
