"""Liger's fused kernels for a model's norms, activations and rotations, on CUDA."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from toolgrove.core.errors import ConfigError

_WITHOUT = "leave --use_liger_kernel out"


def refuse_liger(*, on_cuda: bool) -> None:
    """ConfigError where Liger's kernels cannot run."""
    if not on_cuda:
        raise ConfigError(
            "Liger's kernels are written for CUDA, and there is no CUDA device",
            where="use_liger_kernel",
            hint=_WITHOUT,
        )
    if find_spec("liger_kernel") is None:
        raise ConfigError(
            "Liger's kernels are not installed",
            where="use_liger_kernel",
            hint=f"pip install liger-kernel, or {_WITHOUT}",
        )


def use_liger(model: Any) -> None:
    """Replaces what Liger has kernels for inside a fresh model, adapters not yet on it.

    The losses stay ours: they see trained positions only. ConfigError for a model that Liger does
    not know.
    """
    from liger_kernel.transformers.monkey_patch import (  # pyright: ignore
        MODEL_TYPE_TO_APPLY_LIGER_FN as KNOWN,
    )
    from transformers.integrations.liger import apply_liger_kernel

    if model.config.model_type not in KNOWN:
        raise ConfigError(
            f"Liger has no kernels for models of the type {model.config.model_type}",
            where="use_liger_kernel",
            hint=f"{_WITHOUT}; it knows {', '.join(sorted(KNOWN))}",
        )
    apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
