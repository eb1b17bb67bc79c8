"""The body of a model with a learnt prompt or prefix before every sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_prompted(model: Any) -> bool:
    """Whether the adapter in use is a learnt prompt or prefix."""
    return hasattr(model, "get_base_model") and model.active_peft_config.is_prompt_learning


PROMPTS = {"PROMPT_TUNING": "prompt", "P_TUNING": "prompt", "PREFIX_TUNING": "prefix"}
"""Adapters that stand before a text and change no weights, by peft's types."""


class Prompted:
    """Runs the body of a model as if the learnt places stood before each row.

    Takes ids, and optionally mask, positions and cache of the real tokens alone; gives hidden
    states of the real tokens alone. Law: these equal those of a forward pass over learnt places and
    tokens together, whether all tokens come at once or bit by bit with a cache.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._body = model.get_base_model().base_model
        self._places = int(model.active_peft_config.num_virtual_tokens)
        self._is_prefix = str(model.active_peft_config.peft_type.value) == "PREFIX_TUNING"

    def __call__(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> Any:
        """The body's output, its ``last_hidden_state`` [rows, tokens, size] of the real tokens."""
        lines, tokens = input_ids.shape
        length = 0 if past_key_values is None else past_key_values.get_seq_length()
        fresh = length == 0
        if position_ids is None:
            behind = max(length - self._places, 0)
            position_ids = torch.arange(behind, behind + tokens, device=input_ids.device)
            position_ids = position_ids.unsqueeze(0).expand(lines, -1)
        inputs: dict[str, Any] = {
            "position_ids": position_ids + self._places,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }
        if attention_mask is not None:
            learnt = attention_mask.new_ones(lines, self._places)
            inputs["attention_mask"] = torch.cat([learnt, attention_mask], dim=1)
        if fresh and self._is_prefix:
            inputs["past_key_values"] = self._with_prefix(past_key_values, lines)
        if not fresh or self._is_prefix:
            return self._body(input_ids=input_ids, **inputs)
        return self._behind_prompt(input_ids, inputs)

    def _behind_prompt(self, input_ids: Tensor, inputs: dict[str, Any]) -> Any:
        lines = len(input_ids)
        embedded = self._body.get_input_embeddings()(input_ids)
        learnt = self._model.get_prompt(batch_size=lines).to(embedded.dtype)
        first = torch.arange(self._places, device=input_ids.device).expand(lines, -1)
        inputs["position_ids"] = torch.cat([first, inputs["position_ids"]], dim=1)
        out = self._body(inputs_embeds=torch.cat([learnt, embedded], dim=1), **inputs)
        out.last_hidden_state = out.last_hidden_state[:, self._places :]
        return out

    def _with_prefix(self, cache: Any, lines: int) -> Any:
        """The cache with the learnt keys and values in it; a new one when there is none."""
        from transformers import DynamicCache

        filled: Any = self._model.get_prompt(batch_size=lines)
        if cache is None:
            cache = DynamicCache(config=self._body.config.get_text_config())
        for number, layer in enumerate(filled.layers):
            cache.update(layer.keys, layer.values, number)
        return cache
