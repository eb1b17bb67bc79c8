"""What a peer's training takes, step by step; for the scripts beside it, with a peer's Python."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


@dataclass
class Step:
    """An optimizer step: its real tokens, padding left out, and what it took."""

    tokens: int = 0
    trained: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    loss: float = 0.0


@dataclass
class Watch(TrainerCallback):
    """Notes the steps of a trainer of transformers; validation is outside of them."""

    steps: list[Step] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    _clock: tuple[float, float] = (0.0, 0.0)

    def on_step_begin(self, *_args: Any, **_: Any) -> None:
        """Starts the step's clocks."""
        self.steps.append(Step())
        self._clock = time.perf_counter(), time.process_time()

    def on_step_end(self, *_args: Any, **_: Any) -> None:
        """Stops them."""
        step = self.steps[-1]
        step.seconds = time.perf_counter() - self._clock[0]
        step.cpu_s = time.process_time() - self._clock[1]

    def on_log(self, *_args: Any, logs: Any = None, **_: Any) -> None:
        """Notes the step's loss."""
        if self.steps and "loss" in (logs or {}):
            self.steps[-1].loss = float(logs["loss"])

    def on_evaluate(self, *_args: Any, metrics: Any, **_: Any) -> None:
        """Notes the loss on the fixed rows."""
        self.validation.append(float(metrics["eval_loss"]))

    def follow(self, trainer: Any) -> None:
        """Counts the tokens of each batch that the trainer computes a loss of."""
        compute = trainer.compute_loss

        def counted(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            if model.training:
                mask = inputs.get("attention_mask")
                real = inputs["input_ids"].numel() if mask is None else int((mask != 0).sum())
                self.steps[-1].tokens += real
                self.steps[-1].trained += int((inputs["labels"] != -100).sum())
            return compute(model, inputs, *more, **named)

        trainer.compute_loss = counted
        trainer.add_callback(self)


def rows_of(file: str) -> list[dict[str, Any]]:
    """Rows of ``input_ids`` and ``labels``, as train.py wrote them."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def tell(watch: Watch, *packages: str) -> None:
    """Prints what was seen, for train.py, as the last line."""
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    found = {
        "steps": [asdict(step) for step in watch.steps],
        "validation": watch.validation,
        "peak_mb": peak,
        "versions": {name: version(name) for name in (*packages, "torch", "transformers", "peft")},
    }
    print("\n" + json.dumps(found))
