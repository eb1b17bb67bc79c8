"""A layer of a cache of keys and values that grows in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

_ROOM = 64


class GrowingLayer(CacheLayerMixin):
    """Keys and values of all tokens so far, [lines, heads, tokens, size], with room for more; they
    begin as parts of the lines, the shorter of which are padded on the left.

    A new token is written into the room instead of copying all that is there.
    """

    is_sliding = False

    def __init__(self, keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        super().__init__()
        self._length = max(part.shape[-2] for part in keys)
        self._key_store = _roomy(keys, self._length + _ROOM)
        self._value_store = _roomy(values, self._length + _ROOM)
        self.dtype, self.device = keys[0].dtype, keys[0].device
        self.is_initialized = True
        self._show()

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the layer begins with keys and values."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds the keys and values of new tokens; returns those of all."""
        end = self._length + key_states.shape[-2]
        if end > self._key_store.shape[-2]:
            self._key_store = _roomy([self._key_store], end + _ROOM)
            self._value_store = _roomy([self._value_store], end + _ROOM)
        self._key_store[..., self._length : end, :] = key_states
        self._value_store[..., self._length : end, :] = value_states
        self._length = end
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these lines only."""
        self._key_store = self._key_store[indices]
        self._value_store = self._value_store[indices]
        self._show()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys new queries see, and the number of the first."""
        return self._length + query_length, 0

    def get_seq_length(self) -> int:
        """How many tokens there are."""
        return self._length

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys = self._key_store[..., : self._length, :]
        self.values = self._value_store[..., : self._length, :]
        return self.keys, self.values


def _roomy(parts: Sequence[Tensor], room: int) -> Tensor:
    """The parts below each other, padded on the left to the longest, in ``room`` for tokens."""
    _, heads, _, size = parts[0].shape
    longest = max(part.shape[-2] for part in parts)
    lines = sum(len(part) for part in parts)
    made = {"dtype": parts[0].dtype, "device": parts[0].device}
    store = torch.zeros(lines, heads, room, size, **made)
    start = 0
    for part in parts:
        store[start : start + len(part), :, longest - part.shape[-2] : longest] = part
        start += len(part)
    return store
