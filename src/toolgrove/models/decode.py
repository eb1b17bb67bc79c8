"""One batch of prompts being continued together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache


class Batch:
    """Prompts of different lengths, padded on the left, with their keys and values in a cache.

    ``rows`` are the caller's numbers of the replies still going on. Padding is masked out and
    positions count real tokens only, so a row's tokens do not depend on its neighbours.
    """

    def __init__(self, model: Any, prompts: Mapping[int, Sequence[int]]) -> None:
        self.rows = list(prompts)
        self._model = model
        self._cache = DynamicCache(config=model.config.get_text_config())
        longest = max(len(prompt) for prompt in prompts.values())
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for line, prompt in enumerate(prompts.values()):
            ids[line, longest - len(prompt) :] = torch.tensor(prompt)
            mask[line, longest - len(prompt) :] = 1
        self._next = ids.to(model.device)
        self._mask = mask.to(model.device)
        self._positions = (self._mask.cumsum(-1) - 1).clamp_min(0)

    def logits(self) -> torch.Tensor:
        """The logits of each row's next token, float32, [rows, vocabulary]."""
        whole = bool(self._mask.all()) and self._next.shape[1] > 1
        out = self._model(
            input_ids=self._next,
            attention_mask=None if whole else self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float()

    def take(self, tokens: Sequence[int], keep: Sequence[bool]) -> None:
        """Appends one token to each row; rows that are not kept leave the batch."""
        stay = [line for line, kept in enumerate(keep) if kept]
        position = self._positions[:, -1:] + 1
        following = torch.tensor(tokens, device=self._mask.device).unsqueeze(1)
        mask = torch.cat([self._mask, torch.ones_like(following)], dim=1)
        if len(stay) < len(self.rows):
            self.rows = [self.rows[line] for line in stay]
            if not stay:
                return
            lines = torch.tensor(stay, device=mask.device)
            self._cache.batch_select_indices(lines)
            position, following, mask = position[lines], following[lines], mask[lines]
        self._positions, self._next, self._mask = position, following, mask
