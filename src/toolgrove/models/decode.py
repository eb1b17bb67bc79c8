"""One batch of prompts being continued together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from toolgrove.models.growing import GrowingLayer
from toolgrove.models.head import body, logits_of

PREFILL_TOKENS = 2560
"""How many tokens of prompts run at a time: as many as keep a CPU's caches useful."""

_COMPACT_BELOW = 0.75
_SHARED_FROM = 16


class Batch:
    """Prompts of different lengths, padded on the left, with their keys and values in a cache.

    ``rows`` are the caller's numbers of the replies still going on. Padding is masked out and
    positions count real tokens only, so a row's tokens do not depend on its neighbours.
    ``plain_head``: the model's head may be run apart from its body (see ``head_is_plain``).
    """

    def __init__(
        self, model: Any, prompts: Mapping[int, Sequence[int]], *, plain_head: bool = True
    ) -> None:
        self.rows = list(prompts)
        self._model = model
        self._plain_head = plain_head
        self._lines = list(range(len(self.rows)))  # the line of each row in the tensors below
        growable = _is_growable(self._new_cache())
        shared = _shared(list(prompts.values())) if growable else ()
        rests = [prompt[len(shared) :] for prompt in prompts.values()]
        lengths = torch.tensor([[len(prompt)] for prompt in prompts.values()])
        self._position = (lengths - 1).to(model.device)
        parts = _in_parts(rests) if growable else [rests]
        self._cache, self._mask, self._logits = self._prefill(shared, parts)

    def logits(self) -> Tensor:
        """The logits of each row's next token, float32, [rows, vocabulary]."""
        if len(self._lines) == len(self._logits):
            return self._logits
        return self._logits[self._lines]

    def take(self, tokens: Sequence[int], keep: Sequence[bool]) -> None:
        """Appends one token to each row; rows that are not kept leave the batch."""
        following = torch.zeros_like(self._position)
        following[self._lines, 0] = torch.tensor(tokens, device=following.device)
        self.rows = [row for row, kept in zip(self.rows, keep, strict=True) if kept]
        self._lines = [line for line, kept in zip(self._lines, keep, strict=True) if kept]
        if not self.rows:
            return
        self._position = self._position + 1
        self._mask = torch.cat([self._mask, torch.ones_like(following)], dim=1)
        if len(self._lines) <= _COMPACT_BELOW * len(following):
            lines = torch.tensor(self._lines, device=following.device)
            self._cache.batch_select_indices(lines)
            self._position, self._mask = self._position[lines], self._mask[lines]
            following = following[lines]
            self._lines = list(range(len(self.rows)))
        self._logits = self._run(following, self._mask, self._position, self._cache)

    def _prefill(
        self, shared: Sequence[int], parts: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[Any, Tensor, Tensor]:
        """Runs what all prompts begin with once, then their rests, a part of the prompts at a time.

        Each part is padded to its own longest prompt, and to the longest of all only in the cache
        and the mask that are returned, with the logits of each prompt's next token.
        """
        device = self._model.device
        trunk = self._new_cache()
        if shared:
            beginning, mask = _padded([shared], device)
            self._run(beginning, mask, mask.cumsum(-1) - 1, trunk)
        caches: list[Any] = []
        masks: list[Tensor] = []
        logits: list[Tensor] = []
        for rests in parts:
            ids, own = _padded(rests, device)
            mask = functional.pad(own, (len(shared), 0), value=1)
            positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, len(shared) :]
            cache = self._branch(trunk, len(ids)) if shared else self._new_cache()
            logits.append(self._run(ids, mask, positions, cache))
            caches.append(cache)
            masks.append(mask)
        longest = max(mask.shape[1] for mask in masks)
        padded = [functional.pad(mask, (longest - mask.shape[1], 0)) for mask in masks]
        return _joined(caches), torch.cat(padded), torch.cat(logits)

    def _new_cache(self) -> DynamicCache:
        return DynamicCache(config=self._model.config.get_text_config())

    def _branch(self, trunk: DynamicCache, lines: int) -> DynamicCache:
        """A cache in which every line begins with what ``trunk`` holds."""
        cache = self._new_cache()
        layers: Any = trunk.layers
        for number, layer in enumerate(layers):
            keys, values = layer.keys, layer.values
            cache.update(keys.expand(lines, -1, -1, -1), values.expand(lines, -1, -1, -1), number)
        return cache

    def _run(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            "past_key_values": cache,
            "use_cache": True,
        }
        if self._plain_head:
            hidden = body(self._model)(**inputs).last_hidden_state[:, -1].contiguous()
            return logits_of(self._model, hidden)
        return self._model(**inputs, logits_to_keep=1).logits[:, -1].float()


def _in_parts(prompts: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    """The prompts in their order, ``PREFILL_TOKENS`` at a time, padding included."""
    parts: list[Sequence[Sequence[int]]] = []
    start, longest = 0, 0
    for index, prompt in enumerate(prompts):
        longest = max(longest, len(prompt))
        if index > start and (index + 1 - start) * longest > PREFILL_TOKENS:
            parts.append(prompts[start:index])
            start, longest = index, len(prompt)
    return [*parts, prompts[start:]]


def _shared(prompts: Sequence[Sequence[int]]) -> Sequence[int]:
    """What all prompts begin with, if it is long enough to be worth a pass of its own.

    Each prompt keeps at least one token after it.
    """
    first, last = min(prompts, key=list), max(prompts, key=list)
    most = min(len(prompt) for prompt in prompts) - 1
    pairs = zip(first[:most], last[:most], strict=True)
    length = next((at for at, (one, other) in enumerate(pairs) if one != other), most)
    return first[:length] if len(prompts) > 1 and length >= _SHARED_FROM else ()


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, [prompts, longest], padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, longest - len(prompt) :] = torch.tensor(prompt)
        mask[line, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def _is_growable(cache: Any) -> bool:
    """Whether all layers keep plain keys and values of every token."""
    layers = cache.layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def _joined(caches: Sequence[Any]) -> Any:
    """The caches of parts of a batch as one, with room for more tokens."""
    if not _is_growable(caches[0]):
        return caches[0]
    layers: list[Any] = []
    for parts in zip(*(cache.layers for cache in caches), strict=True):
        layers.append(GrowingLayer([p.keys for p in parts], [p.values for p in parts]))
        for part in parts:
            part.reset()
    return Cache(layers=layers)
