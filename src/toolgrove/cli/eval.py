"""``toolgrove eval``: measures how well a model calls tools."""

from __future__ import annotations

import json

from pydantic import Field

from toolgrove.eval.runner import EvalSettings


class EvalCommand(EvalSettings):
    """Evaluation, with what the command prints."""

    as_json: bool = Field(default=False, alias="json")
    """Print the report as JSON."""


def run(settings: EvalCommand) -> int:
    """Evaluates; prints the report."""
    from rich.console import Console

    from toolgrove.eval.runner import run_eval, table

    report = run_eval(EvalSettings(**settings.model_dump(exclude={"as_json"})))
    if settings.as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        Console().print(table(report))
    return 0
