"""Which device and which number format a model should run in."""

from __future__ import annotations

import time
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from toolgrove.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

PROBE_SIZE = 512
PROBE_ROUNDS = 3


class DType(StrEnum):
    """The number formats that weights can be computed in; ``auto`` asks the device."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Placement(NamedTuple):
    """A device and the format that computes fastest and soundly on it, with the reason."""

    device: torch.device
    dtype: torch.dtype
    why: str


def best_device() -> torch.device:
    """CUDA (the local rank's card), else Apple's MPS, else the CPU."""
    import os

    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_gpu() -> bool:
    """Whether there is a CUDA device."""
    import torch

    return torch.cuda.is_available()


def place(dtype: DType | str = DType.AUTO, device: torch.device | None = None) -> Placement:
    """The device and format to use: what was asked for, or for ``auto`` what a probe finds best."""
    import torch

    try:
        wanted = DType(dtype)
    except ValueError as error:
        known = ", ".join(DType)
        raise ConfigError(f'unknown torch_dtype "{dtype}"', hint=f"one of: {known}") from error
    device = device or best_device()
    if wanted is not DType.AUTO:
        return Placement(device, getattr(torch, wanted.value), "as asked")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return Placement(device, torch.bfloat16, "this GPU computes bfloat16")
        return Placement(device, torch.float16, "this GPU has no bfloat16")
    if device.type == "mps":
        return Placement(device, torch.bfloat16, "Apple GPUs compute bfloat16")
    return _cpu_placement(device)


def _cpu_placement(device: torch.device) -> Placement:
    import torch

    fast, slow = matmul_seconds("bfloat16"), matmul_seconds("float32")
    ratio = slow / fast
    if ratio > 1.2:
        return Placement(device, torch.bfloat16, f"bfloat16 multiplies {ratio:.1f} times faster")
    return Placement(device, torch.float32, f"bfloat16 is not faster here ({ratio:.1f} times)")


@cache
def matmul_seconds(dtype: str) -> float:
    """CPU seconds of this process for one small square product in the format; the best of three."""
    import torch

    left = torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=getattr(torch, dtype))
    torch.mm(left, left)
    best = float("inf")
    for _ in range(PROBE_ROUNDS):
        start = time.process_time()
        torch.mm(left, left)
        best = min(best, time.process_time() - start)
    return max(best, 1e-6)
