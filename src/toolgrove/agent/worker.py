"""The process in which the tools of a Python file run: ``python -m toolgrove.agent.worker FILE``.

It first writes a line that tells the tools, then reads a line for each call and writes one for its
result. What tools print goes into their results, wherever in the process it is printed.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from toolgrove.agent.functions import call, is_reads_only, tool_of
from toolgrove.agent.results import PRINTED_CHARS, result_text, shortened
from toolgrove.agent.tools import CallError
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import JSON

_END = b"\0toolgrove: end of call\0\n"
_WAIT_S = 2.0


class Printed:
    """What is printed to the process's stdout and stderr, by whatever part of it.

    A thread reads a pipe that stands in their place and keeps the beginning.
    """

    def __init__(self) -> None:
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # in the order in which others print, too
                stream.reconfigure(line_buffering=True)
        self._reading = reading
        self._kept = bytearray()
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> str:
        """What was printed since the last time."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.write(1, _END)
        self._ended.wait(_WAIT_S)
        self._ended.clear()
        text = bytes(self._kept).replace(_END, b"").decode("utf-8", "replace")
        self._kept.clear()
        return shortened(text.strip(), PRINTED_CHARS)

    def _read(self) -> None:
        tail = b""
        while data := os.read(self._reading, 1 << 16):
            room = 4 * PRINTED_CHARS - len(self._kept)
            self._kept += data[: max(room, 0)]
            tail = (tail + data)[-2 * len(_END) :]
            if _END in tail:
                tail = b""
                self._ended.set()


def tools_in(file: Path) -> dict[str, Callable[..., Any]]:
    """The tools of a file: the functions of its list ``TOOLS``; without one, all functions that it
    defines itself and whose names have no leading underscore."""
    spec = importlib.util.spec_from_file_location(f"toolgrove_tools_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ToolError("not a Python file", where=str(file), hint="give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.parent))
    spec.loader.exec_module(module)
    listed = getattr(module, "TOOLS", None)
    if listed is None:
        listed = [
            value
            for name, value in vars(module).items()
            if inspect.isfunction(value)
            and value.__module__ == module.__name__
            and not name.startswith("_")
        ]
    return {function.__name__: function for function in listed}


def main() -> int:
    """Tells the tools of the file, then runs the calls that are asked for until stdin ends."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    printed = Printed()
    file, limit = Path(sys.argv[1]), int(sys.argv[2])
    try:
        functions = tools_in(file)
        told = [
            {"tool": tool_of(function).spec, "reads_only": is_reads_only(function)}
            for function in functions.values()
        ]
    except ToolError as error:
        _write(answers, {"failed": error.what, "hint": error.hint})
        return 1
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the file may raise anything
        _write(answers, {"failed": _last_line(error, file), "printed": printed.take()})
        return 1
    printed.take()
    _write(answers, {"tools": told})
    for line in requests:
        _write(answers, _answer(functions, json.loads(line), printed, limit))
    return 0


def _answer(
    functions: dict[str, Callable[..., Any]], request: JSON, printed: Printed, limit: int
) -> JSON:
    try:
        value = call(functions[request["name"]], request["arguments"])
        text, failed = result_text(value, limit), False
    except CallError as error:
        value, text, failed = "", shortened(str(error), limit), True
    shown = printed.take()
    if shown and value is None:
        text = shown
    elif shown:
        text = f"{text}\n\nprinted:\n{shown}"
    return {"text": text, "failed": failed}


def _last_line(error: BaseException, file: Path) -> str:
    """The error and the line of the file that raised it."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    if frames and frames[-1].lineno:
        line = frames[-1].lineno
    return f"{'line ' + str(line) + ': ' if line else ''}{type(error).__name__}: {error}"


def _write(answers: TextIO, value: JSON) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
