"""Runs an evaluation as its settings say and reports the scores."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON, Conversation, Message, Role, Tool
from toolgrove.eval.journal import Journal
from toolgrove.eval.measures import Score, in_words, score
from toolgrove.eval.outcome import RIGHT, Outcome
from toolgrove.eval.play import in_batches, in_threads
from toolgrove.eval.settings import EvalSettings
from toolgrove.eval.speakers import EngineSpeaker, Speaker, dialect_name
from toolgrove.eval.suite import Prepared, Task, suites

if TYPE_CHECKING:
    from rich.table import Table

    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.backends import Backend
    from toolgrove.engine.base import Engine

CASES_FILE = "cases.jsonl"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"

_NO_PART = frozenset(
    {
        *("output_dir", "batch_size", "categories", "suite", "dataset", "datasets", "limit"),
        *(
            "seed",
            "parallel",
            "processes",
            "api_key",
            "infer_backend",
            "engine_options",
            "evalscope",
            "evalscope_args",
            "world_timeout_s",
        ),
    }
)
"""Settings that choose cases, or change nothing in an answer (the engine is told by itself)."""

_WEIGHTS = ("*.safetensors", "*.gguf", "openvino_model.bin")

_PROBE = Conversation(
    (Message(Role.USER, "Hello"), Message(Role.ASSISTANT, "Hello.")),
    (
        Tool(
            {
                "type": "function",
                "function": {
                    "name": "look_up",
                    "description": "Looks a word up.",
                    "parameters": {
                        "type": "object",
                        "properties": {"word": {"type": "string", "description": "The word."}},
                        "required": ["word"],
                    },
                },
            }
        ),
    ),
)
"""What every dialect that is measured has to show: a tool on offer."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found. ``seconds`` and ``cpu_seconds`` are of this run alone."""

    model: str
    dialect: str
    scores: list[Score]
    outcomes: list[Outcome]
    seconds: float
    cpu_seconds: float

    def score(self, category: str, suite: str | None = None) -> Score:
        """The score of one category; ``total`` is the one of all of a suite."""
        for found in self.scores:
            if found.category == category and suite in (None, found.suite):
                return found
        known = ", ".join(found.category for found in self.scores)
        raise EvalError(f'nothing was measured for "{category}"', hint=f"measured: {known}")

    def as_json(self) -> JSON:
        """The report without the single cases."""
        return {
            "model": self.model,
            "dialect": self.dialect,
            "interval": "bootstrap, 95 % (Wilson where all cases agree)",
            "scores": [found.as_json() for found in self.scores],
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
        }


class Subject(NamedTuple):
    """What is measured: its name, the dialect in words, what decides its answers, and how to get
    the one who answers (it is loaded only where a case is to be asked)."""

    name: str
    dialect: str
    identity: JSON
    speaker: Callable[[], Speaker]


def run_eval(settings: EvalSettings, *, subject: Subject | None = None) -> Report:
    """Measures a model as the settings say; writes cases.jsonl, report.json and report.html.

    Cases that an earlier run with the same settings finished are not asked again. ``subject``:
    what is measured, where it is not the model or the server of the settings.
    """
    clock, cpu = time.monotonic(), cpu_seconds()
    if subject is None:
        _refuse_clashes(settings)
    made = [suites.get(name) for name in dict.fromkeys(settings.suite)]
    prepared: list[Prepared] = []
    try:
        for make in made:
            prepared.append(make(settings))
        there = settings.backend == "remote"
        asked = subject or (_server(settings) if there else _model(settings))
        tasks = [task for suite in prepared for task in suite.tasks]
        outcomes = _played(settings, asked, tasks)
    finally:
        _close(prepared)
    spent = time.monotonic() - clock, cpu_seconds() - cpu
    report = Report(asked.name, asked.dialect, score(outcomes), outcomes, *spent)
    _write(settings.output_dir, report)
    return report


def _played(settings: EvalSettings, asked: Subject, tasks: Sequence[Task]) -> list[Outcome]:
    """The outcomes of the tasks, in their order: those that are kept, and the others."""
    if not tasks:
        raise EvalError("there is no case to play", hint="choose another suite or data set")
    with Journal(settings.output_dir / CASES_FILE, asked.identity) as journal:
        found = {outcome.key: outcome for outcome in journal.kept}
        missing = [task for task in tasks if task.key not in found]
        if len(missing) < len(tasks):
            _log.info("%d of %d cases are finished already", len(tasks) - len(missing), len(tasks))
        if missing:
            speaker = asked.speaker()
            with _progress(len(missing)) as step:
                try:
                    for ended in _rounds(settings, speaker, missing):
                        journal.add(ended)
                        found |= {outcome.key: outcome for outcome in ended}
                        step(len(ended))
                except KeyboardInterrupt:
                    left = sum(task.key not in found for task in tasks)
                    _log.warning("%d cases are left: the same command goes on with them", left)
                    raise
    return [found[task.key] for task in tasks]


def _rounds(
    settings: EvalSettings, speaker: Speaker, tasks: Sequence[Task]
) -> Iterator[list[Outcome]]:
    """The outcomes as they come; tasks with the longest prompts first, so that batches are even."""
    for live in dict.fromkeys(task.live for task in tasks):
        alike = sorted((t for t in tasks if t.live == live), key=lambda task: -task.size)
        plays = (task.begin() for task in alike)
        if settings.backend == "remote":
            yield from in_threads(plays, speaker, min(settings.parallel, live or len(alike)))
        else:
            yield from in_batches(plays, speaker, min(settings.batch_size, live or len(alike)))


def _refuse_clashes(settings: EvalSettings) -> None:
    """EvalError for settings that name nothing to measure, or that what generates has itself."""
    backend = settings.backend
    _backend(settings)
    if backend != "remote":
        if settings.model is None:
            raise EvalError("nothing to measure", hint="give --model, or --url of a server")
        if settings.processes > 1 and backend != "local":
            raise EvalError(
                f"--processes says nothing with --infer_backend {backend}",
                hint="the engine shares out its work by itself: --engine_options",
            )
        if settings.served_model:
            raise EvalError("--served_model names a model of --infer_backend remote")
        return
    own = {
        "model": settings.model,
        "adapters": settings.adapters,
        "strict": settings.strict,
        "template": settings.template,
        "agent_template": settings.agent_template,
    }
    for name in (name for name, given in own.items() if given):
        raise EvalError(
            f"--{name} says nothing of a server",
            hint="the server has its own; --served_model names the model there",
        )


def _model(settings: EvalSettings) -> Subject:
    from toolgrove.encoding.encode import refuse_losses
    from toolgrove.engine.speech import Speech, speech_of
    from toolgrove.models.load import fetch_model

    model = str(settings.model)
    folder = fetch_model(model)
    told = Speech(folder, settings.template, settings.agent_template)
    speech = speech_of(told, [*settings.adapters, folder])
    dialect = speech.dialect()
    _log.info("%s: %s", dialect_name(dialect), speech.why)
    refuse_losses(_PROBE, dialect)
    name = dialect_name(dialect)

    def speaker() -> Speaker:
        engine, tok, context = _engine(settings, folder)
        return EngineSpeaker(
            engine, dialect, tok, settings.max_new_tokens, settings.strict, context
        )

    return Subject(model, name, _identity(settings, name, folder), speaker)


def _engine(settings: EvalSettings, folder: Path) -> tuple[Engine, Tokenizer, int]:
    """What generates, its tokenizer, and its context in tokens."""
    from toolgrove.encoding.tokenizer import load_tokenizer
    from toolgrove.engine.backends import chosen, engine
    from toolgrove.engine.spread import SpreadEngine
    from toolgrove.models.vocabulary import tokenizer_of

    adapters = {path.name: path for path in settings.adapters}
    if settings.processes > 1:
        count, dtype = settings.processes, settings.torch_dtype
        spread = SpreadEngine(folder, adapters, count=count, dtype=dtype)
        first = settings.adapters[0] if settings.adapters else None
        return spread, load_tokenizer(tokenizer_of(folder, first)), spread.context
    backend = chosen(_backend(settings), folder, bool(adapters))
    made, tok = engine(backend, folder, adapters, settings.torch_dtype)
    return made, tok, made.context


def _backend(settings: EvalSettings) -> Backend:
    """What generates; ConfigError for settings that do not go together."""
    from toolgrove.engine.backends import Backend

    return Backend(settings.backend, settings.url, settings.api_key, settings.engine_options)


def _server(settings: EvalSettings) -> Subject:
    from toolgrove.eval.remote import UrlSpeaker

    speaker = UrlSpeaker(
        str(settings.url),
        settings.served_model,
        api_key=settings.api_key,
        max_new_tokens=settings.max_new_tokens,
    )
    values = settings.model_dump(mode="json", exclude=set(_NO_PART))
    identity = {**values, "served_model": speaker.model}
    return Subject(f"{speaker.model} at {speaker.url}", "the server's", identity, lambda: speaker)


def table(report: Report) -> Table:
    """The scores for a terminal."""
    from rich.table import Table

    shown = Table(title=f"{report.model}, {report.dialect}", title_justify="left")
    shown.add_column("suite")
    shown.add_column("category")
    shown.add_column("cases", justify="right")
    shown.add_column("right", justify="right")
    shown.add_column("further")
    for found in report.scores:
        further = ", ".join(
            f"{name} {100 * measure.value:.1f}"
            for name, measure in found.marks.items()
            if name != RIGHT
        )
        shown.add_row(
            found.suite, found.category, str(found.cases), in_words(found[RIGHT]), further
        )
    shown.caption = "In brackets: 95 % intervals (bootstrap)."
    return shown


def cpu_seconds() -> float:
    """What this process, and those of its processes that have ended, have used of all cores."""
    all_used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in all_used)


def _identity(settings: EvalSettings, dialect: str, folder: Path) -> JSON:
    """What decides a reply: an answer of another identity must not be taken for this one's."""
    values = settings.model_dump(mode="json", exclude=set(_NO_PART))
    if settings.backend != "local":
        values["backend"] = [settings.backend, settings.engine_options]
    homes = (folder, *settings.adapters)
    files = [file for home in homes for kind in _WEIGHTS for file in sorted(home.glob(kind))]
    weights = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return {**values, "dialect": dialect, "weights": weights}


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("asking", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("asking", total=total)
        yield lambda count: progress.advance(task, count)


def _close(prepared: Sequence[Prepared]) -> None:
    for suite in prepared:
        suite.close()


def _write(folder: Path, report: Report) -> None:
    from toolgrove.eval.report import Fact, Page, Run, page

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
    (folder / REPORT_FILE).write_text(text, encoding="utf-8")
    facts = [Fact("model", report.model), Fact("dialect", report.dialect)]
    runs = [Run("this model", report.scores, report.outcomes)]
    shown = Page("How well a model calls tools", facts, runs)
    (folder / PAGE_FILE).write_text(page(shown), encoding="utf-8", errors="backslashreplace")
