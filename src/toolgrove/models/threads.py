"""How many threads torch uses, how they wait for each other, and what their memory lies in."""

from __future__ import annotations

import os
import sys

_BEFORE_TORCH = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare_torch() -> bool:
    """Makes OpenMP's idle threads sleep instead of spin, and torch ask for large pages of memory;
    returns whether that still has an effect.

    Both read their settings once, while torch is being imported: the first thing that a command
    does must be this call. Values that the user has set stay.
    """
    for name, value in _BEFORE_TORCH.items():
        os.environ.setdefault(name, value)
    return "torch" not in sys.modules


def usable_cores() -> int:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_cores(ranks: int = 1) -> int:
    """Gives torch this process's share of the processors; an ``OMP_NUM_THREADS`` of the user stays.

    ``ranks`` is how many training processes share this machine.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // ranks))
    return torch.get_num_threads()
