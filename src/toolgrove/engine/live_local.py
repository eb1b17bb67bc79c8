"""Serving from a model in memory: continuous batching, kept prompts, live adapters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ModelError
from toolgrove.engine.base import check_prompt
from toolgrove.engine.live import Job, Piece, Scored
from toolgrove.engine.local import LocalEngine
from toolgrove.engine.text import ReplyText

if TYPE_CHECKING:
    from toolgrove.models.choose import Chosen, Draw
    from toolgrove.models.flow import Flow, Prompt

PART_TOKENS = 512
"""How many tokens of prompts run between two tokens of the replies that are going on."""


class _Ready(NamedTuple):
    """A job that was checked, with the matcher of its grammar."""

    job: Job
    matcher: Any


@dataclass(slots=True)
class _Reply:
    """A job that is going on: how it is drawn, its text, how many tokens it may still have."""

    job: Job
    draw: Draw
    text: ReplyText
    stop_ids: frozenset[int]
    room: int
    cached: int = 0


@dataclass(slots=True)
class _Line:
    """The replies of one adapter: those whose prompts are on their way, those that go on."""

    flow: Flow
    waiting: dict[int, Prompt | None] = field(default_factory=dict)  # type: ignore[type-arg]


class LocalLive:
    """Serves from the model of a LocalEngine.

    Prompts run in parts of ``PART_TOKENS``, first come, first served, so that a long one does not
    stop the replies that are going on; a reply joins the others as soon as its prompt is through.
    A prompt's keys and values are kept for others that begin alike (``prefix_bytes``).
    """

    holds_grammars = True

    def __init__(self, engine: LocalEngine, prefix_bytes: int = 1 << 29) -> None:
        from toolgrove.models.head import head_is_plain
        from toolgrove.models.prefixes import PrefixCache
        from toolgrove.models.prompted import is_prompted

        if is_prompted(engine.model):
            raise _learnt_prompt()
        self._engine = engine
        self._prefixes = PrefixCache(prefix_bytes)
        self._plain_head = head_is_plain(engine.model)
        self._lines: dict[str | None, _Line] = {}
        self._replies: dict[int, _Reply] = {}
        self._compiling = threading.Lock()

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return self._engine.context

    def prepare(self, job: Job) -> _Ready:
        """The job with its grammar compiled; ModelError for a prompt that is empty or too long."""
        check_prompt(job.prompt, self.context)
        if job.grammar is None:
            return _Ready(job, None)
        with self._compiling:
            constrainer = self._engine.constrainer(job.sampling.stop)
            return _Ready(job, constrainer.matcher(job.grammar))

    def add(self, number: int, prepared: _Ready) -> None:
        """Takes a job in; its prompt begins behind those that came before."""
        from toolgrove.models.flow import Flow

        job = prepared.job
        line = self._lines.get(job.adapter)
        if line is None:
            line = self._lines[job.adapter] = _Line(Flow(self._engine.model, self._plain_head))
        line.waiting[number] = None
        self._replies[number] = self._reply(prepared)

    def drop(self, number: int) -> None:
        """Forgets a job, finished or not."""
        reply = self._replies.pop(number, None)
        if reply is None:
            return
        line = self._lines[reply.job.adapter]
        line.waiting.pop(number, None)
        line.flow.leave(number)
        if not line.waiting and not line.flow.rows:
            del self._lines[reply.job.adapter]

    def step(self) -> list[Piece]:
        """Runs a part of the prompts that wait, then gives every reply its next token."""
        import torch

        pieces: list[Piece] = []
        with torch.inference_mode():
            self._run_prompts()
            for adapter, line in list(self._lines.items()):
                if line.flow.rows:
                    with self._using(adapter):
                        pieces += self._tokens(line)
        return pieces

    def load_adapter(self, name: str, folder: Path) -> None:
        """Loads a trained adapter; ModelError when jobs are going on, and for a learnt prompt."""
        from toolgrove.models.adapters import check_adapter
        from toolgrove.models.prompted import PROMPTS

        self._idle()
        if check_adapter(folder).get("peft_type") in PROMPTS:
            raise _learnt_prompt(folder)
        self._engine.load_adapter(name, folder)

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter; ModelError when jobs are going on."""
        self._idle()
        self._engine.unload_adapter(name)
        self._prefixes.forget(name)

    def _idle(self) -> None:
        if self._replies:
            raise ModelError("adapters change only while no reply is going on")

    def _reply(self, prepared: _Ready) -> _Reply:
        from toolgrove.models.choose import Draw, dice_for

        job, sampling = prepared.job, prepared.job.sampling
        ids, texts = self._engine.stops(sampling)
        draw = Draw(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=job.min_p,
            presence=job.presence,
            frequency=job.frequency,
            repetition=job.repetition,
            bias=job.bias,
            top=job.top,
            matcher=prepared.matcher,
            dice=dice_for(sampling.seed),
            prompt=job.prompt,
        )
        room = min(sampling.max_new_tokens, self.context - len(job.prompt))
        return _Reply(job, draw, ReplyText(self._engine.tok.decode, texts), ids, room)

    @contextmanager
    def _using(self, adapter: str | None) -> Iterator[None]:
        """The model with this adapter, or bare."""
        if adapter is not None:
            self._engine.use(adapter)
            yield
        elif self._engine.adapters:
            with self._engine.model.disable_adapter():
                yield
        else:
            yield

    def _run_prompts(self) -> None:
        """Runs prompts in the order in which they came, as many tokens as one part has; with no
        reply going on, until one prompt is through."""
        budget = PART_TOKENS
        hurry = not any(line.flow.rows for line in self._lines.values())
        for number in sorted(n for line in self._lines.values() for n in line.waiting):
            prompt = self._begun(number)
            while budget > 0 or hurry:
                count = PART_TOKENS if hurry else budget
                budget -= min(count, prompt.left)
                with self._using(self._replies[number].job.adapter):
                    through = prompt.run(count)
                if through:
                    self._through(number, prompt)
                    hurry = False
                    break
            if budget <= 0 and not hurry:
                return

    def _begun(self, number: int) -> Prompt:
        """The prompt on its way; what others began with as well does not run again."""
        from toolgrove.models.flow import Prompt

        reply = self._replies[number]
        line = self._lines[reply.job.adapter]
        prompt = line.waiting[number]
        if prompt is None:
            found = self._prefixes.find(reply.job.adapter, reply.job.prompt)
            prompt = Prompt(self._engine.model, reply.job.prompt, found, self._plain_head)
            line.waiting[number] = prompt
            reply.cached = found.length
        return prompt

    def _through(self, number: int, prompt: Prompt) -> None:
        job = self._replies[number].job
        line = self._lines[job.adapter]
        del line.waiting[number]
        if prompt.shareable:
            self._prefixes.keep(job.adapter, job.prompt, prompt.layers)
        line.flow.join(number, prompt, len(job.prompt))

    def _tokens(self, line: _Line) -> list[Piece]:
        from toolgrove.models.choose import choose

        rows = line.flow.rows
        chosen = choose(line.flow.logits(), [self._replies[row].draw for row in rows])
        pieces = [self._piece(row, one) for row, one in zip(rows, chosen, strict=True)]
        for piece in pieces:
            if piece.finish is not None:
                self.drop(piece.number)
        left = dict(zip(rows, chosen, strict=True))
        if line.flow.rows:
            line.flow.take([left[row].token for row in line.flow.rows])
        return pieces

    def _piece(self, row: int, chosen: Chosen) -> Piece:
        reply = self._replies[row]
        token = chosen.token
        reply.room -= 1
        stop = token in reply.stop_ids
        text, finish = reply.text.take(token, stop=stop, last=reply.room <= 0)
        scores: tuple[Scored, ...] = ()
        if chosen.logprob is not None and not stop:
            scores = (Scored(token, chosen.logprob, tuple((t, p) for t, p in chosen.top)),)
        return Piece(row, (token,), text, finish, scores, reply.cached)


def _learnt_prompt(folder: Path | None = None) -> ModelError:
    return ModelError(
        "a learnt prompt or prefix cannot be served: prompts are kept by their tokens alone",
        where=str(folder) if folder else None,
        hint="toolgrove infer answers with it; adapters of other kinds can be served",
    )
