"""A recipe in the words of transformers' training loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError
from toolgrove.train.settings import TrainSettings

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from toolgrove.models.device import Placement


def training_arguments(
    settings: TrainSettings, run: Path, placement: Placement, accumulation: int, *, validate: bool
) -> TrainingArguments:
    """The arguments of the loop; ConfigError for an optimizer, schedule or logger there is not.

    ``accumulation`` is how many batches each process takes in an optimizer step.
    """
    import torch
    from transformers import TrainingArguments

    try:
        return TrainingArguments(
            output_dir=str(run),
            **_optimization(settings),
            **_rhythm(settings, validate=validate),
            per_device_train_batch_size=settings.per_device_train_batch_size or 1,
            per_device_eval_batch_size=settings.per_device_eval_batch_size,
            gradient_accumulation_steps=accumulation,
            seed=settings.seed,
            data_seed=settings.data_seed,
            dataloader_num_workers=settings.dataloader_num_workers,
            report_to=_reporters(settings),
            fp16=placement.dtype == torch.float16,
            use_cpu=placement.device.type == "cpu",
            use_cache=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise ConfigError(str(error).strip().partition("\n")[0]) from error


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
    every = settings.eval_steps
    return {
        "logging_steps": settings.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": settings.save_strategy,
        "save_steps": settings.save_steps,
        "save_total_limit": settings.save_total_limit,
        "save_only_model": settings.save_only_model,
        "eval_strategy": ("steps" if every else settings.save_strategy) if validate else "no",
        "eval_steps": every or settings.save_steps,
    }


def _reporters(settings: TrainSettings) -> list[str] | str:
    """The loggers by name; ConfigError for one that is not installed."""
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    if settings.report_to in ([], ["none"]):
        return "none"
    here = get_available_reporting_integrations()
    for name in settings.report_to:
        if name not in here:
            raise ConfigError(
                f'report_to: the logger "{name}" is not installed',
                hint=f"pip install {name}; installed: {', '.join(here) or 'none'}",
            )
    return settings.report_to
