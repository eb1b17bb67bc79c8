"""Several processes that share the prompts of a batch, each with the model in its memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import ModelError, ToolgroveError
from toolgrove.core.messages import JSON
from toolgrove.engine.base import Chunk, Sampling


@dataclass(frozen=True, slots=True)
class Held:
    """The model that each process loads, as ``LocalEngine.load`` takes it, and its threads."""

    folder: Path
    adapters: Mapping[str, Path]
    dtype: str
    threads: int


class Work(NamedTuple):
    """A process's part of a batch: prompts and grammars by their numbers in it."""

    prompts: Mapping[int, Sequence[int]]
    sampling: Sampling
    grammars: Mapping[int, JSON]


class SpreadEngine:
    """Answers batches of prompts in ``count`` processes of this machine.

    Decoding on a CPU is many small steps, which threads speed up little: two processes of one
    thread do more than one of two. Replies are those of one LocalEngine, but for the last bits
    that other batches change. The processes end with ``close``, or when nothing holds the engine.
    """

    def __init__(
        self,
        folder: Path,
        adapters: Mapping[str, Path] | None = None,
        *,
        count: int,
        dtype: str = "auto",
    ) -> None:
        from toolgrove.models.threads import usable_cores

        self._count = count
        self._held = Held(folder, dict(adapters or {}), dtype, max(1, usable_cores() // count))
        self._processes: list[Any] = []
        self._lines: list[Any] = []
        weakref.finalize(self, _end, self._processes, self._lines)

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        from toolgrove.models.load import context_of

        return context_of(self._held.folder)

    def close(self) -> None:
        """Ends the processes; a later batch would start them anew."""
        _end(self._processes, self._lines)

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        grammars: Sequence[JSON | None] = (),
    ) -> Iterator[Chunk]:
        """Chunks for all prompts, as they are generated.

        A mistake in any part is raised as the process raised it; one that has died is a ModelError.
        """
        held = {row: grammar for row, grammar in enumerate(grammars) if grammar is not None}
        self._start()
        busy: list[Any] = []
        try:
            for line, rows in zip(self._lines, _dealt(prompts, self._count), strict=True):
                if rows:
                    part = {row: list(prompts[row]) for row in rows}
                    line.send(Work(part, sampling, {row: held[row] for row in rows if row in held}))
                    busy.append(line)
            while busy:
                for line in wait(busy):
                    told = _received(line)
                    if told is None:
                        busy.remove(line)
                    else:
                        yield told
        finally:
            if busy:  # given up: what the others still say would be taken for the next batch's
                self.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        while len(self._processes) < self._count:
            mine, theirs = context.Pipe()
            process = context.Process(target=_answer, args=(theirs, self._held), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._lines.append(mine)


def _end(processes: list[Any], lines: list[Any]) -> None:
    while processes:
        process = processes.pop()
        process.kill()
        process.join()
    while lines:
        lines.pop().close()


def _dealt(prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The prompts' numbers, dealt out by length, so that each part takes about as long."""
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    return [order[first::count] for first in range(count)]


def _received(line: Any) -> Chunk | None:
    """What a process has sent: a chunk, or None behind its last one."""
    try:
        told = line.recv()
    except (EOFError, ConnectionError):
        raise ModelError(
            "a process that holds the model has died",
            hint="was the memory full? fewer processes need less of it",
        ) from None
    if isinstance(told, ToolgroveError):
        raise told
    return told


def _answer(line: Connection, held: Held) -> None:
    """A process's life: loads the model, answers what it is sent until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer
    os.environ["OMP_NUM_THREADS"] = str(held.threads)
    engine: Any = None
    while True:
        try:
            work: Work = line.recv()
            if engine is None:
                from toolgrove.engine.local import LocalEngine

                engine = LocalEngine.load(held.folder, held.adapters, dtype=held.dtype)
            for chunk in engine.answer(*work):
                line.send(chunk)
            line.send(None)
        except ToolgroveError as error:
            line.send(error)
        except (EOFError, ConnectionError):
            return
