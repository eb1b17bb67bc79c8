"""A recipe in the words of transformers' training loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ConfigError
from toolgrove.train.loggers import through_transformers
from toolgrove.train.parallel import Kind, Parallel
from toolgrove.train.settings import TrainSettings

if TYPE_CHECKING:
    from accelerate import ParallelismConfig
    from transformers import TrainingArguments

    from toolgrove.models.device import Placement


class Spread(NamedTuple):
    """How the work is spread: what processes share, which layers FSDP2 takes one at a time, and
    how many batches each process takes in an optimizer step. ``parts``: how many processes share
    a sequence, with which kernel of ``attention``."""

    parallel: Parallel
    layers: Sequence[str]
    accumulation: int
    parts: int = 1
    attention: str = "sdpa"


def training_arguments(
    settings: TrainSettings, run: Path, placement: Placement, spread: Spread, *, validate: bool
) -> TrainingArguments:
    """The arguments of the loop; ConfigError for an optimizer or schedule there is not."""
    import torch
    from transformers import TrainingArguments

    try:
        return TrainingArguments(
            output_dir=str(run),
            **_optimization(settings),
            **_rhythm(settings, validate=validate),
            **_sharing(spread, placement),
            per_device_train_batch_size=settings.per_device_train_batch_size or 1,
            per_device_eval_batch_size=settings.per_device_eval_batch_size,
            gradient_accumulation_steps=spread.accumulation,
            seed=settings.seed,
            data_seed=settings.data_seed,
            dataloader_num_workers=settings.dataloader_num_workers,
            report_to=through_transformers(settings.report_to),
            run_name=settings.run_name,
            fp16=placement.dtype == torch.float16,
            use_cache=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise ConfigError(str(error).strip().partition("\n")[0]) from error


def _sharing(spread: Spread, placement: Placement) -> dict[str, Any]:
    """What the processes share, in transformers' words."""
    import torch

    on_cpu = placement.device.type == "cpu"
    options = dict(spread.parallel.options)
    if spread.parallel.kind is Kind.FSDP:
        layers = {"transformer_layer_cls_to_wrap": list(spread.layers)}
        return {"use_cpu": on_cpu, "fsdp": True, "fsdp_config": layers | options}
    if spread.parallel.kind is Kind.DDP:
        return {"use_cpu": on_cpu}
    if placement.dtype == torch.bfloat16:
        options.setdefault("bf16", {"enabled": True})
    config: dict[str, Any] = {"deepspeed": options}
    if spread.parts > 1:
        config["parallelism_config"] = _by_heads(spread)
    if on_cpu:  # the processes are connected by gloo, which transformers would not ask for
        config["accelerator_config"] = {"use_configured_state": True}
    elif placement.dtype == torch.float16:
        options.setdefault("fp16", {"enabled": "auto"})
    return config


def _by_heads(spread: Spread) -> ParallelismConfig:
    """DeepSpeed's Ulysses: sequences are shared, in attention heads are."""
    from accelerate import ParallelismConfig
    from accelerate.utils import DeepSpeedSequenceParallelConfig

    handler = DeepSpeedSequenceParallelConfig(
        sp_seq_length_is_variable=True, sp_attn_implementation=spread.attention
    )
    return ParallelismConfig(sp_size=spread.parts, sp_backend="deepspeed", sp_handler=handler)


def _optimization(settings: TrainSettings) -> dict[str, Any]:
    return {
        "optim": settings.optim,
        "learning_rate": settings.peak_learning_rate,
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": settings.warmup_ratio,
        "weight_decay": settings.weight_decay,
        "adam_beta1": settings.adam_beta1,
        "adam_beta2": settings.adam_beta2,
        "adam_epsilon": settings.adam_epsilon,
        "max_grad_norm": settings.max_grad_norm,
        "num_train_epochs": settings.num_train_epochs,
        "max_steps": settings.max_steps,
    }


def _rhythm(settings: TrainSettings, *, validate: bool) -> dict[str, Any]:
    """When to log, save and validate."""
    every, best, limit = settings.eval_steps, settings.best, settings.save_total_limit
    if best is not None and limit == 1:
        limit = 2  # with one the loop would delete the newest at its end, and keep the best alone
    return {
        "logging_steps": settings.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": settings.save_strategy,
        "save_steps": settings.save_steps,
        "save_total_limit": limit,
        "metric_for_best_model": best and best.key,
        "greater_is_better": best and best.greater,
        "save_only_model": settings.save_only_model,
        "eval_strategy": ("steps" if every else settings.save_strategy) if validate else "no",
        "eval_steps": every or settings.save_steps,
    }
