"""The tools of a Python file, run in a process of their own that can be ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from toolgrove.agent.results import MOST_CHARS, PRINTED_CHARS
from toolgrove.agent.tools import CallError, RunnableTool
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import JSON, Tool

START_TIMEOUT_S = 60.0
"""How long importing the file may take."""

_RESULT_CHARS = MOST_CHARS - PRINTED_CHARS - 500  # what is cut is cut once, with all its notes


class PythonFile:
    """Tools that a Python file defines.

    One process runs them, so that they may remember things; calls run one after the other. A call
    that takes too long, or is stopped, ends the process with all that it started; the next call
    begins a new one. ToolError when the file cannot be imported or has no tools.
    """

    def __init__(self, file: Path) -> None:
        self.name = file.name
        self._file = file.resolve()
        self._turn = threading.Lock()
        self._process: _Process | None = None
        if not file.is_file():
            raise ToolError("no such file", where=str(file), hint="give the path of a .py file")
        self.tools = self._described()

    def stop(self) -> None:
        """Ends the process, in the middle of a call, too."""
        process = self._process
        if process is not None:
            process.end()

    def close(self) -> None:
        """Ends the process."""
        self.stop()
        self._process = None

    def _described(self) -> list[RunnableTool]:
        self._process, told = self._started()
        if not told:
            raise ToolError(
                "no tools in this file",
                where=str(self._file),
                hint="define functions, or name them in a list TOOLS",
            )
        return [
            RunnableTool(
                Tool(entry["tool"]),
                lambda arguments, timeout_s, name=entry["tool"]["function"]["name"]: self._call(
                    name, arguments, timeout_s
                ),
                reads_only=entry["reads_only"],
                source=self.name,
            )
            for entry in told
        ]

    def _started(self) -> tuple[_Process, list[JSON]]:
        process = _Process(self._file)
        first = process.line(START_TIMEOUT_S)
        if first is None or "failed" in first:
            process.end()
            what = first["failed"] if first else f"not imported within {START_TIMEOUT_S:.0f} s"
            raise ToolError(
                f"the file cannot be imported: {what}",
                where=str(self._file),
                hint=(first or {}).get("hint"),
            )
        return process, first["tools"]

    def _call(self, name: str, arguments: JSON, timeout_s: float) -> str:
        end = time.monotonic() + timeout_s
        if not self._turn.acquire(timeout=timeout_s):
            raise CallError(f"no time left within {timeout_s:g} s: another call was running")
        try:
            process = self._ready()
            answer = process.ask({"name": name, "arguments": arguments}, end - time.monotonic())
        finally:
            self._turn.release()
        if answer["failed"]:
            raise CallError(answer["text"])
        return answer["text"]

    def _ready(self) -> _Process:
        if self._process is None or not self._process.alive:
            try:
                self._process, _ = self._started()
            except ToolError as error:
                raise CallError(str(error)) from error
        return self._process


class _Process:
    """A running worker."""

    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "toolgrove.agent.worker", str(file), str(_RESULT_CHARS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        self._ended = False
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it takes calls."""
        return not self._ended and self._process.poll() is None

    def line(self, timeout_s: float) -> JSON | None:
        """The next line that the worker writes; None when the time is over or the worker ended."""
        try:
            line = self._lines.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None
        return json.loads(line) if line is not None else None

    def ask(self, request: JSON, timeout_s: float) -> JSON:
        """The answer to a request; CallError where there is none."""
        stdin: Any = self._process.stdin
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except OSError:
            self.end()
            raise CallError(
                "the process of the tool had ended; the next call begins anew"
            ) from None
        answer = self.line(timeout_s)
        if answer is not None:
            return answer
        stopped, code = self._ended, self._wait()
        self.end()
        if stopped:
            raise CallError("the call was stopped")
        if code is None:
            raise CallError(f"no result within {max(timeout_s, 0):.3g} s; the call was ended")
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise CallError(f"the process of the tool ended in the middle of the call ({how})")

    def end(self) -> None:
        """Ends the process and those that it started."""
        self._ended = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def _wait(self) -> int | None:
        """The exit code of a process that has closed its output; None: it goes on."""
        try:
            return self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            return None

    def _read(self) -> None:
        stdout: Any = self._process.stdout
        with contextlib.suppress(ValueError, OSError):
            for line in stdout:
                self._lines.put(line)
        self._lines.put(None)
