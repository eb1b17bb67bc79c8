"""``toolgrove eval``: measures how well a model calls tools, or compares two that were measured."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from toolgrove.core.errors import ConfigError
from toolgrove.eval.settings import EvalSettings

EVALSCOPE = "evalscope"


class EvalCommand(EvalSettings):
    """Evaluation, with what the command prints."""

    compare: list[Path] = []
    """Two folders of earlier evaluations, A and B, to compare case by case; nothing is asked."""

    as_json: bool = Field(default=False, alias="json")
    """Print the report as JSON."""


def run(settings: EvalCommand) -> int:
    """Evaluates, or compares; prints the report."""
    if settings.compare:
        return _compare(settings)
    wanted = EvalSettings(**settings.model_dump(exclude={"as_json", "compare"}))
    own = [name for name in wanted.suite if name != EVALSCOPE]
    if own:
        _measure(wanted.model_copy(update={"suite": own}), settings.as_json)
    if EVALSCOPE in wanted.suite:
        from toolgrove.cli.evalscope import run_evalscope

        return run_evalscope(wanted)
    return 0


def _measure(settings: EvalSettings, as_json: bool) -> None:
    from rich.console import Console

    from toolgrove.eval.runner import PAGE_FILE, run_eval, table

    report = run_eval(settings)
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
        return
    Console().print(table(report))
    print(f"report {settings.output_dir / PAGE_FILE}")


def _compare(settings: EvalCommand) -> int:
    from rich.console import Console

    from toolgrove.eval.compare import compare_runs, comparison_table
    from toolgrove.eval.measures import score
    from toolgrove.eval.report import comparison_page

    if len(settings.compare) != 2:
        raise ConfigError(
            f"--compare takes two folders, not {len(settings.compare)}",
            hint="toolgrove eval --compare output/base output/tuned",
        )
    found = compare_runs(*settings.compare)
    scores = [score([pair[side] for pair in found.pairs]) for side in (0, 1)]
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    file = settings.output_dir / "compare.html"
    file.write_text(comparison_page(found, scores), encoding="utf-8", errors="backslashreplace")
    text = json.dumps(found.as_json(), indent=2, ensure_ascii=False)
    file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    if settings.as_json:
        print(text)
    else:
        Console().print(comparison_table(found))
        print(f"report {file}")
    return 0
