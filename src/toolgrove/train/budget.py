"""A token budget that fits the device's memory, found by trying the costliest batch."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from toolgrove.core.errors import ModelError
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.packs import PackPlan, pack
from toolgrove.train.callbacks import agreed
from toolgrove.train.loss import Loss

logger = logging.getLogger(__name__)

FILE = "budget.json"

_NO_MEMORY = ("can't allocate memory", "out of memory", "bad allocation", "could not allocate")
"""What torch and its libraries say on a CPU, in a RuntimeError."""

Collate = Callable[[Any], dict[str, Any]]


def fitting(loss: Loss, rows: Sequence[Encoded], plan: PackPlan, made: Collate) -> PackPlan:
    """The plan with a budget at which the costliest pack goes through the model and back.

    It is halved until that works on all processes, which is said each time. Weights, gradients and
    random numbers are as before. ModelError where one row alone is too long. What an optimizer
    allocates in the first step is not tried.
    """
    while True:
        costliest = max(pack(rows, plan).packs, key=lambda one: one.cost)
        batch = made([(number, rows[number]) for number in costliest.rows])
        if not agreed(int(not _fits(loss, batch))):
            return plan
        if len(costliest.rows) == 1:
            raise ModelError(
                f"one row of {costliest.tokens} tokens does not fit into the device's memory",
                where=rows[costliest.rows[0]].where,
                hint="lower --max_length, or turn on --gradient_checkpointing true",
            )
        smaller = min(plan.tokens or costliest.tokens, costliest.tokens) // 2
        logger.warning(
            "the memory is full at %d tokens in a batch: trying %d", costliest.tokens, smaller
        )
        plan = replace(plan, tokens=smaller)


def write_budget(file: Path, tokens: int | None) -> None:
    """Keeps the budget for when the run goes on: it decides what comes in which batch."""
    file.write_text(json.dumps({"tokens_per_batch": tokens}) + "\n", encoding="utf-8")


def read_budget(file: Path) -> int | None:
    """The budget that a run began with; ModelError where it began without."""
    if not file.is_file():
        raise ModelError(
            "the run began without auto_budget", where=str(file.parent), hint="leave it out"
        )
    return json.loads(file.read_text(encoding="utf-8"))["tokens_per_batch"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was what was missing."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def _fits(loss: Loss, batch: dict[str, Any]) -> bool:
    device = loss.model.device
    named = ("input_ids", "weights", "tree", "at", "labels")
    inputs = {name: _moved(batch[name], device) for name in named if name in batch}
    training, aside = loss.training, loss.notes.put_aside()
    loss.train()
    try:
        with torch.random.fork_rng():
            loss(**inputs).backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        loss.zero_grad(set_to_none=True)
        loss.notes.give_back(aside)
        loss.train(training)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value
