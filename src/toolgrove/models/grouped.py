"""Attention of single tokens on a CPU: the queries that share keys are asked together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from toolgrove.models.head import attention_of, causal

NAME = "toolgrove_grouped"
"""The name under which transformers' attention interface knows grouped attention."""


def group_queries(model: Any) -> None:
    """Sets a model that generates on a CPU to ``grouped_attention``, where it was set to sdpa."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    inner = causal(model)
    alone = inner.config.get_text_config() is inner.config
    if alone and inner.device.type == "cpu" and attention_of(inner) == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        inner.set_attn_implementation(NAME)


def grouped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **asked: Any
) -> tuple[Tensor, Any]:
    """transformers' sdpa, faster where each row asks for one token.

    The heads that share keys and values become as many queries of one head: torch's kernel
    multiplies matrices then, not vectors, which in bfloat16 takes a fifth of the time.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows, heads, tokens, size = query.shape
    shared = key.shape[1]
    alike = mask is None or mask.shape[1] == 1
    if tokens > 1 or heads == shared or not alike or asked.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, mask, **asked)
    asked["is_causal"] = False
    folded = query.reshape(rows, shared, heads // shared, size)
    out, weights = sdpa_attention_forward(module, folded, key, value, mask, **asked)
    return out.transpose(1, 2).reshape(rows, 1, heads, -1), weights
