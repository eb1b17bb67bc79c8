"""Simulated worlds, each in a process of its own that can do nothing else."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON

_CHILD = Path(__file__).with_name("world_child.py")
_PIECE = 1 << 16


class WorldError(EvalError):
    """A world that did not answer in time, or died."""


class Finding(NamedTuple):
    """The benchmark's verdict on a whole conversation."""

    right: bool
    reason: str = ""
    kind: str = ""


class World:
    """The worlds of one case, behind a pipe. An answer takes ``timeout_s`` at most."""

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            cwd=folder,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the command, which then ends this one
        )

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def begin(self, entry: JSON) -> None:
        """Makes the worlds of a case as they are before its first turn."""
        self._ask({"do": "open", "entry": entry})

    def call(self, calls: Sequence[str]) -> list[str]:
        """What the calls of a step return. A world that hangs or dies is a WorldError."""
        return list(self._ask({"do": "call", "calls": list(calls)})["results"])

    def check(self, turns: Sequence[Sequence[Sequence[str]]], wanted: Sequence[object]) -> Finding:
        """The verdict on the calls of all turns; the worlds are made anew for it."""
        said = self._ask({"do": "check", "turns": turns, "wanted": wanted})
        reason = f"{said['error']} {said['details']}".strip()
        return Finding(said["valid"], reason, said["kind"])

    def close(self) -> None:
        """Ends the process."""
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _kill(self) -> None:
        """Ends the process and waits until it has ended."""
        self._process.kill()
        self._process.wait()

    def _ask(self, request: JSON) -> JSON:
        stdin = self._process.stdin
        if stdin is None or not self.alive:
            raise WorldError("the simulated world has ended")
        try:
            data = memoryview(json.dumps(request).encode() + b"\n")
            while data:
                data = data[stdin.write(data) :]
            answer = json.loads(self._line())
        except (BrokenPipeError, ValueError) as error:
            self._kill()
            raise WorldError(f"the simulated world died: {error}") from error
        if "fault" in answer:
            raise WorldError(f"the simulated world failed: {answer['fault']}")
        return answer

    def _line(self) -> bytes:
        """The next line of answers."""
        pipe = self._process.stdout
        if pipe is None:
            raise WorldError("the simulated world has ended")
        until = time.monotonic() + self._timeout_s
        parts: list[bytes] = [self._rest]
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self._kill()
                    raise WorldError(f"no answer within {self._timeout_s:g} s")
                piece = os.read(pipe.fileno(), _PIECE)
                if not piece:
                    raise BrokenPipeError("it closed its pipe")
                parts.append(piece)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line


class Worlds:
    """Processes for worlds, started when they are needed and used again. Safe among threads."""

    def __init__(self, folder: Path, timeout_s: float = 60.0) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._free: list[World] = []
        self._lock = threading.Lock()

    @contextmanager
    def open(self, entry: JSON) -> Iterator[World]:
        """The worlds of a case, for as long as it is played."""
        with self._lock:
            free = [world for world in self._free if world.alive]
            world = free.pop() if free else None
            self._free = free
        world = world or World(self._folder, self._timeout_s)
        try:
            world.begin(entry)
            yield world
        finally:
            if world.alive:
                with self._lock:
                    self._free.append(world)
            else:
                world.close()

    def close(self) -> None:
        """Ends all processes that are free."""
        with self._lock:
            free, self._free = self._free, []
        for world in free:
            world.close()
