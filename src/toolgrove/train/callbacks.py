"""What watches a run: the metrics file, the progress display, the wish to stop."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from toolgrove.train.loss import most
from toolgrove.train.settings import Best
from toolgrove.train.sharded import held_weights
from toolgrove.train.trainer import Counts

logger = logging.getLogger(__name__)

TOOL_ACCURACY = "eval_tool_accuracy"
"""What the progress display shows of what watchers saw, beside the metric of the best model."""

_LINE_EVERY_S = 5.0
_PACE = ("tokens", "trained_tokens", "tokens_per_s")


class Loaded(TrainerCallback):
    """Calls when the run begins: the checkpoint that it goes on from, if any, is then loaded."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def on_train_begin(self, *_given: Any, **_more: Any) -> None:
        """Calls."""
        self._then()


class Metrics(TrainerCallback):
    """Appends a line to ``metrics.jsonl`` whenever the trainer logs.

    Training lines hold step, epoch, loss, lr, grad_norm, tokens and trained_tokens (since the
    run began), tokens_per_s (since the line before, validations left out), elapsed_s and what else
    the loss noted (acc, loss_NAME of a channel); validation lines step, epoch, eval_loss, the loss
    of each kind of token and what watchers saw. Only the first process writes.

    A run that goes on ``after`` a step drops the lines behind it once its checkpoint is loaded, and
    counts on from the last one that stays.
    """

    def __init__(self, file: Path, counts: Counts, after: int | None = None) -> None:
        self._file = file
        self._counts = counts
        self._after = after
        self._began = time.perf_counter()
        self._last = (self._began, counts.tokens, counts.aside_s)
        self._before_s = 0.0
        self.latest: dict[str, Any] = {}

    def pace(self) -> dict[str, float]:
        """What every logger is told of the tokens seen; their speed is since it was last asked, the
        time of validations left out."""
        now, tokens, aside = time.perf_counter(), self._counts.tokens, self._counts.aside_s
        then, tokens_then, aside_then = self._last
        self._last = (now, tokens, aside)
        training_s = now - then - (aside - aside_then)
        speed = round((tokens - tokens_then) / max(training_s, 1e-9), 1)
        return dict(zip(_PACE, (tokens, self._counts.trained, speed), strict=True))

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Begins the file, or takes it up again; starts the clock."""
        if self._after is not None:
            self._take_up(self._after, writes=state.is_world_process_zero)
        elif state.is_world_process_zero:
            self._file.write_text("", encoding="utf-8")
        self._began = time.perf_counter()
        self._last = (self._began, self._counts.tokens, self._counts.aside_s)

    def _take_up(self, step: int, *, writes: bool) -> None:
        kept = [line for line in read_metrics(self._file) if line["step"] <= step]
        trained = [line for line in kept if "tokens" in line]
        if trained:
            self._counts.tokens = trained[-1]["tokens"]
            self._counts.trained = trained[-1]["trained_tokens"]
            self._before_s = trained[-1]["elapsed_s"]
        if writes:
            part = self._file.with_suffix(".part")
            text = "".join(json.dumps(line) + "\n" for line in kept)
            part.write_text(text, encoding="utf-8")
            part.replace(self._file)

    def on_log(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Writes the line."""
        logs = logs or {}
        place = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        if "loss" in logs:
            self._write(state, {**place, **self._training_line(logs)})
        elif "eval_loss" in logs:
            self._write(state, {**place, **_beside(logs, ())})

    def _training_line(self, logs: dict[str, float]) -> dict[str, Any]:
        return {
            "loss": logs["loss"],
            "lr": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            **{name: logs[name] for name in _PACE},
            "elapsed_s": round(self._before_s + time.perf_counter() - self._began, 2),
            **_beside(logs, ("loss", "learning_rate", "grad_norm", *_PACE)),
        }

    def _write(self, state: TrainerState, line: dict[str, Any]) -> None:
        self.latest = {**self.latest, **line}
        if state.is_world_process_zero:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _beside(logs: dict[str, float], known: Sequence[str]) -> dict[str, float]:
    return {name: value for name, value in logs.items() if name not in (*known, "epoch", "step")}


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was cut off while being written is left out."""
    if not file.is_file():
        return []
    lines: list[dict[str, Any]] = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            logger.warning("%s: leaving out a line that is not whole", file)
    return lines


class Display(TrainerCallback):
    """Shows loss, speed and the time left on stderr: a bar in a terminal, lines elsewhere."""

    def __init__(self, metrics: Metrics, best: Best | None = None) -> None:
        self._metrics = metrics
        self._best = best
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task: Any = None
        self._began = (0.0, 0)
        self._spoke = 0.0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Opens the bar; says how the weights are spread."""
        self._began = (time.perf_counter(), state.global_step)
        here, every = held_weights(model)
        if state.is_world_process_zero and here < every:
            self._console.print(
                f"each of {args.world_size} processes holds its part of the weights:"
                f" {here:,} of {every:,}"
            )
        if not state.is_world_process_zero or not self._console.is_terminal:
            return
        columns = (BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.description}"), console=self._console)
        self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_log(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Shows where the run stands."""
        if not state.is_world_process_zero or "loss" not in (logs or {}):
            return
        text = self._text(state)
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, description=text)
            return
        now = time.perf_counter()
        if now - self._spoke >= _LINE_EVERY_S or state.global_step >= state.max_steps:
            self._spoke = now
            self._console.print(f"step {state.global_step}/{state.max_steps}  {text}")

    def close(self) -> None:
        """Takes the bar off the terminal's hands, however the run ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _text(self, state: TrainerState) -> str:
        latest = self._metrics.latest
        began, first = self._began
        done = max(state.global_step - first, 1)
        left = (time.perf_counter() - began) / done * (state.max_steps - state.global_step)
        parts = [
            f"loss {latest['loss']:.4f}",
            f"lr {latest['lr']:.2e}",
            f"{latest['tokens_per_s']:,.0f} tokens/s",
            f"{_clock(left)} left",
        ]
        if "eval_loss" in latest:
            parts.insert(1, f"validation {latest['eval_loss']:.4f}")
            shown = dict.fromkeys((TOOL_ACCURACY, self._best.key if self._best else TOOL_ACCURACY))
            told = [key for key in shown if key in latest and key != "eval_loss"]
            parts[2:2] = [f"{_words(key)} {latest[key]:.4f}" for key in told]
        return "  ".join(parts)


def _words(key: str) -> str:
    return key.removeprefix("eval_").replace("_", " ")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def agreed(number: int) -> int:
    """The largest of the processes' numbers."""
    from torch import device, distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return number
    return most(number, device("cuda" if distributed.get_backend() == "nccl" else "cpu"))


class StopWish(TrainerCallback):
    """Ends the run after the current step, with a checkpoint, when the process is asked to stop."""

    def __init__(self, *, save: bool) -> None:
        self._save = save
        self.signal: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM are a wish; a second SIGINT interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        logger.warning("%s: ending after this step", self.signal.name)

    def on_step_end(
        self, _args: TrainingArguments, _state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tells the trainer to save and stop, as soon as any process of the run was asked to."""
        number = agreed(int(self.signal or 0))
        if number:
            self.signal = signal.Signals(number)
            control.should_training_stop = True
            control.should_save = self._save
