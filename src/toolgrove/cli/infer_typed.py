"""What a person types: with line editing in a terminal, line by line out of a pipe."""

from __future__ import annotations

import io
import sys
from typing import Protocol

from toolgrove.agent.permission import Answer
from toolgrove.cli.infer_shown import safe
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import ToolCall

_END = "#"
_RESULTS = ("/result ", "tool:")


class Reads(Protocol):
    """Gives the next line; EOFError at the end, KeyboardInterrupt for Ctrl-C."""

    def __call__(self, prompt: str, /) -> str:
        """The line that was typed behind the prompt."""
        ...


class Typist:
    """Whoever types. ``present``: a person at a terminal, who can be asked things."""

    def __init__(self, read: Reads, present: bool) -> None:
        self._read = read
        self.present = present

    def message(self, multi_line: bool) -> str:
        """A message; of several lines, the last of which ends in ``#``, where that is wanted."""
        if not multi_line:
            return self._read("<<< ")
        lines: list[str] = []
        while True:
            line = self._read("<<<[M] " if not lines else "... ")
            if not lines and line.strip().lower() in ("single-line", "exit", "quit"):
                return line
            if line.rstrip().endswith(_END):
                lines.append(line.rstrip()[: -len(_END)])
                return "\n".join(lines).rstrip()
            lines.append(line)

    def system(self) -> str:
        """A system prompt."""
        return self._read("<<<[S] ").strip()

    def observation(self, call: ToolCall) -> str:
        """The result of a call."""
        line = self._read(f"result of {safe(call.name)}> ")
        result = result_in(line)
        return line if result is None else result

    def permission(self, call: ToolCall) -> Answer:
        """Whether a call may run."""
        shown = safe(dump(call.arguments))
        while True:
            said = self._read(f"run {safe(call.name)}({shown})? y(es), n(o), a(lways)> ")
            answer = said.strip().lower()[:1]
            if answer in ("y", "n", "a"):
                return {"y": Answer.ONCE, "n": Answer.NO, "a": Answer.ALWAYS}[answer]


def result_in(line: str) -> str | None:
    """The result in a line that gives one (``tool: TEXT``, ``/result TEXT``), else None."""
    for mark in _RESULTS:
        if line.lower().startswith(mark):
            return line[len(mark) :].strip()
    return None


def typist() -> Typist:
    """The person at the terminal; without one, whatever stdin holds."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return Typist(_terminal(), present=True)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is no UTF-8 shows as such
    return Typist(_piped, present=False)


def _terminal() -> Reads:
    from prompt_toolkit import PromptSession

    session: PromptSession[str] = PromptSession()
    return lambda prompt: session.prompt(prompt)


def _piped(_prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")
