"""``toolgrove demo``: fine-tunes a real model into calling tools, measured before and after."""

from __future__ import annotations

import functools
import gc
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.cli.demo_settings import EVALUATION, DemoSettings, identity, others
from toolgrove.cli.memory import keeping_memory
from toolgrove.cli.stages import Stages
from toolgrove.config.settings import dump_recipe
from toolgrove.core.errors import ConfigError
from toolgrove.core.messages import JSON
from toolgrove.eval.curve import Point
from toolgrove.eval.measures import TOTAL, in_words
from toolgrove.eval.outcome import RIGHT
from toolgrove.models.threads import usable_cores

if TYPE_CHECKING:
    from toolgrove.eval.cases import Case
    from toolgrove.eval.runner import Report
    from toolgrove.eval.settings import EvalSettings
    from toolgrove.train.recipe import SftSettings

BEFORE, AFTER, FREE = "before", "after", "free"
"""The stages that measure, and their folders; in ``FREE`` calls are not held to schemas."""

BATCH = 128
"""How many cases are asked at once."""

WORDS = {
    BEFORE: "evaluating before the training",
    AFTER: "evaluating after the training",
    FREE: "evaluating once more, calls not held to their schemas",
}

WORDS_ON_PAGE = {BEFORE: "before", AFTER: "after", FREE: "after, not held"}
HELD = (
    "Before and after, calls were held to their tools' schemas while they were generated, as a "
    "server does; not held: the tuned model without that."
)

QUESTION = "What will the weather be like in Lisbon tomorrow, in celsius?"
WEATHER: JSON = {
    "type": "function",
    "function": {
        "name": "weather_forecast",
        "description": "Forecasts the weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city to forecast for."},
                "day": {"type": "string", "description": "The day.", "enum": ["today", "tomorrow"]},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}
"""A tool of no data set, to try the tuned model with."""


class Measured(NamedTuple):
    """The base model; the tuned one; the tuned one with calls that are not held to schemas."""

    before: Report
    after: Report
    free: Report | None


def run(settings: DemoSettings) -> int:
    """Runs the stages that are not done yet; 130 when Ctrl-C ended the training."""
    from rich.console import Console

    from toolgrove.models.threads import prepare_torch

    prepare_torch()
    demo = _Demo(settings, Stages(settings.output_dir, identity(settings)), Console(stderr=True))
    demo.rows()
    before = demo.measure(BEFORE, settings.model)
    code = demo.train()
    if code is not None:
        demo.console.print(
            f"to finish the demo: toolgrove demo --output_dir {settings.output_dir}", style="bold"
        )
        return code
    demo.merge()
    after = demo.measure(AFTER, str(demo.merged))
    free = demo.measure(FREE, str(demo.merged)) if settings.free else None
    measured = Measured(before, after, free)
    demo.report(measured)
    demo.tell(measured)
    return 0


class _Demo:
    """The stages of the demo, each leaving its result in the output folder."""

    def __init__(self, settings: DemoSettings, stages: Stages, console: Any) -> None:
        self.settings = settings
        self.stages = stages
        self.console = console
        self.home = settings.output_dir
        self.merged = self.home / "model"
        self.tuned = self.home / "sft"
        self.dataset = self.home / "practice.jsonl"

    def rows(self) -> None:
        """Fetches model and benchmark, writes the training rows."""
        from toolgrove.eval.bfcl import wheel
        from toolgrove.models.load import fetch_model

        with self.stages.stage("fetch", "fetching the model and the benchmark") as todo:
            if todo:
                fetch_model(self.settings.model)
                wheel()
        with self.stages.stage("rows", "making training rows") as todo:
            if todo:
                self._write_rows(wheel())

    def _write_rows(self, benchmark: Path) -> None:
        from toolgrove.eval.bfcl import load_cases, load_checker
        from toolgrove.eval.practice import practice
        from toolgrove.eval.suites.bfcl import chosen_categories

        given = self.settings.practice
        cases: list[Case] = [c for name in given.categories for c in load_cases(benchmark, name)]
        evaluation = [case for name in EVALUATION for case in load_cases(benchmark, name)]
        for other in chosen_categories(others(self.settings)):
            drawn = load_cases(benchmark, other.category)
            evaluation += other.draw(drawn, self.settings.evaluation_seed)
        made = practice(cases, evaluation, load_checker(benchmark), given)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in made.rows)
        self.dataset.write_text("".join(lines), encoding="utf-8")
        reasons = ", ".join(f"{count} {reason}" for reason, count in made.left_out.most_common())
        self.console.print(f"{len(made.rows)} training rows; cases left out: {reasons}")

    def measure(self, stage: str, model: str) -> Report:
        """Evaluates a model; cases that were answered before are not asked again.

        Calls are held to their tools' schemas, but in the stage ``FREE``.
        """
        from toolgrove.eval.runner import run_eval, table

        name = f"evaluation {stage}" + (" (all cases)" if self.settings.full else "")
        with self.stages.stage(name, WORDS[stage]) as todo:
            report = run_eval(self._measuring(stage, model))
            if todo:
                self.console.print(table(report))
        gc.collect()
        return report

    def _measuring(self, stage: str, model: str) -> EvalSettings:
        from toolgrove.eval.settings import EvalSettings

        settings = self.settings
        counts = {"simple_python": settings.simple_python, "multiple": settings.multiple}
        chosen = [kind if settings.full else f"{kind}#{counts[kind]}" for kind in EVALUATION]
        suites = ["bfcl"]
        if stage != FREE:
            chosen += others(settings)
            suites += ["behaviour"] if settings.behaviour else []
        return EvalSettings(
            model=model,
            template=settings.template,
            agent_template=settings.agent_template,
            suite=suites,
            categories=chosen,
            limit=settings.behaviour or None,
            seed=settings.evaluation_seed,
            max_new_tokens=settings.max_new_tokens,
            strict=stage != FREE,
            processes=self.processes,
            batch_size=BATCH,
            output_dir=self.home / stage,
        )

    def train(self) -> int | None:
        """Fine-tunes; the exit code where the training ended early, else None."""
        from toolgrove.train.run import RECIPE

        with self.stages.stage("training", "training") as todo:
            if not todo:
                return None
            begun = (self.tuned / RECIPE).is_file()
            code = self._trained(self._sft(resume=begun))
            if code is not None:
                self.stages.interrupted()
        gc.collect()
        return code

    def _trained(self, settings: SftSettings) -> int | None:
        from toolgrove.cli.together import started
        from toolgrove.train.run import is_finished
        from toolgrove.train.sft import run_sft

        code = started(settings)
        if code is not None:
            return None if code == 0 and is_finished(self.tuned) else code
        with keeping_memory():
            result = run_sft(settings)
        return None if result.stopped is None else result.exit_code

    def _sft(self, *, resume: bool) -> SftSettings:
        from toolgrove.config.settings import resolve
        from toolgrove.train.recipe import SftSettings

        settings = self.settings
        fixed: JSON = {
            "model": settings.model,
            "template": settings.template,
            "agent_template": settings.agent_template,
            "dataset": [str(self.dataset)],
            "output_dir": str(self.tuned),
            "resume": resume,
            "nproc_per_node": self.processes,
        }
        clash = sorted(fixed.keys() & settings.training.keys())
        if clash:
            raise ConfigError(
                f'"{clash[0]}" stands under training:', hint="it is the demo's own setting"
            )
        given = {**settings.training, **fixed}
        if self.processes > 1 and given.get("tokens_per_batch"):
            given["tokens_per_batch"] //= self.processes  # of a step; each process has a batch
        return resolve(SftSettings, None, given)

    @functools.cached_property
    def processes(self) -> int:
        """How many processes ask, and train: one where there is a GPU for the whole."""
        from toolgrove.models.device import best_device

        if self.settings.processes is not None:
            return self.settings.processes
        return min(2, usable_cores()) if best_device().type == "cpu" else 1

    def merge(self) -> None:
        """Writes the merged model, which is also what is measured afterwards."""
        from toolgrove.models.load import fetch_model
        from toolgrove.models.merge import merge_lora
        from toolgrove.train.run import newest_checkpoint

        with self.stages.stage("merging", "merging the adapter into the model") as todo:
            if not todo:
                return
            checkpoint = newest_checkpoint(self.tuned)
            if checkpoint is None:
                raise ConfigError(
                    "the training left no checkpoint",
                    where=str(self.tuned),
                    hint=f"delete {self.home} and run the demo again",
                )
            merge_lora(fetch_model(self.settings.model), checkpoint, self.merged, overwrite=True)
        gc.collect()

    def report(self, measured: Measured) -> None:
        """Writes report.html, report.json and the recipe of the demo."""
        from toolgrove.eval.report import Fact, Page, Run, page
        from toolgrove.train.callbacks import read_metrics
        from toolgrove.train.run import METRICS

        losses = losses_of(read_metrics(self.tuned / METRICS))
        rows = len(self.dataset.read_text(encoding="utf-8").splitlines())
        facts = [
            Fact("model", self.settings.model),
            Fact("dialect", measured.after.dialect),
            Fact("training", f"{rows} rows, {losses[-1].step} steps"),
            *(
                Fact(name, f"{spent.seconds:.0f} s, {spent.cpu_seconds:.0f} CPU-s")
                for name, spent in self.stages.spent.items()
            ),
            Fact("peak memory of a process", f"{self.stages.peak_memory_mb} MB"),
            Fact(
                "kept apart",
                "no training row shares a function or question with the BFCL evaluation",
            ),
        ]
        title = "A model learns to call tools"
        found = {name: report for name, report in measured._asdict().items() if report is not None}
        runs = [Run(WORDS_ON_PAGE[name], r.scores, r.outcomes) for name, r in found.items()]
        _write(self.home / "report.html", page(Page(title, facts, runs, losses, (HELD,))))
        numbers: JSON = {name: report.as_json() for name, report in found.items()}
        numbers.update(self.stages.as_json())
        _write(self.home / "report.json", json.dumps(numbers, indent=2) + "\n")
        _write(self.home / "tools.json", json.dumps([WEATHER], indent=2) + "\n")
        dump_recipe(self.settings, self.home / "demo.yaml")

    def tell(self, measured: Measured) -> None:
        """Prints what came out, and what to do next."""
        before, after, free = measured
        for name in EVALUATION:
            was, now = (in_words(report.score(name)["arguments"]) for report in (before, after))
            print(f"{name}: right calls {was} before, {now} after")
            if free is not None:
                found = in_words(free.score(name)["arguments"])
                print(f"  after, with calls that are not held to their schemas: {found}")
        for suite in dict.fromkeys(score.suite for score in after.scores):
            was, now = (in_words(report.score(TOTAL, suite)[RIGHT]) for report in (before, after))
            print(f"{suite}, all categories: right {was} before, {now} after")
        speak = (
            f"--template {self.settings.template} --agent_template {self.settings.agent_template}"
        )
        told = f"""
report       {self.home / "report.html"}
merged model {self.merged}

Try it:
  toolgrove infer --model {self.merged} {speak} \\
    --tools {self.home / "tools.json"} --prompt "{QUESTION}"
  toolgrove eval --model {self.merged} {speak} \\
    --categories simple_python#50 --seed 7 --strict --output_dir {self.home / "other"}
  toolgrove demo --free    # the same without holding calls to their schemas
  toolgrove demo --full    # all 600 cases"""
        print(told)


def losses_of(lines: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The losses among the lines of a run's metrics."""
    return [Point(int(line["step"]), float(line["loss"])) for line in lines if "loss" in line]


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
