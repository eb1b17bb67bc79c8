"""The weighted cross-entropy of a model on its trained positions only."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from toolgrove.models.head import body, causal, head_is_plain, logits_of, vocabulary
from toolgrove.train.layout import Layout
from toolgrove.train.notes import Notes

logger = logging.getLogger(__name__)

LOGITS_AT_ONCE = 1 << 25
"""How many logits are in memory at a time (128 MB in float32)."""


class Tree(TypedDict):
    """What a forest needs beside its tokens: where each stands, what is learnt at which place."""

    positions: Tensor
    at: Tensor
    targets: Tensor
    layout: Layout


class Part(TypedDict):
    """What a part of rows needs beside its tokens: which token follows each, where each stands."""

    targets: Tensor
    positions: Tensor


class Loss(nn.Module):
    """A model that maps a batch to a sum of losses; ``notes`` are told beside that."""

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.notes = Notes()
        self.in_step = False
        self._dtype = dtype
        self._let_autocast_choose()

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    def autocast(self, device: torch.device) -> torch.autocast:
        """The surroundings in which the model computes in its format."""
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


class WeightedLoss(Loss):
    """A causal language model that maps a batch to the sum of weight times cross-entropy.

    The model's body runs on all tokens, its head only on positions whose next token weighs more
    than 0, a chunk at a time and in float32. A batch is either rows that are padded on the right
    (since each position sees earlier ones only, no mask is needed), or one forest, for which the
    model must be set to tree attention. Law: value and gradients equal those of the full logits
    of the rows one by one. A model whose head does more than a projection and the scalings known
    here runs with full logits, said once in the log. Processes that gather the head's weights
    each time it runs (ZeRO-3) must be ``in_step``: all cut their work into equally many chunks.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(model, dtype)
        with self.autocast(model.device):
            self._whole = not head_is_plain(model)
        if self._whole:
            logger.warning(
                "%s does more than project in its head: computing all logits",
                type(causal(model)).__name__,
            )

    def forward(
        self,
        input_ids: Tensor,
        weights: Tensor,
        tree: Tree | None = None,
        channels: Mapping[str, Tensor] | None = None,
        part: Part | None = None,
    ) -> Tensor:
        """The sum over what is learnt of weight * -log p(token | what is before); float32.

        Of rows, ``input_ids`` and ``weights`` are [rows, tokens] and a weight belongs to the
        token it stands at. Of a forest, ``input_ids`` is [1, tokens] and ``weights`` goes with
        the targets of the ``tree``. ``channels`` are the weights that are of each channel or kind
        of token, laid out as ``weights`` are: their losses are noted. Of a ``part`` of rows, whose
        other parts are with other processes, a weight belongs to the token that follows.
        """
        more: dict[str, Any] = {"use_cache": False}
        if part is not None:
            more["position_ids"] = part["positions"]
            rows, columns = (weights > 0).nonzero(as_tuple=True)
            targets, scale = part["targets"][rows, columns], weights[rows, columns]
            of_each: Mapping[str, Tensor] = {}
        elif tree is None:
            following = weights[:, 1:]
            rows, columns = (following > 0).nonzero(as_tuple=True)
            targets, scale = input_ids[:, 1:][rows, columns], following[rows, columns]
            of_each = {name: w[:, 1:][rows, columns] for name, w in (channels or {}).items()}
        else:
            columns, targets, scale = tree["at"], tree["targets"], weights
            rows, of_each = torch.zeros_like(columns), channels or {}
            more |= {"position_ids": tree["positions"].unsqueeze(0), "forest": tree["layout"]}
        with self.autocast(input_ids.device):
            if self._whole:
                logits = self.model(input_ids=input_ids, **more).logits
                losses = _losses(logits[rows, columns], targets)
                return self._summed(losses, scale, of_each)
            hidden = body(self.model)(input_ids=input_ids, **more).last_hidden_state
            return self._summed(self._chunked(hidden[rows, columns], targets), scale, of_each)

    def _summed(self, losses: Tensor, scale: Tensor, channels: Mapping[str, Tensor]) -> Tensor:
        for name, weights in channels.items():
            if len(weights):
                of_channel = (losses.detach() * weights).sum()
                self.notes.add(f"loss_{name}", of_channel, weights.sum())
        return (losses * scale.float()).sum()

    def _chunked(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The losses, chunk by chunk. Nothing to learn gives none, and gradients of 0 for all
        weights: processes that share weights expect them of each other."""
        size = max(1, LOGITS_AT_ONCE // vocabulary(self.model))
        count = max(1, -(-len(targets) // size))
        if self.in_step:
            count = most(count, hidden.device)
        if count == 1:
            return self._of_chunk(hidden, targets)
        parts: list[Any] = [
            checkpoint(self._of_chunk, *chunk, use_reentrant=False)
            for chunk in zip(hidden.tensor_split(count), targets.tensor_split(count), strict=True)
        ]
        return torch.cat(parts)

    def _of_chunk(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return _losses(logits_of(self.model, hidden), targets)


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def most(number: int, device: torch.device) -> int:
    """The largest of the processes' numbers."""
    largest = torch.tensor(number, device=device)
    torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    return int(largest)
