"""Rows written anew: repaired where that is safe, set apart where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from toolgrove.core.errors import ConfigError
from toolgrove.core.messages import JSON
from toolgrove.data.doctor.examine import Doctor, Verdict
from toolgrove.data.doctor.findings import Finding, Severity

Tell = Callable[[list[str]], None]


@dataclass(slots=True)
class Outcome:
    """What became of the rows."""

    written: int = 0
    repaired: int = 0
    changes: int = 0
    apart: int = 0
    left_out: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Targets:
    """Where rows go: ``output`` names the file for each input (None: rows are not written),
    ``quarantine`` is for what still has errors; ``fix``: safe changes are made."""

    output: Callable[[str], Path] | None
    quarantine: Path | None
    fix: bool


@dataclass
class Mender:
    """Writes rows as they are examined. A file is under its name only when it is whole.

    A row goes to the output of its file, unless it has errors and there is a quarantine: then it
    goes there, with its findings. A line that holds no row can only go to the quarantine.
    ``tell`` is given each change as the lines of a diff.
    """

    doctor: Doctor
    targets: Targets
    tell: Tell
    done: Outcome = field(default_factory=Outcome)
    _open: dict[Path, IO[str]] = field(default_factory=dict[Path, IO[str]])
    _stack: ExitStack = field(default_factory=ExitStack)

    def refuse_overwriting(self, inputs: list[str]) -> None:
        """ConfigError where an input would be written over, or a folder stands in the way."""
        taken = {Path(name).resolve() for name in inputs}
        targets = [self.targets.output(name) for name in inputs] if self.targets.output else []
        if self.targets.quarantine is not None:
            if self.targets.quarantine.resolve() in {file.resolve() for file in targets}:
                raise ConfigError("--output and --quarantine name the same file")
            targets.append(self.targets.quarantine)
        for file in targets:
            if file.resolve() in taken:
                raise ConfigError(
                    "an input would be written over", where=str(file), hint="name another file"
                )
            if file.is_dir():
                raise ConfigError("a folder", where=str(file), hint="name a file in it")

    def add(self, verdict: Verdict) -> None:
        """Writes the row of a verdict, or sets it apart."""
        if verdict.row is None:
            self._apart(verdict, {"text": verdict.text}, verdict.findings)
            return
        row, left = verdict.row, verdict.findings
        if self.targets.fix and any(finding.repairable for finding in left):
            row, left = self._repaired(verdict)
        errors = [f for f in left if f.kind.severity is Severity.ERROR]
        if errors and self.targets.quarantine is not None:
            self._apart(verdict, {"row": row}, left)
            return
        self.done.errors += len(errors)
        if self.targets.output is not None:
            self._write(self.targets.output(verdict.file), row)
            self.done.written += 1

    def close(self) -> None:
        """Puts the written files under their names; a file without rows is not made."""
        self._stack.close()
        for file in self._open:
            _part(file).replace(file)
        self._open.clear()

    def drop(self) -> None:
        """Removes what was written so far."""
        self._stack.close()
        for file in self._open:
            _part(file).unlink(missing_ok=True)
        self._open.clear()

    def _repaired(self, verdict: Verdict) -> tuple[JSON, list[Finding]]:
        mended = self.doctor.repaired(verdict)
        if not mended.changes:
            return mended.row, verdict.findings
        self.done.repaired += 1
        self.done.changes += sum(line.startswith("@@") for line in mended.changes)
        self.tell([f"--- {verdict.file}:{verdict.line}", *mended.changes])
        return mended.row, mended.left

    def _apart(self, verdict: Verdict, held: JSON, findings: list[Finding]) -> None:
        if self.targets.quarantine is None:
            self.done.left_out += 1
            self.done.errors += 1
            return
        told = [finding.as_json() for finding in findings]
        entry = {"file": verdict.file, "line": verdict.line, "findings": told, **held}
        self._write(self.targets.quarantine, entry)
        self.done.apart += 1

    def _write(self, file: Path, row: JSON) -> None:
        if file not in self._open:
            file.parent.mkdir(parents=True, exist_ok=True)
            stream = _part(file).open("w", encoding="utf-8", errors="backslashreplace")
            self._open[file] = self._stack.enter_context(stream)
        self._open[file].write(json.dumps(row, ensure_ascii=False) + "\n")


def _part(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")
