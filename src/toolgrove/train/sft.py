"""Supervised fine-tuning: from a recipe to a run folder with a trained model."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.encoding.kinds import Kinds
from toolgrove.templates.spoken import FILE as DIALECT
from toolgrove.templates.spoken import spoken
from toolgrove.train.disk import telling_full_disk
from toolgrove.train.parallel import Kind, parallel_of
from toolgrove.train.prepare import prepare, show_sample
from toolgrove.train.ranks import agreed_folder, local_ranks, rank, ranks
from toolgrove.train.recipe import SftSettings
from toolgrove.train.run import (
    METRICS,
    RECIPE,
    checkpoint_to_resume,
    newest_checkpoint,
    refuse_other_shape,
    step_of,
)
from toolgrove.train.settings import Best, TrainSettings
from toolgrove.train.watchers import Watch, Watcher, made, refuse_parts

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import TrainerCallback

    from toolgrove.models.device import Placement
    from toolgrove.models.task import Head
    from toolgrove.models.tuned import Tuned
    from toolgrove.templates.dialect import Dialect
    from toolgrove.train.batches import ByKind
    from toolgrove.train.loss import Loss
    from toolgrove.train.source import Feed
    from toolgrove.train.stream_source import Streamed
    from toolgrove.train.trainer import SftTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SftResult:
    """What a run left behind. ``stopped`` names the signal that ended it early, if one did.

    ``checkpoint`` is the newest whole one, with ``load_best_model_at_end`` the best: the adapter or
    model to use. ``best`` is the one that ``metric_for_best_model`` chose. ``metrics`` are the
    latest of metrics.jsonl.
    """

    output_dir: Path
    checkpoint: Path | None
    steps: int
    loss: float | None
    stopped: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    best: Path | None = None

    @property
    def exit_code(self) -> int:
        """What a command should exit with: 130 after Ctrl-C, else 0."""
        return 130 if self.stopped == "SIGINT" else 0


def run_sft(settings: SftSettings, watches: Sequence[Watch] = ()) -> SftResult:
    """Fine-tunes as the recipe says. All that a user can mend is a ToolgroveError.

    ``watches`` make what looks at the model in each validation, where the recipe asks for it.

    The run folder then holds recipe.yaml, dialect.json, the tokenizer's files, metrics.jsonl,
    plots/ and checkpoint-N/. SIGINT and SIGTERM end the run after the current step with a
    checkpoint. The same recipe on the same machine gives the same numbers, in one go or resumed.
    """
    job = begin(settings, "sft")
    with telling_full_disk(job.run):
        if settings.head is not None:
            return _run_scored(settings, job)
        refuse_parts(settings)
        prepared = prepare(settings, job.texts, job.run, job.console)
        kinds = Kinds(prepared.tok).weights if settings.watches_kinds else None
        job = replace(job, watchers=made(settings, prepared, watches), kinds=kinds)
        job = _write_beginning(settings, job, prepared.dialect)
        show_sample(prepared, job.console)
        return train(job, prepared)


def _run_scored(settings: SftSettings, job: Job) -> SftResult:
    """The run of a model that learns to score conversations."""
    from toolgrove.train.prepare_scored import prepare_scored, show_scored

    data = prepare_scored(settings, job.texts, job.run)
    job = _write_beginning(settings, job, data.dialect)
    show_scored(data, job.console)
    return train(replace(job, head=settings.head), data)


def _write_beginning(settings: SftSettings, job: Job, dialect: Dialect) -> Job:
    if rank() > 0:
        return job
    _write_dialect(settings, dialect, job.run)
    return write_run(job, {"today": dialect.today})


class Data(Protocol):
    """What a run trains and validates on."""

    @property
    def train(self) -> Sequence[Any]:
        """The sequences to train on, or the conversations to score."""
        ...

    @property
    def val(self) -> Sequence[Any]:
        """Those to validate on; may be empty."""
        ...

    @property
    def streamed(self) -> Streamed | None:
        """Where the data streams: what to train on, in place of ``train``."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is set up: the model's folder, the run's, the checkpoint to go on from.

    ``texts`` is the folder with the tokenizer and config that the run uses, ``tokens`` are the new
    tokens in it (see ``add_tokens``), ``callbacks`` are the user's, ``head`` is what scores, if the
    model does not write. ``watchers`` look at the model in each validation, which tells the loss of
    these ``kinds``. ``loaded`` is called when the checkpoint to go on from was loaded.
    """

    command: str
    settings: TrainSettings
    folder: Path
    texts: Path
    run: Path
    resume: Path | None
    console: Console
    tokens: Mapping[str, Sequence[int]]
    callbacks: Sequence[TrainerCallback] = ()
    head: Head | None = None
    watchers: Sequence[Watcher] = ()
    kinds: ByKind | None = None
    loaded: Callable[[], None] | None = None

    @property
    def after(self) -> int | None:
        """The step that the run goes on after, if it does."""
        return None if self.resume is None else step_of(self.resume)


def begin(settings: TrainSettings, command: str) -> Job:
    """Finds the model, makes the run's folder, adds new tokens to a copy of the tokenizer."""
    from rich.console import Console

    from toolgrove.models.device import has_gpu
    from toolgrove.models.kernels import refuse_liger
    from toolgrove.models.load import fetch_model
    from toolgrove.models.threads import prepare_torch
    from toolgrove.train.loggers import refuse_missing

    prepare_torch()
    from toolgrove.train.plugged import plugged  # loads torch, which must find its settings

    refuse_missing(settings.report_to)
    if settings.use_liger_kernel:
        refuse_liger(on_cuda=has_gpu())
    callbacks = plugged(settings.external_plugins, settings.callbacks)
    console = Console(stderr=True, quiet=rank() > 0, highlight=False)
    folder = fetch_model(settings.model)
    run = agreed_folder(settings)
    resume = checkpoint_to_resume(settings, run)
    if resume is not None:
        refuse_other_shape(resume, parallel_of(settings).stage, ranks())
    texts, tokens = folder, {}
    if settings.new_special_tokens:
        from toolgrove.models.vocabulary import add_tokens

        texts = run / "tokens" if ranks() == 1 else run / f"tokens-{rank()}"
        tokens = add_tokens(folder, settings.new_special_tokens, texts)
    return Job(command, settings, folder, texts, run, resume, console, tokens, callbacks)


def train(job: Job, data: Data) -> SftResult:
    """Trains on the data, and says how it ended."""
    from transformers import set_seed

    from toolgrove.models.device import place
    from toolgrove.models.threads import use_cores
    from toolgrove.train.budget import is_out_of_memory

    use_cores(local_ranks())
    placement = place(job.settings.torch_dtype)
    if placement.device.type == "cpu":
        # accelerate loads DeepSpeed where it is installed, which else says on stdout what it finds
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logger.info("computing in %s on %s: %s", placement.dtype, placement.device, placement.why)
    set_seed(job.settings.seed)
    trainer = _trainer(job, data, placement)
    try:
        return _run(job, trainer)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            "the device's memory is full",
            hint="lower --tokens_per_batch or --max_length, let --auto_budget true find what fits,"
            " or turn on --gradient_checkpointing true",
        ) from error


def _run(job: Job, trainer: SftTrainer) -> SftResult:
    from toolgrove.train.callbacks import Display, Metrics, StopWish, read_metrics
    from toolgrove.train.plots import draw_plots

    file = job.run / METRICS
    metrics = Metrics(file, trainer.counts, job.after)
    if job.resume is not None:
        job.console.print(f"going on from {job.resume}", soft_wrap=True)
    display = Display(metrics, job.settings.best)
    wish = StopWish(save=job.settings.save_strategy != "no")
    trainer.pace = metrics.pace
    for callback in (metrics, display, wish, *_beside(job, file, writes=trainer.args.should_save)):
        trainer.add_callback(callback)
    try:
        with wish.listening():
            trainer.train(resume_from_checkpoint=str(job.resume) if job.resume else None)
    finally:
        display.close()
    if trainer.args.should_save:
        draw_plots(read_metrics(file), job.run / "plots")
    found = trainer.state.best_model_checkpoint if job.settings.best else None
    best = Path(found) if found else None
    newest = newest_checkpoint(job.run, whole=not job.settings.save_only_model)
    result = SftResult(
        output_dir=job.run,
        checkpoint=best or newest if job.settings.load_best_model_at_end else newest,
        steps=trainer.state.global_step,
        loss=metrics.latest.get("loss"),
        stopped=wish.signal.name if wish.signal else None,
        metrics=metrics.latest,
        best=best,
    )
    _say_the_end(job, result, trainer.state.best_metric)
    return result


def _beside(job: Job, file: Path, *, writes: bool) -> list[TrainerCallback]:
    """The callbacks that a run may need; the user's own are the last."""
    from toolgrove.train.callbacks import Loaded
    from toolgrove.train.early_stop import EarlyStop
    from toolgrove.train.loggers import TENSORBOARD, tensorboard
    from toolgrove.train.plugged import SaveWhenStopped

    asked: list[TrainerCallback] = [] if job.loaded is None else [Loaded(job.loaded)]
    if job.settings.early_stop_interval:
        best = job.settings.best or Best.of("loss")
        asked.append(EarlyStop(file, job.settings.early_stop_interval, best))
    if TENSORBOARD in job.settings.report_to:
        asked.append(tensorboard(job.run, job.after, writes=writes))
    last = [SaveWhenStopped()] if job.callbacks and job.settings.save_strategy != "no" else []
    return [*asked, *job.callbacks, *last]


def _say_the_end(job: Job, result: SftResult, value: float | None) -> None:
    best = job.settings.best
    if result.best is not None and best is not None:
        job.console.print(f"best: {best.name} {value:.4f}, {result.best}", soft_wrap=True)
    if result.stopped is None:
        job.console.print(
            f"done: {result.steps} steps, {result.checkpoint or job.run}", soft_wrap=True
        )
    elif result.checkpoint is None:
        job.console.print(f"{result.stopped} after step {result.steps}; nothing was saved")
    else:
        again = f"toolgrove {job.command} -c {job.run / RECIPE} --resume true"
        job.console.print(
            f"{result.stopped} after step {result.steps}; saved {result.checkpoint}\n"
            f"to go on: {again}",
            soft_wrap=True,
        )


def _trainer(job: Job, data: Data, placement: Placement) -> SftTrainer:
    from transformers import PrinterCallback

    from toolgrove.models.head import attention_of, layers_of
    from toolgrove.models.quiet import quiet_transformers
    from toolgrove.models.training_state import is_adalora
    from toolgrove.train.adalora import RankSteps, penalty
    from toolgrove.train.arguments import Spread, training_arguments
    from toolgrove.train.average import add_average
    from toolgrove.train.going_on import refuse_other_tuning
    from toolgrove.train.model import model_to_train
    from toolgrove.train.optimizer import lora_plus
    from toolgrove.train.source import by_kind
    from toolgrove.train.trainer import SftTrainer
    from toolgrove.train.watching import Watching

    settings = job.settings
    parallel = parallel_of(settings)
    if job.head is not None and (parallel.kind is not Kind.DDP):
        raise ConfigError(
            f"parallel: {parallel.kind} cannot go with a scoring head", hint="--parallel ddp"
        )
    tuned = model_to_train(settings, job.folder, placement, job.tokens, job.head)
    if job.resume is not None:
        refuse_other_tuning(tuned, job.resume)
    model = _loss(job, tuned, placement)
    model.in_step = parallel.stage == 3
    own_attention = attention_of(tuned.model)
    fed = _feed(job, model, data)
    if job.kinds is not None:
        fed = by_kind(fed, job.kinds)
    with quiet_transformers():
        parts, attention = settings.sequence_parallel_size, attention_of(tuned.model)
        spread = Spread(parallel, layers_of(tuned.model), fed.accumulation, parts, attention)
        args = training_arguments(
            settings, job.run, placement, spread, validate=fed.val is not None
        )
        trainer = SftTrainer(model, args, fed.train, fed.val)
    trainer.remove_callback(PrinterCallback)
    trainer.tokenizer_folder = job.texts
    trainer.tuned = tuned
    trainer.watching = Watching(job.watchers, job.run, own_attention)
    trainer.parts = settings.sequence_parallel_size
    if is_adalora(tuned.model):
        trainer.penalty = partial(penalty, tuned.model)
        trainer.add_callback(RankSteps(tuned.model))
    if settings.lorap_lr_ratio:
        ratio = settings.lorap_lr_ratio
        trainer.make_optimizer = lambda: lora_plus(tuned.model, args, ratio)
    if settings.ema_decay:
        add_average(trainer, tuned.model, settings.ema_decay)
    if job.resume is not None:
        trainer.load_before_sharding(job.resume)
    return trainer


def _loss(job: Job, tuned: Tuned, placement: Placement) -> Loss:
    from toolgrove.train.loss import WeightedLoss
    from toolgrove.train.objectives import objective
    from toolgrove.train.scored import ScoredLoss

    if job.head is None:
        return WeightedLoss(tuned.model, placement.dtype)
    pairs = job.head.task == "reward"
    center = getattr(job.settings, "center_rewards_coefficient", 0.0) if pairs else None
    return ScoredLoss(tuned.model, placement.dtype, objective(job.head.problem, center))


def _feed(job: Job, model: Loss, data: Data) -> Feed:
    from toolgrove.train.batches import Share
    from toolgrove.train.source import feed
    from toolgrove.train.stream_source import stream_feed

    if data.streamed is None:
        return feed(job.settings, model, (data.train, data.val), ranks(), job.run)
    share = Share(rank(), ranks())
    return stream_feed(job.settings, model, (data.streamed, data.val), share, job.resume)


def _write_dialect(settings: SftSettings, dialect: Dialect, run: Path) -> None:
    """Writes the dialect; a resumed run must speak the one it began with."""
    told = spoken(dialect)
    file = run / DIALECT
    if file.is_file() and (settings.resume or settings.resume_from_checkpoint):
        before = json.loads(file.read_text(encoding="utf-8"))
        if before.get("fingerprint") != told["fingerprint"]:
            raise ConfigError(
                "the run began in another dialect"
                f" ({before.get('chat_template')}, {before.get('agent_template')})",
                where=str(file),
                hint=f"go on with its own recipe: -c {run / RECIPE} --resume true",
            )
    file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_run(job: Job, resolved: Mapping[str, Any]) -> Job:
    """Writes tokenizer and recipe, with what was resolved only now.

    A run that goes on keeps the recipe that it began with until its checkpoint is loaded: what
    does not fit it is refused, and the old recipe is then the way to go on. Then the
    job that is returned writes the new one.
    """
    from toolgrove.config.settings import dump_recipe
    from toolgrove.models.merge import copy_tokenizer

    copy_tokenizer(job.texts, job.run)
    again = {
        "resume": False,
        "resume_from_checkpoint": None,
        "output_dir": str(job.run.parent if job.settings.add_version else job.run),
        **resolved,
    }
    write = partial(dump_recipe, job.settings.model_copy(update=again), job.run / RECIPE)
    if job.resume is not None:
        return replace(job, loaded=write)
    write()
    return job
