"""Replies being continued together, which join and leave while the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer

from toolgrove.models.head import body, logits_of
from toolgrove.models.prefixes import Layer, Prefix

_ROOM = 64


class Prompt:
    """A prompt on its way through the model, a part at a time."""

    def __init__(self, model: Any, ids: Sequence[int], prefix: Prefix, plain_head: bool) -> None:
        self._model, self._ids, self._plain_head = model, ids, plain_head
        self._done = prefix.length
        self.cache: Any = DynamicCache(config=model.config.get_text_config())
        self.logits: Tensor | None = None
        for number, layer in enumerate(prefix.layers):
            self.cache.update(layer.keys, layer.values, number)

    @property
    def left(self) -> int:
        """How many tokens have not run yet."""
        return len(self._ids) - self._done

    @property
    def shareable(self) -> bool:
        """Whether every layer keeps plain keys and values of every token, so that rows can join."""
        layers = self.cache.layers
        return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The keys and values so far."""
        return tuple(Layer(layer.keys, layer.values) for layer in self.cache.layers)

    def run(self, count: int) -> bool:
        """Runs up to ``count`` more tokens; True when the prompt is through and has logits."""
        part = self._ids[self._done : self._done + count]
        device = self._model.device
        ids = torch.tensor([part], device=device)
        positions = torch.arange(self._done, self._done + len(part), device=device).unsqueeze(0)
        self._done += len(part)
        mask = torch.ones(1, self._done, dtype=torch.long, device=device)
        self.logits = run(self._model, self._plain_head, (ids, mask, positions), self.cache)
        return self._done == len(self._ids)


class Flow:
    """Rows of one model being continued together, padded on the left.

    ``rows`` are the caller's numbers. Padding is masked and positions count real tokens, so that
    a row's tokens do not depend on its neighbours. Rows of models whose layers keep other things
    than plain keys and values cannot be put together: they run one after the other.
    """

    def __init__(self, model: Any, plain_head: bool) -> None:
        self._model, self._plain_head = model, plain_head
        self._layers: list[_Slots] = []
        self._lengths: list[int] = []
        self._logits: dict[int, Tensor] = {}
        self._together: list[int] = []
        self._alone: dict[int, tuple[Any, int]] = {}

    @property
    def rows(self) -> list[int]:
        """The rows that are going on, those that run together first."""
        return [*self._together, *self._alone]

    def join(self, row: int, prompt: Prompt, length: int) -> None:
        """Takes in a row whose prompt of ``length`` tokens is through."""
        if prompt.logits is None:
            raise ValueError("the prompt is not through yet")
        self._logits[row] = prompt.logits[0]
        if not prompt.shareable:
            self._alone[row] = (prompt.cache, length)
            return
        if not self._layers:
            self._layers = [_Slots(layer) for layer in prompt.layers]
        else:
            for slots, layer in zip(self._layers, prompt.layers, strict=True):
                slots.add(layer)
        self._together.append(row)
        self._lengths.append(length)

    def logits(self) -> Tensor:
        """The logits of each row's next token, float32, [rows, vocabulary]."""
        return torch.stack([self._logits[row] for row in self.rows])

    @torch.inference_mode()
    def leave(self, row: int) -> None:
        """Forgets a row."""
        self._logits.pop(row, None)
        self._alone.pop(row, None)
        if row not in self._together:
            return
        line = self._together.index(row)
        self._together[line] = self._together[-1]
        self._lengths[line] = self._lengths[-1]
        self._together.pop()
        self._lengths.pop()
        longest = max(self._lengths, default=0)
        for slots in self._layers:
            slots.remove(line, longest)
        if not self._together:
            self._layers = []

    def take(self, tokens: Sequence[int]) -> None:
        """Appends one token to each of ``rows`` and runs them."""
        chosen = dict(zip(self.rows, tokens, strict=True))
        for row, (cache, length) in list(self._alone.items()):
            self._alone[row] = (cache, length + 1)
            self._logits[row] = self._run([chosen[row]], [length], length + 1, cache)[0]
        if not self._together:
            return
        self._lengths = [length + 1 for length in self._lengths]
        width = self._layers[0].length + 1
        positions = [length - 1 for length in self._lengths]
        cache = Cache(layers=list(self._layers))
        ids = [chosen[row] for row in self._together]
        logits = self._run(ids, positions, width, cache)
        self._logits.update(zip(self._together, logits, strict=True))

    def _run(self, ids: Sequence[int], positions: Sequence[int], width: int, cache: Any) -> Tensor:
        device = self._model.device
        places = torch.tensor(positions, device=device).unsqueeze(1)
        mask = (torch.arange(width, device=device) >= width - 1 - places).long()
        given = torch.tensor(ids, device=device).unsqueeze(1)
        return run(self._model, self._plain_head, (given, mask, places), cache)


class _Slots(CacheLayerMixin):
    """Keys and values of one layer for the rows that run together, with room for more tokens and
    more rows; each row's last token stands in the last column."""

    is_sliding = False

    def __init__(self, first: Layer) -> None:
        super().__init__()
        self.lines, self.length = 1, first.keys.shape[-2]
        self._stores = [functional.pad(t, (0, 0, 0, _ROOM)).contiguous() for t in first]
        self.dtype, self.device = first.keys.dtype, first.keys.device
        self.is_initialized = True
        self._show()

    def add(self, layer: Layer) -> None:
        """One more row, padded on the left to the others' length, or they to its."""
        tokens = layer.keys.shape[-2]
        if tokens > self.length:
            before = (0, 0, tokens - self.length, 0)
            self._stores = [functional.pad(store, before) for store in self._stores]
            self.length = tokens
        if self.lines == len(self._stores[0]):
            more = (0, 0, 0, 0, 0, 0, 0, self.lines)
            self._stores = [functional.pad(store, more) for store in self._stores]
        for store, new in zip(self._stores, layer, strict=True):
            store[self.lines, :, self.length - tokens : self.length] = new[0]
        self.lines += 1
        self._show()

    def remove(self, line: int, longest: int) -> None:
        """The last row takes this one's place; columns that only padding is left in may go."""
        self.lines -= 1
        for store in self._stores:
            if line != self.lines:
                store[line] = store[self.lines]
        if self.lines and longest * 2 < self.length:
            unused = self.length - longest
            self._stores = [store[: self.lines, :, unused:].clone() for store in self._stores]
            self.length = longest
        self._show()

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the layer begins with keys and values."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Adds the keys and values of one new token for each row; returns those of all."""
        end = self.length + key_states.shape[-2]
        if end > self._stores[0].shape[-2]:
            self._stores = [functional.pad(store, (0, 0, 0, _ROOM)) for store in self._stores]
        for store, new in zip(self._stores, (key_states, value_states), strict=True):
            store[: self.lines, :, self.length : end] = new
        self.length = end
        return self._show()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys new queries see, and the number of the first."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """How many tokens there are."""
        return self.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (s[: self.lines, :, : self.length] for s in self._stores)
        return self.keys, self.values


def run(model: Any, plain_head: bool, given: tuple[Tensor, Tensor, Tensor], cache: Any) -> Tensor:
    """The logits behind the last of the tokens, float32, [rows, vocabulary].

    ``given``: ids, attention mask, positions. ``plain_head``: the head may be run apart from the
    body (``head_is_plain``).
    """
    names = ("input_ids", "attention_mask", "position_ids")
    inputs: dict[str, Any] = dict(zip(names, given, strict=True))
    inputs |= {"past_key_values": cache, "use_cache": True}
    if plain_head:
        hidden = body(model)(**inputs).last_hidden_state[:, -1].contiguous()
        return logits_of(model, hidden)
    return model(**inputs, logits_to_keep=1).logits[:, -1].float()
