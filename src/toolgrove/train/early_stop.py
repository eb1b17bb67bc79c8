"""Ends a run whose validations no longer get better."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from toolgrove.train.callbacks import read_metrics
from toolgrove.train.settings import Best

logger = logging.getLogger(__name__)


class EarlyStop(TrainerCallback):
    """Stops after ``patience`` validations in a row that are not better than the best before.

    What was validated is read from the run's metrics file, so a resumed run counts on.
    """

    def __init__(self, file: Path, patience: int, best: Best) -> None:
        self._file = file
        self._patience = patience
        self._best = best
        self.stopped_at: int | None = None

    def on_evaluate(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Counts; tells the trainer to save and stop."""
        lines = read_metrics(self._file)
        key = self._best.key
        found = {line["step"]: line[key] for line in lines if key in line}
        found[state.global_step] = (metrics or {})[key]
        sign = -1 if self._best.greater else 1
        best = min(found, key=lambda step: (sign * found[step], step))
        since = sum(1 for step in found if step > best)
        if since < self._patience:
            return
        self.stopped_at = state.global_step
        control.should_training_stop = True
        control.should_save = True
        if state.is_world_process_zero:
            logger.warning(
                "stopping early: no better validation %s than %.4f (step %d) in %d validations",
                self._best.name,
                found[best],
                best,
                since,
            )
