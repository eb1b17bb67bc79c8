"""The file of answered cases: a line per case with its prompt, reply and verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON, Reply, ToolCall
from toolgrove.eval.cases import Case, Result, Verdict


class Store:
    """Results on disk. ``identity`` says what was measured and how.

    Law: what ``add`` wrote, ``kept`` gives back, unless the file is of another identity; then it
    is begun anew with the first ``add``. A line that an interruption cut short is not there.
    """

    def __init__(self, file: Path, identity: JSON) -> None:
        self.file = file
        self._head: JSON = {"measured": identity}

    def kept(self, cases: Iterable[Case]) -> dict[str, Result]:
        """The results for these cases that the file holds, by the cases' names."""
        known = {case.name: case for case in cases}
        lines = self._lines()
        found = [line for line in lines[1:] if line.get("name") in known]
        return {line["name"]: _result(line, known[line["name"]]) for line in found}

    def add(self, results: Iterable[Result]) -> None:
        """Writes results behind those that are there."""
        lines = [_line(result) for result in results]
        kept = self._lines()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(
            json.dumps(line, ensure_ascii=False) + "\n"
            for line in [*(kept or [self._head]), *lines]
        )
        part = self.file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.file)

    def _lines(self) -> list[JSON]:
        """All lines of the file, the head first; none when it is missing or of another identity."""
        if not self.file.exists():
            return []
        lines: list[JSON] = []
        for number, text in enumerate(self.file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError as error:
                raise EvalError(
                    f"not JSON: {error.msg}",
                    where=f"{self.file}:{number}",
                    hint="delete the file; the cases are then asked again",
                ) from None
        return lines if lines[:1] == [self._head] else []


def _line(result: Result) -> JSON:
    case, reply = result.case, result.reply
    return {
        "name": case.name,
        "category": case.category,
        "format": result.format,
        "function": result.function,
        "arguments": result.arguments,
        "reason": result.verdict.reason,
        "kind": result.verdict.kind,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in reply.calls],
        "content": reply.content,
        "thinking": reply.thinking,
        "complete": reply.complete,
        "gold": [{"name": gold.name, "arguments": dict(gold.arguments)} for gold in case.gold],
        "reply": result.text,
        "prompt": result.prompt,
    }


def _result(line: dict[str, Any], case: Case) -> Result:
    calls = tuple(ToolCall(call["name"], call["arguments"]) for call in line["calls"])
    return Result(
        case=case,
        prompt=line["prompt"],
        text=line["reply"],
        reply=Reply(line["thinking"], line["content"], calls, line["complete"]),
        format=line["format"],
        function=line["function"],
        verdict=Verdict(line["arguments"], line["reason"], line["kind"]),
    )
