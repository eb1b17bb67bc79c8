"""The weighted cross-entropy of a model on its trained positions only."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

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
        self._whole = not self._head_is_plain()
        if self._whole:
            logger.warning(
                "%s does more than project in its head: computing all logits",
                type(_causal(model)).__name__,
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
            hidden = _body(self.model)(input_ids=input_ids, use_cache=False).last_hidden_state
            if not len(targets):
                return hidden.float().sum() * 0.0
            return self._chunked(hidden[:, :-1][rows, columns], targets, scale)

    def _chunked(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        size = max(1, LOGITS_AT_ONCE // int(_text_config(self.model).vocab_size))
        if len(targets) <= size:
            return self._of_chunk(hidden, targets, scale)
        parts = [
            checkpoint(self._of_chunk, *part, use_reentrant=False)
            for part in zip(hidden.split(size), targets.split(size), scale.split(size), strict=True)
        ]
        return torch.stack(parts).sum()  # pyright: ignore

    def _of_chunk(self, hidden: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
        return _sum_of_losses(self._logits(hidden), targets, scale)

    def _logits(self, hidden: Tensor) -> Tensor:
        """The head on hidden states, with the scalings that some families declare."""
        logits = _causal(self.model).get_output_embeddings()(hidden).float()
        config = _text_config(self.model)
        divisor = getattr(config, "logits_scaling", None)
        if divisor:
            logits = logits / divisor
        factor = getattr(config, "logit_scale", None)
        if factor:
            logits = logits * factor
        cap = getattr(config, "final_logit_softcapping", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        return logits

    def _head_is_plain(self) -> bool:
        """Whether body and head, run apart, give what the model itself gives."""
        training = self.model.training
        self.model.eval()
        ids = torch.arange(8, device=self.model.device).unsqueeze(0)
        with torch.no_grad(), self._autocast(ids.device):
            try:
                body = _body(self.model)(input_ids=ids, use_cache=False).last_hidden_state
                ours = self._logits(body)
            except (AttributeError, TypeError, RuntimeError):
                return False
            finally:
                self.model.train(training)
            theirs = self.model(input_ids=ids, use_cache=False).logits.float()
        self.model.train(training)
        return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-2, atol=1e-2)

    def _autocast(self, device: torch.device) -> torch.autocast:
        enabled = self._dtype != torch.float32
        return torch.autocast(device.type, dtype=self._dtype, enabled=enabled)

    def _let_autocast_choose(self) -> None:
        """Adapters in float32 would drag their inputs to float32; autocast casts the other way."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        if self._dtype == torch.float32:
            return
        for module in self.model.modules():
            if isinstance(module, BaseTunerLayer):
                module.cast_input_dtype_enabled = False


def _sum_of_losses(logits: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * scale.float()).sum()


def _causal(model: Any) -> Any:
    """The transformers model inside adapters, if there are any."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _body(model: Any) -> Any:
    """The part of the model that ends in hidden states."""
    return _causal(model).base_model


def _text_config(model: Any) -> Any:
    return _causal(model).config.get_text_config()
