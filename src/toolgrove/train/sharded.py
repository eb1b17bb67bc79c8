"""Weights and optimizer of a model that is spread over processes, as one process has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def whole_weights(model: Any, *, trained_only: bool) -> dict[str, Tensor]:
    """The weights of a model under FSDP2 by their names, on the CPU of the first process.

    All processes must call this; the others get nothing. ``trained_only`` leaves out frozen ones.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(
        full_state_dict=True, cpu_offload=True, ignore_frozen_params=trained_only
    )
    held: Any = get_model_state_dict(model, options=options)
    return held


def zero3_weights(engine: Any, *, trained_only: bool) -> dict[str, Tensor] | None:
    """As ``whole_weights``, of a DeepSpeed engine that shares out weights."""
    return engine._zero3_consolidated_16bit_state_dict(exclude_frozen_parameters=trained_only)


def save_optimizer(optimizer: Optimizer, file: Path, *, writes: bool) -> None:
    """Writes the state of an optimizer under FSDP2 as that of one process.

    All processes must call this; the one that ``writes`` does. A weight is gathered at a time.
    """
    held = optimizer.state_dict()
    state: dict[Any, dict[str, Any]] = {}
    for number, values in held["state"].items():
        whole = {name: _whole(value) for name, value in values.items()}
        if writes:
            state[number] = whole
    if writes:
        torch.save({**held, "state": state}, file)


def load_optimizer(optimizer: Optimizer, file: Path) -> None:
    """Loads what one process, or ``save_optimizer``, wrote; each process keeps its own part."""
    held = torch.load(file, map_location="cpu", weights_only=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in held["param_groups"] for number in group["params"]]
    of = dict(zip(numbers, weights, strict=True))
    held["state"] = {
        number: {name: _part(value, of[number]) for name, value in values.items()}
        for number, values in held["state"].items()
    }
    optimizer.load_state_dict(held)


def pass_over_frozen(model: Any) -> None:
    """Lets ``load_state_dict`` do without frozen weights, which checkpoints leave out.

    They are those of the base, which was loaded before.
    """
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}

    def forgive(_model: Any, keys: Any) -> None:
        keys.missing_keys[:] = [name for name in keys.missing_keys if name not in frozen]

    model.register_load_state_dict_post_hook(forgive)


def held_weights(model: Any) -> tuple[int, int]:
    """How many of the model's weights this process holds while it waits, of how many in all."""
    from torch.distributed.tensor import DTensor

    here = every = 0
    for weight in model.parameters():
        whole = getattr(weight, "ds_numel", weight.numel())  # DeepSpeed empties what it shares out
        part = getattr(weight, "ds_tensor", weight)
        here += part.to_local().numel() if isinstance(part, DTensor) else part.numel()
        every += whole
    return here, every


def _whole(value: Any) -> Any:
    full = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full.cpu() if isinstance(full, Tensor) else full


def _part(value: Any, weight: Any) -> Any:
    """The part of an optimizer's value that belongs to this process's part of the weight."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(weight, DTensor) or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    mesh, placements = weight.device_mesh, weight.placements
    # every process has read the file: nothing is sent
    return distribute_tensor(value, mesh, placements, src_data_rank=None)
