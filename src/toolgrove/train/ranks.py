"""The training processes of a run, as torchrun numbers them."""

from __future__ import annotations

import os
from pathlib import Path

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


def agreed_folder(settings: TrainSettings) -> Path:
    """The run's folder, chosen by the first process for all."""
    if ranks() == 1:
        return run_folder(settings)
    from accelerate import PartialState
    from torch import distributed

    PartialState()  # connects the processes
    chosen = [str(run_folder(settings)) if rank() == 0 else None]
    distributed.broadcast_object_list(chosen, src=0)
    return Path(str(chosen[0]))
