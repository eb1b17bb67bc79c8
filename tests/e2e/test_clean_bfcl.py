"""The doctor on the leaderboard's own rows: only what contradicts its own schemas is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolgrove.data.doctor.examine import Doctor
from toolgrove.data.doctor.findings import Severity
from toolgrove.eval.bfcl import PREFIX, wheel

CATEGORIES = ("live_multiple", "simple_python", "live_simple", "multiple", "parallel")
WRONG = 23
"""Rows whose first accepted answer breaks the schema of its own tool: an enum or a type, an
argument that is required or not declared, a list of accepted values that is empty. Read one by
one."""


def rows() -> Iterator[dict]:
    data = wheel() / "bfcl_eval" / "data"
    for category in CATEGORIES:
        name = f"{PREFIX}{category}.json"
        answers = {row["id"]: row for row in _lines(data / "possible_answer" / name)}
        for row in _lines(data / name):
            yield {**row, "ground_truth": answers[row["id"]]["ground_truth"]}


def _lines(file: Path) -> Iterator[dict]:
    with file.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


@pytest.mark.slow
def test_no_false_alarm_on_2111_rows() -> None:
    doctor = Doctor()
    errors: dict[str, set[str]] = {}
    warnings: list[str] = []
    for number, row in enumerate(rows(), start=1):
        for finding in doctor.row(row, ("bfcl", number)).findings:
            if finding.kind.severity is Severity.ERROR:
                errors.setdefault(row["id"], set()).add(finding.kind.code)
            else:
                warnings.append(finding.kind.code)
    assert doctor.counts.rows == 2111
    about_schemas = {"argument-type", "argument-value", "extra-argument", "missing-argument"}
    assert set().union(*errors.values()) <= about_schemas | {"bad-call"}
    assert len(errors) == WRONG
    assert set(warnings) == {"near-duplicate", "tools-twice"}
    assert warnings.count("tools-twice") == 1
    assert len(warnings) <= 40
