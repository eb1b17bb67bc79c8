"""Keys and values of prompts that were run, kept for prompts that begin alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

_WORTH_IT = 16


class Layer(NamedTuple):
    """Keys and values of one layer, [1, heads, tokens, size]."""

    keys: Tensor
    values: Tensor


class Prefix(NamedTuple):
    """The first ``length`` tokens of a prompt, run already, in every layer."""

    length: int
    layers: tuple[Layer, ...] = ()


class PrefixCache:
    """Prompts and what the model made of them, those used last kept within a limit of bytes.

    ``owner`` tells prompts apart that different adapters ran: they never share anything.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[tuple[str | None, tuple[int, ...]], tuple[Layer, ...]] = (
            OrderedDict()
        )
        self.bytes = 0

    def find(self, owner: str | None, prompt: Sequence[int]) -> Prefix:
        """The longest beginning of the prompt that is kept; at least one token stays after it."""
        best, most = None, _WORTH_IT - 1
        for key in self._kept:
            shared = _shared(key[1], prompt) if key[0] == owner else 0
            if shared > most:
                best, most = key, shared
        if best is None:
            return Prefix(0)
        self._kept.move_to_end(best)
        layers = tuple(
            Layer(layer.keys[..., :most, :], layer.values[..., :most, :])
            for layer in self._kept[best]
        )
        return Prefix(most, layers)

    def keep(self, owner: str | None, prompt: Sequence[int], layers: Sequence[Layer]) -> None:
        """Keeps a prompt; one that it goes on from, or the same, is no longer needed."""
        ids = tuple(prompt)
        for key in [k for k in self._kept if k[0] == owner and ids[: len(k[1])] == k[1]]:
            self._drop(key)
        self._kept[(owner, ids)] = tuple(layers)
        self.bytes += _size(layers)
        while self.bytes > self._limit and self._kept:
            self._drop(next(iter(self._kept)))

    def forget(self, owner: str | None) -> None:
        """Drops what an adapter ran, which is about to change or go."""
        for key in [key for key in self._kept if key[0] == owner]:
            self._drop(key)

    def _drop(self, key: tuple[str | None, tuple[int, ...]]) -> None:
        self.bytes -= _size(self._kept.pop(key))


def _size(layers: Sequence[Layer]) -> int:
    return sum(t.numel() * t.element_size() for layer in layers for t in layer)


def _shared(kept: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens both begin with, the prompt's last one left out."""
    most = min(len(kept), len(prompt) - 1)
    for at in range(most):
        if kept[at] != prompt[at]:
            return at
    return most
