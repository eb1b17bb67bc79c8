"""The training processes of a run, as torchrun numbers them."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

from toolgrove.core.errors import ConfigError
from toolgrove.models.threads import usable_cores
from toolgrove.train.parallel import Kind, parallel_of
from toolgrove.train.run import run_folder
from toolgrove.train.settings import TrainSettings


def ranks() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process; the first, 0, writes files and talks."""
    return int(os.environ.get("RANK", "0"))


def local_ranks() -> int:
    """How many of the processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_started() -> bool:
    """Whether this is one of the processes of a run: torchrun and others number them so."""
    return all(name in os.environ for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))


def agreed_folder(settings: TrainSettings) -> Path:
    """The run's folder, chosen by the first process for all."""
    connect(settings)
    if ranks() == 1:
        return run_folder(settings)
    from torch import distributed

    chosen = [str(run_folder(settings)) if rank() == 0 else None]
    distributed.broadcast_object_list(chosen, src=0)
    return Path(str(chosen[0]))


def connect(settings: TrainSettings) -> None:
    """Connects the processes; ConfigError where there are more than the machine has room for."""
    parallel = parallel_of(settings)
    kind = parallel.kind
    _refuse_too_many()
    if ranks() % settings.sequence_parallel_size:
        raise ConfigError(
            f"{ranks()} processes do not go round in groups of {settings.sequence_parallel_size}",
            where="--sequence_parallel_size",
            hint="--nproc_per_node times --nnodes must be a multiple of it",
        )
    if parallel.options.get("cpu_offload"):
        _refuse_without_gpu(settings)
    if not is_started():
        if kind is not Kind.DDP:
            raise ConfigError(
                f"parallel: {settings.parallel or kind.value} needs processes that are numbered",
                hint="run the recipe by toolgrove sft or torchrun, which start them",
            )
        return
    from accelerate import PartialState
    from torch import cuda

    atexit.register(_part)
    if kind is not Kind.DEEPSPEED or cuda.is_available():
        if ranks() > 1:
            PartialState()
        return
    # accelerate asks this variable whether DeepSpeed connects; on a CPU it does so by gloo
    before = os.environ.get("ACCELERATE_USE_DEEPSPEED")
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    try:
        PartialState(backend="gloo")
    finally:
        del os.environ["ACCELERATE_USE_DEEPSPEED"]
        if before is not None:
            os.environ["ACCELERATE_USE_DEEPSPEED"] = before


def _part() -> None:
    """Ends the connection before the process does: its threads, left to exit(), may abort it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _refuse_without_gpu(settings: TrainSettings) -> None:
    from torch import cuda

    if not cuda.is_available():
        raise ConfigError(
            f"parallel: {settings.parallel} moves weights out of a GPU, and there is none",
            hint="--parallel fsdp2",
        )


def _refuse_too_many() -> None:
    count = local_ranks()
    if count == 1:
        return
    from torch import cuda

    if cuda.is_available() and count > cuda.device_count():
        raise ConfigError(
            f"{count} processes, but {cuda.device_count()} GPUs: each needs one of its own",
            where="--nproc_per_node",
            hint=f"--nproc_per_node {cuda.device_count()}, or run it on a larger machine",
        )
    if not cuda.is_available():
        refuse_more_than_cores(count)


def refuse_more_than_cores(count: int) -> None:
    """ConfigError where there are more processes than processors."""
    if count > usable_cores():
        raise ConfigError(
            f"{count} processes, but {usable_cores()} processors",
            where="--nproc_per_node",
            hint=f"--nproc_per_node {usable_cores()}, or run it on a larger machine",
        )
