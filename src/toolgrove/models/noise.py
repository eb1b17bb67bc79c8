"""Random noise on a model's embeddings while it is trained (NEFTune, arXiv 2310.05914)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def add_noise(model: Any, alpha: float) -> Any:
    """Adds uniform noise of up to alpha / sqrt(tokens * size) to each embedding in training mode.

    ``model`` is the transformers model, adapters inside or not. Returns the hook's handle.
    """

    def noisy(module: Any, _inputs: Any, embedded: Tensor) -> Tensor:
        if not module.training:
            return embedded
        most = alpha / math.sqrt(embedded.shape[-2] * embedded.shape[-1])
        return embedded + torch.empty_like(embedded).uniform_(-most, most)

    return model.get_input_embeddings().register_forward_hook(noisy)
