"""The process in which a benchmark's simulated worlds run calls: no network, no writing, one pipe.

Run as ``python -I world_child.py FOLDER`` with the unpacked wheel; takes requests as JSON lines
and answers each with one. It imports nothing of toolgrove.
"""

# ruff: noqa: BLE001 -- whatever a world does is an answer, and never the end of this process

from __future__ import annotations

import ast
import json
import os
import sys
from typing import Any

MEMORY_BYTES = 2 << 30
FORBIDDEN = (
    *("socket.", "subprocess.", "ctypes.", "shutil.", "os.exec", "os.posix_spawn", "os.spawn"),
    *("os.system", "os.fork", "os.kill", "os.remove", "os.rename", "os.mkdir", "os.rmdir"),
    *("os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.putenv", "pty."),
    *("urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "tempfile."),
)
"""Beginnings of the names of audit events that no world needs."""

NOT_RUN = "refused_call()"
"""What the checker runs in the place of a call that was refused: it fails there as well."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Worlds:
    """The worlds of one case at a time."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        from bfcl_eval.eval_checker.multi_turn_eval import (  # type: ignore[import-not-found]
            multi_turn_checker,
            multi_turn_utils,
        )

        self.checker = multi_turn_checker.multi_turn_checker
        self.utils = multi_turn_utils
        self.count = 0
        self.entry: dict[str, Any] = {}
        self.methods: set[str] = set()

    @property
    def run(self) -> str:
        """The name under which the worlds of this case are kept."""
        return f"run{self.count}"

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Makes the worlds of a case anew."""
        self._forget()
        self.count += 1
        self.entry = request["entry"]
        _, worlds = self._execute([])
        self.methods = {
            name for world in worlds.values() for name in dir(world) if not name.startswith("_")
        }
        return {"methods": sorted(self.methods)}

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the calls of a step return, as texts."""
        results: list[str] = []
        for call in request["calls"]:
            fault = self._fault(call)
            results += [f"Error during execution: {fault}"] if fault else self._execute([call])[0]
        return {"results": results}

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        """The benchmark's verdict on the calls of all turns."""
        turns = [
            [[NOT_RUN if self._fault(call) else call for call in step] for step in turn]
            for turn in request["turns"]
        ]
        category = self.entry["id"].rsplit("_", 1)[0]
        said = self.checker(turns, request["wanted"], self.entry, category, self.run)
        return {
            "valid": bool(said["valid"]),
            "error": str(said.get("error_message", "")),
            "kind": str(said.get("error_type", "")),
            "details": str(said.get("details", ""))[:2000],
        }

    def _execute(self, calls: list[str]) -> tuple[list[str], dict[str, Any]]:
        return self.utils.execute_multi_turn_func_call(
            calls,
            self.entry["initial_config"],
            self.entry["involved_classes"],
            self.run,
            self.entry["id"],
            long_context="long_context" in self.entry["id"],
        )

    def _fault(self, call: str) -> str:
        """Why a call is not run: it must be one call of a world's method with plain values."""
        try:
            tree = ast.parse(call, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return str(error)
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            return "not a call of a function by its name"
        if tree.func.id not in self.methods:
            return f"name '{tree.func.id}' is not defined"
        try:
            for value in (*tree.args, *(keyword.value for keyword in tree.keywords)):
                ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return "an argument is not a plain value"
        return ""

    def _forget(self) -> None:
        kept = vars(self.utils)
        for name in [name for name in kept if name.startswith(f"{self.run}_")]:
            del kept[name]


def close_off(folder: str) -> None:
    """Takes from this process what no world needs; there is no way back."""
    readable = tuple(os.path.realpath(home) for home in (folder, sys.prefix, sys.base_prefix))

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITES:
                raise PermissionError(f"writing {path} is not allowed here")
            if isinstance(path, str | bytes) and not inside(os.fsdecode(path)):
                raise PermissionError(f"reading {os.fsdecode(path)} is not allowed here")
        elif event in ("os.listdir", "os.scandir"):
            path = arguments[0]
            if not isinstance(path, str | bytes) or not inside(os.fsdecode(path)):
                raise PermissionError(f"listing {path} is not allowed here")
        elif event.startswith(FORBIDDEN):
            raise PermissionError(f"{event} is not allowed here")

    def inside(path: str) -> bool:
        real = os.path.realpath(path)
        return any(real == home or real.startswith(home + os.sep) for home in readable)

    try:
        import resource
    except ImportError:
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.addaudithook(refuse)


def main() -> None:
    """Answers requests until the pipe is closed."""
    sys.dont_write_bytecode = True
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a world prints is not an answer
    worlds = Worlds(sys.argv[1])
    close_off(sys.argv[1])
    asked = {"open": worlds.open, "call": worlds.call, "check": worlds.check}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = asked[request["do"]](request)
        except Exception as error:
            answer = {"fault": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
