"""The weighted cross-entropy of a model on its trained positions only."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from toolgrove.models.head import body, causal, head_is_plain, logits_of, vocabulary

logger = logging.getLogger(__name__)

LOGITS_AT_ONCE = 1 << 25
"""How many logits are in memory at a time (128 MB in float32)."""


class WeightedLoss(nn.Module):
    """A causal language model that maps a padded batch to the sum of weight times cross-entropy.

    The model's body runs on all tokens, its head only on positions whose next token weighs more
    than 0, a chunk at a time and in float32. Rows are padded on the right: since each position
    sees earlier ones only, no mask is needed. Law: value and gradients equal those of the full
    logits. A model whose head does more than a projection and the scalings known here runs with
    full logits, said once in the log.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model
        self._dtype = dtype
        self._let_autocast_choose()
        with self._autocast(model.device):
            self._whole = not head_is_plain(model)
        if self._whole:
            logger.warning(
                "%s does more than project in its head: computing all logits",
                type(causal(model)).__name__,
            )

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    def forward(self, input_ids: Tensor, weights: Tensor) -> Tensor:
        """The sum over all tokens t > 0 of weights[t] * -log p(input_ids[t] | what is before).

        ``input_ids`` and ``weights`` are [rows, tokens]; the result is a float32 scalar.
        """
        following = weights[:, 1:]
        rows, columns = (following > 0).nonzero(as_tuple=True)
        targets, scale = input_ids[:, 1:][rows, columns], following[rows, columns]
        with self._autocast(input_ids.device):
            if self._whole:
                logits = self.model(input_ids=input_ids, use_cache=False).logits
                return _sum_of_losses(logits[:, :-1][rows, columns], targets, scale)
            hidden = body(self.model)(input_ids=input_ids, use_cache=False).last_hidden_state
            if not len(targets):
                return hidden.float().sum() * 0.0
            return self._chunked(hidden[:, :-1][rows, columns], targets, scale)

    def _chunked(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        size = max(1, LOGITS_AT_ONCE // vocabulary(self.model))
        if len(targets) <= size:
            return self._of_chunk(hidden, targets, scale)
        parts = [
            checkpoint(self._of_chunk, *part, use_reentrant=False)
            for part in zip(hidden.split(size), targets.split(size), scale.split(size), strict=True)
        ]
        return torch.stack(parts).sum()  # pyright: ignore

    def _of_chunk(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        return _sum_of_losses(logits_of(self.model, hidden), targets, scale)

    def _autocast(self, device: torch.device) -> torch.autocast:
        enabled = self._dtype != torch.float32
        return torch.autocast(device.type, dtype=self._dtype, enabled=enabled)

    def _let_autocast_choose(self) -> None:
        """Adapters in float32 would drag their inputs to float32; autocast casts the other way."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        if self._dtype == torch.float32:
            return
        layers: list[Any] = [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.cast_input_dtype_enabled = False


def _sum_of_losses(logits: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * scale.float()).sum()
