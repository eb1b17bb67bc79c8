"""An exponential average of the weights in training, which is what such a run results in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from toolgrove.core.errors import ConfigError, ModelError

FILE = "average.safetensors"


class Average(TrainerCallback):
    """The average of what an adapter trains, in float32.

    It begins as the weights do. Step n (from 1) makes it d * average + (1 - d) * weights, d being
    the smaller of ``decay`` and (1 + n) / (10 + n), so that the first steps do not weigh for long.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self._model = model
        self._decay = decay
        trained = [(name, w) for name, w in model.named_parameters() if w.requires_grad]
        self._weights: dict[str, Tensor] = dict(trained)
        self.values = {name: w.detach().float().clone() for name, w in trained}

    def on_optimizer_step(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Takes the weights after the step in; the trainer counts it only afterwards."""
        step = state.global_step + 1
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self.values[name].lerp_(weight.detach().float(), 1 - decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, the model computes with the average."""
        held = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(held)

    def save(self, folder: Path) -> None:
        """Writes what training goes on from: the adapter as it is trained, and the average."""
        self._model.save_pretrained(str(folder), save_embedding_layers=False)
        save_file(
            {name: value.cpu().contiguous() for name, value in self.values.items()}, folder / FILE
        )

    def load(self, folder: Path) -> None:
        """Goes on from what ``save`` wrote; ModelError where there is no such average."""
        file = folder / FILE
        found = load_file(file) if file.is_file() else {}
        if {n: v.shape for n, v in found.items()} != {n: v.shape for n, v in self.values.items()}:
            raise ModelError(
                "the checkpoint holds no average of these weights",
                where=str(file),
                hint="go on as it was begun: without --ema_decay, and with the same tuner",
            )
        for name, value in found.items():
            self.values[name].copy_(value)

    def _put(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(values[name])


def add_average(trainer: Any, model: Any, decay: float) -> None:
    """Lets the trainer keep, validate and save the average; ConfigError where weights are shared
    out."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise ConfigError(
            "the processes hold no whole weights to average",
            where="ema_decay",
            hint="leave it out, or --parallel ddp",
        )
    trainer.average = Average(model, decay)
    trainer.add_callback(trainer.average)
