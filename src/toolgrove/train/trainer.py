"""The trainer: transformers' training loop around our loss, batches and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from toolgrove.core.errors import ConfigError, ModelError, did_you_mean
from toolgrove.models.merge import copy_tokenizer
from toolgrove.models.quiet import quiet_transformers
from toolgrove.models.training_state import is_encoded, load_state
from toolgrove.models.tuned import TRAINED, Tuned
from toolgrove.train.average import Average
from toolgrove.train.batches import Share, Source
from toolgrove.train.faults import not_finite
from toolgrove.train.going_on import other_tuning
from toolgrove.train.loss import Loss
from toolgrove.train.sharded import (
    load_optimizer,
    pass_over_frozen,
    save_optimizer,
    whole_weights,
    zero3_weights,
)
from toolgrove.train.stream import StreamSource
from toolgrove.train.watching import Watching

OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"

_OF_THE_LOSS = ("input_ids", "weights", "tree", "channels", "at", "labels", "part")


@dataclass(slots=True)
class Counts:
    """Tokens that the run has seen so far, over all processes."""

    tokens: int = 0
    trained: int = 0
    aside_s: float = 0.0
    """Seconds that validations took, in this process."""


class SftTrainer(Trainer):
    """transformers.Trainer for weighted sequences.

    The loss of an optimizer step is the sum of weight times cross-entropy over the sum of weights
    of all its batches, on all processes. What is replaced of the base class: where batches come
    from, what a batch's loss is, what validation computes, and which files a checkpoint holds:
    those of one process, however the weights are spread (but for DeepSpeed's own state).
    ``make_optimizer`` makes another optimizer than the arguments name. ``parts`` processes share
    a sequence.
    """

    make_optimizer: Callable[[], torch.optim.Optimizer] | None = None

    def __init__(
        self,
        model: Loss,
        args: TrainingArguments,
        train: Source | StreamSource,
        val: Source | None = None,
    ) -> None:
        self.loss_is_scaled_for_ga = True
        super().__init__(
            model=model,
            args=args,
            train_dataset=train.dataset,  # pyright: ignore
            eval_dataset=val and val.dataset,  # pyright: ignore
        )
        self._sources = train, val
        self._notes = model.notes
        self.counts = Counts()
        self.tokenizer_folder: Path | None = None
        self.tuned = Tuned(model.model)
        self.penalty: Callable[[], Tensor] | None = None
        self.average: Average | None = None
        self.pace: Callable[[], dict[str, float]] = dict
        self.parts = 1
        self.watching: Watching | None = None

    def create_accelerator_and_postprocess(self) -> None:
        """Turns FSDP2 on where accelerate leaves it off: it asks for a GPU, torch does not."""
        super().create_accelerator_and_postprocess()
        asked: Any = self.args.fsdp_plugin_args
        if asked is not None and not self.is_fsdp_enabled:
            state: Any = self.accelerator.state
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**asked)
            state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True

    def get_sp_size(self) -> int:
        """1: the base class asks how many times its loader repeats batches, and ours does not."""
        return 1

    def _prepare_for_training(self, *args: Any, **more: Any) -> tuple[Any, Any]:
        """The wrapped model, with our own loader: its batches are parted already."""
        model, loader = super()._prepare_for_training(*args, **more)
        return model, loader.dl if self.parts > 1 else loader

    def training_step(self, *args: Any, **more: Any) -> Tensor:
        """This process's part of the step's loss, as the base class averages it for the log."""
        return super().training_step(*args, **more) * self.parts

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of the run."""
        if self.optimizer is None and self.make_optimizer is not None:
            self.optimizer = self.make_optimizer()
        return super().create_optimizer(model)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches as the source has them; each process takes its own share."""
        return self._loader(self._sources[0], self.parts)

    def _loader(self, source: Source | StreamSource, parts: int = 1) -> DataLoader[Any]:
        return source.loader(
            Share(self.args.process_index // parts, self.args.world_size // parts),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.device.type == "cuda",
        )

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """The sum of weights of an optimizer step; counts its tokens on the way."""
        names = ("weight", "trained", "tokens")
        each = [torch.stack([batch[name] for name in names]).double() for batch in batch_samples]
        sums = torch.stack(each).sum(0)
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums.float().to(device), "sum").double()  # pyright: ignore
        self.counts.trained += int(sums[1])
        self.counts.tokens += int(sums[2])
        return (sums[0] if sums[0] > 0 else torch.ones_like(sums[0])).float().to(device)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """This batch's part of the step's loss; ModelError names the rows when it is not finite."""
        total = model(**_for_model(inputs))
        if not bool(torch.isfinite(total)):
            raise self._not_finite(inputs["rows"])
        # gradients are averaged over the processes, but added up over the parts of a sequence
        loss = total / num_items_in_batch * (self.args.world_size // self.parts)
        if self.penalty is not None:
            loss = loss + self.penalty() / self.current_gradient_accumulation_steps / self.parts
        return (loss, {}) if return_outputs else loss

    def _not_finite(self, rows: Tensor) -> ModelError:
        these = [self._sources[0].sequence(row) for row in rows.tolist()]
        folder = self.tokenizer_folder or Path()
        return not_finite(
            self.state.global_step + 1, these, Path(str(self.args.output_dir)), folder
        )

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: Any = None,  # noqa: ARG002 (the base class passes it)
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """The weighted loss over all validation sequences, and what the watchers see.

        Both of the weights that a checkpoint would hold.
        """
        began = time.perf_counter()
        source: Any = eval_dataset or self._sources[1]
        model: Any = self.model_wrapped
        sums = torch.zeros(2, device=self.args.device)
        model.eval()
        of_training = self._notes.put_aside()
        with torch.no_grad(), self._as_saved():
            for batch in self._loader(source):
                inputs: Any = self._prepare_inputs(batch)
                sums[0] += model(**_for_model(inputs))
                sums[1] += inputs["weight"]
        if self.args.world_size > 1:
            sums: Any = self.accelerator.reduce(sums, "sum")
        metrics = {f"{metric_key_prefix}_loss": float(sums[0] / sums[1])}
        with self._as_saved():
            told = {**self._notes.take(), **self._watched()}
        metrics |= {f"{metric_key_prefix}_{name}": value for name, value in told.items()}
        self._notes.give_back(of_training)
        self.counts.aside_s += time.perf_counter() - began
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _watched(self) -> dict[str, float]:
        if self.watching is None:
            return {}
        share = Share(self.args.process_index, self.args.world_size)
        loss: Any = self.model
        return self.watching.look(loss, share, self.state.global_step)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether this validation is the best so far; its checkpoint is then saved.

        ConfigError where the validation does not tell the metric of the best model.
        """
        key = self.args.metric_for_best_model
        if key is not None and key not in metrics:
            known = [name.removeprefix("eval_") for name in metrics]
            raise ConfigError(
                f'metric_for_best_model: no validation tells "{key.removeprefix("eval_")}"',
                hint=did_you_mean(key.removeprefix("eval_"), known) or f"told: {', '.join(known)}",
            )
        best = super()._determine_best_metric(metrics, trial)
        if best and self.args.save_strategy != "no":
            self.control.should_save = True
        return best

    def _as_saved(self) -> AbstractContextManager[None]:
        """Inside, the model computes what a checkpoint of it would."""
        return nullcontext() if self.average is None else self.average.used()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds what was noted since the line before, and how many tokens were seen."""
        if "loss" in logs:
            logs = {**logs, **self.pace(), **self._notes.take()}
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the adapter, or the whole model, in one piece."""
        trained_only = self.tuned.base is not None
        state: Any = None
        if self.is_fsdp_enabled:
            state = whole_weights(self.model, trained_only=trained_only)
        elif self.is_deepspeed_enabled and _zero_stage(self.deepspeed) == 3:
            state = zero3_weights(self.deepspeed, trained_only=trained_only)
        self._save(output_dir, state)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Under FSDP2, the files of one process; under DeepSpeed, no frozen weights."""
        folder, writes = Path(output_dir), self.args.should_save
        if self.is_fsdp_enabled:
            optimizer: Any = self.optimizer
            save_optimizer(optimizer, folder / OPTIMIZER, writes=writes)
        elif self.is_deepspeed_enabled:
            engine: Any = self.deepspeed
            engine.save_checkpoint(output_dir, exclude_frozen_parameters=True)
        else:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        if writes:
            scheduler: Any = self.lr_scheduler
            torch.save(scheduler.state_dict(), folder / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """What was saved; DeepSpeed has loaded its optimizer by itself."""
        if checkpoint is None or not self.is_fsdp_enabled:
            try:
                super()._load_optimizer_and_scheduler(checkpoint)
            except ValueError as error:  # torch, of groups with other numbers of weights
                raise other_tuning(
                    f"the optimizer's state belongs to other weights: {error}",
                    Path(str(checkpoint)),
                ) from error
            return
        optimizer: Any = self.optimizer
        load_optimizer(optimizer, Path(checkpoint) / OPTIMIZER)
        scheduler: Any = self.lr_scheduler
        scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER, weights_only=True))

    def _prepare_input(self, data: Any) -> Any:
        """The batch on the device. Weights stay what they are, whatever DeepSpeed computes in."""
        if isinstance(data, Tensor):
            return data.to(self.args.device)
        return super()._prepare_input(data)

    def load_before_sharding(self, checkpoint: Path) -> None:
        """Loads what ``_save`` wrote, while the model is still in one piece.

        For FSDP2 only: the others are loaded by the base class, or by DeepSpeed.
        """
        if self.is_fsdp_enabled:
            self._load_weights(checkpoint, self.model)
        elif self.is_deepspeed_enabled:
            pass_over_frozen(self.model)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Writes the adapter, or the whole model, with the tokenizer's files beside it."""
        folder = Path(output_dir or self.args.output_dir or ".")
        if not self.args.should_save:
            return
        if state_dict is not None:
            state_dict = {name.removeprefix("model."): value for name, value in state_dict.items()}
        with quiet_transformers():
            with self._as_saved():
                self.tuned.save(folder, state_dict)
            if self.average is not None:
                self.average.save(folder / TRAINED)
        if self.tokenizer_folder is not None:
            copy_tokenizer(self.tokenizer_folder, folder)
        train = self._sources[0]
        if isinstance(train, StreamSource):
            train.stream.save(folder, self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Loads what ``_save`` wrote into the model inside the loss."""
        if not self.is_fsdp_enabled:
            self._load_weights(Path(resume_from_checkpoint), model or self.model)

    def _load_weights(self, checkpoint: Path, module: Any) -> None:
        inner = module.model
        if hasattr(inner, "peft_config"):
            own = checkpoint / TRAINED
            held = (own / "adapter_config.json").is_file()
            if not is_encoded(inner):
                super()._load_from_checkpoint(str(own if held else checkpoint), inner)
            load_state(inner, own)
            if self.average is not None:
                self.average.load(own)
            return
        missing = set(inner.state_dict()) - set(getattr(inner, "all_tied_weights_keys", None) or {})
        for file in sorted(checkpoint.glob("model*.safetensors")):
            weights = load_file(file)
            inner.load_state_dict(weights, strict=False)
            missing -= set(weights)
        if missing:
            raise ModelError(
                f"the checkpoint lacks {len(missing)} weights, such as {sorted(missing)[0]}",
                where=str(checkpoint),
            )


def _zero_stage(engine: Any) -> int:
    return int(engine.zero_optimization_stage())


def _for_model(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: inputs[name] for name in _OF_THE_LOSS if name in inputs}
