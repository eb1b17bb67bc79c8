"""The file of finished cases: a line for each, added the moment that the case has ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON
from toolgrove.eval.outcome import Outcome

_HINT = "delete the file; the cases are then asked again"


class Journal:
    """Outcomes on disk. ``identity`` says what was measured and how.

    Law: what ``add`` wrote, ``kept`` gives back, unless the file is of another identity; then it
    is begun anew with the first ``add``. A last line that an interruption cut short is not there.
    """

    def __init__(self, file: Path, identity: JSON) -> None:
        self.file = file
        self._head: JSON = {"measured": identity}
        self._stream: IO[bytes] | None = None
        self._whole = 0
        self.kept: list[Outcome] = self._read()

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Writes outcomes behind those that are there; they are on disk when this returns."""
        stream = self._opened()
        for outcome in outcomes:
            stream.write(_line(outcome.as_json()))
        stream.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _opened(self) -> IO[bytes]:
        if self._stream is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.file.open("r+b" if self._whole else "wb")
            self._stream.truncate(self._whole)
            self._stream.seek(self._whole)
            if not self._whole:
                self._stream.write(_line(self._head))
        return self._stream

    def _read(self) -> list[Outcome]:
        """The outcomes in the file; none when it is missing or of another identity."""
        if not self.file.exists():
            return []
        head, outcomes, size = _lines(self.file)
        if head != self._head:
            return []
        self._whole = size
        return outcomes


def read_journal(file: Path) -> tuple[JSON, list[Outcome]]:
    """What was measured, and the outcomes in the file. EvalError where there is none."""
    if not file.exists():
        raise EvalError("no such file of cases", where=str(file), hint="name a folder of an eval")
    head, outcomes, _ = _lines(file)
    measured = head.get("measured")
    if not isinstance(measured, dict):
        raise EvalError("not a file of cases of toolgrove eval", where=str(file))
    return measured, outcomes


def _lines(file: Path) -> tuple[JSON, list[Outcome], int]:
    """The head, the outcomes, and the size in bytes of what is whole."""
    head: JSON = {}
    outcomes: list[Outcome] = []
    size = 0
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            value: Any = json.loads(line)
            if number == 1:
                head = dict(value)
            else:
                outcomes.append(Outcome(**value))
        except (ValueError, TypeError) as error:
            where = f"{file}:{number}"
            raise EvalError(f"not a case: {error}", where=where, hint=_HINT) from None
        size += len(line)
    return head, outcomes, size


def _line(value: JSON) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
