"""Runs an evaluation as its settings say and reports the scores."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from toolgrove.config.settings import CommandSettings
from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON
from toolgrove.eval.asking import Subject, ask, dialect_name
from toolgrove.eval.cases import Case, Result, sample
from toolgrove.eval.metrics import Score, Share, score
from toolgrove.eval.store import Store

if TYPE_CHECKING:
    from rich.table import Table

CASES_FILE = "cases.jsonl"
REPORT_FILE = "report.json"

_log = logging.getLogger(__name__)


class EvalSettings(CommandSettings):
    """What to measure, and how."""

    model: str
    """The model: a folder, hf:org/name, ms:org/name or pypi:package."""

    adapters: list[Path] = []
    """Folders of trained adapters; the first one is switched on."""

    template: str | None = None
    """Chat template by name; left out, it is found from the model's folder; jinja: the folder's
    own, whatever it is."""

    agent_template: str | None = None
    """How tools and calls are written, by name; left out, as the model's own template does."""

    categories: list[str] = Field(default=["simple_python", "multiple"], min_length=1)
    """Categories of cases; simple_python#120 takes 120 of them, drawn by the seed."""

    seed: int = 42
    """Seed that draws the cases."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest reply in tokens; a reply that does not end by itself counts as badly formed."""

    strict: bool = False
    """Hold calls to their tools' schemas while they are generated (needs the extra grammar)."""

    batch_size: int = Field(default=64, ge=1)
    """Cases between two writes to disk; an interrupted run goes on from the last write."""

    torch_dtype: str = "auto"
    """Number format to compute in; auto takes the fastest sound one of this device."""

    output_dir: Path = Path("output/eval")
    """Folder for cases.jsonl (every prompt, reply and verdict) and report.json."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found. ``seconds`` and ``cpu_seconds`` are of this run alone."""

    model: str
    dialect: str
    scores: list[Score]
    results: list[Result]
    seconds: float
    cpu_seconds: float

    def score(self, category: str) -> Score:
        """The score of one category; ``total`` is the one of all."""
        for found in self.scores:
            if found.category == category:
                return found
        known = ", ".join(found.category for found in self.scores)
        raise EvalError(f'nothing was measured for "{category}"', hint=f"measured: {known}")

    def as_json(self) -> JSON:
        """The report without the single cases."""
        return {
            "model": self.model,
            "dialect": self.dialect,
            "interval": "Wilson, 95 %",
            "scores": [found.as_json() for found in self.scores],
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
        }


def run_eval(settings: EvalSettings) -> Report:
    """Measures a model as the settings say; writes cases.jsonl and report.json.

    Cases that an earlier run with the same settings answered are not asked again.
    """
    from toolgrove.eval.bfcl import load_checker, wheel
    from toolgrove.models.load import fetch_model
    from toolgrove.templates.detect import dialect_in

    clock, cpu = time.monotonic(), cpu_seconds()
    benchmark = wheel()
    cases = chosen_cases(settings, benchmark)
    folder = fetch_model(settings.model)
    dialect = dialect_in(folder, settings.template, settings.agent_template)
    name = dialect_name(dialect)
    store = Store(settings.output_dir / CASES_FILE, _identity(settings, name, folder))
    kept = store.kept(cases)
    missing = [case for case in cases if case.name not in kept]
    if kept:
        _log.info("%d of %d cases are answered already", len(kept), len(cases))
    if missing:
        from toolgrove.encoding.tokenizer import load_tokenizer
        from toolgrove.engine.local import LocalEngine

        adapters = {path.name: path for path in settings.adapters}
        engine = LocalEngine.load(folder, adapters, dtype=settings.torch_dtype)
        subject = Subject(engine, dialect, load_tokenizer(folder), settings.strict)
        checker = load_checker(benchmark)
        for batch in _batches(missing, settings.batch_size):
            results = list(ask(subject, checker, batch, settings.max_new_tokens))
            store.add(results)
            kept.update({result.case.name: result for result in results})
    results = [kept[case.name] for case in cases]
    spent = time.monotonic() - clock, cpu_seconds() - cpu
    report = Report(settings.model, name, score(results), results, *spent)
    _write(settings.output_dir / REPORT_FILE, report)
    return report


def chosen_cases(settings: EvalSettings, benchmark: Path) -> list[Case]:
    """The cases of the categories, each category drawn by the same seed."""
    from toolgrove.eval.bfcl import load_cases

    cases: list[Case] = []
    for spec in settings.categories:
        category, _, count = spec.partition("#")
        if "#" in spec and not (count.isdecimal() and int(count)):
            raise EvalError(f'"{spec}": not a number of cases', hint="write simple_python#120")
        found = load_cases(benchmark, category)
        cases += sample(found, int(count) if count else None, settings.seed)
    return cases


def table(report: Report) -> Table:
    """The scores for a terminal."""
    from rich.table import Table

    shown = Table(title=f"{report.model}, {report.dialect}", title_justify="left")
    shown.add_column("category")
    shown.add_column("cases", justify="right")
    for column in ("valid format", "right function", "right arguments"):
        shown.add_column(column, justify="right")
    for found in report.scores:
        shares = [in_words(share) for share in (found.format, found.function, found.arguments)]
        shown.add_row(found.category, str(found.cases), *shares)
    shown.caption = "In brackets: Wilson's 95 % intervals."
    return shown


def in_words(share: Share) -> str:
    """``61.7 % [52.7, 69.9]``."""
    low, high = share.interval
    return f"{100 * share.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def cpu_seconds() -> float:
    """What this process has used of all cores so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _identity(settings: EvalSettings, dialect: str, folder: Path) -> JSON:
    """What decides a reply: an answer of another identity must not be taken for this one's."""
    values = settings.model_dump(mode="json", exclude={"output_dir", "batch_size", "categories"})
    files = [
        file for home in (folder, *settings.adapters) for file in sorted(home.glob("*.safetensors"))
    ]
    weights = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return {**values, "dialect": dialect, "weights": weights}


def _batches(cases: list[Case], size: int) -> Iterator[list[Case]]:
    """Batches of cases of like length, the longest first, counted on a progress bar."""
    ordered = sorted(cases, key=lambda case: -len(json.dumps(case.functions) + case.question))
    with _progress(len(ordered)) as step:
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            yield batch
            step(len(batch))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("asking", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("asking", total=total)
        yield lambda count: progress.advance(task, count)


def _write(file: Path, report: Report) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
