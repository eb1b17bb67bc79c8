"""Tree attention: every token of a forest attends to itself and its ancestors only.

It is registered with transformers under a name; a model that is set to that name is not changed
otherwise. Three ways lead to the same result:

- on a CPU, fused attention over triangles and rectangles whose parts are put together by their
  normalizers: no work is spent on pairs that do not see each other;
- on CUDA, FlexAttention with a block mask (not run by this project's tests, which have no GPU);
- anywhere else, and for what those cannot do (windows shorter than a path, capped scores,
  dropout): node by node, its queries against the keys of its path.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from toolgrove.train.fused import fused_attention
from toolgrove.train.layout import Layout

NAME = "toolgrove_forest"
"""The name under which transformers' attention interface knows tree attention."""


class Demands(NamedTuple):
    """What a layer asks for beside plain attention.

    ``window``: a token sees the last so many tokens of its path, itself included. ``cap``: scores
    are bent to stay below it. ``sinks``: a score for each head that takes part in the softmax
    without a value. ``dropout``: the share of attention that is dropped.
    """

    scale: float
    window: int | None = None
    cap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0


def register() -> None:
    """Makes tree attention known to transformers as ``NAME``.

    No function for masks goes with it, so a model makes none: the forest says who sees whom.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, tree_attention)


def tree_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *_mask: Any, **asked: Any
) -> tuple[Tensor, None]:
    """What transformers calls in each layer; ``forest=Layout`` comes from the model's caller.

    ``query`` is [1, heads, tokens, size]; ``key`` and ``value`` may have fewer heads (grouped
    queries). The result is [1, tokens, heads, size].
    """
    layout: Layout | None = asked.get("forest")
    if layout is None:
        raise RuntimeError("tree attention was called without a forest")
    window = asked.get("sliding_window")
    layout.asked.layers += 1
    layout.asked.window = window or layout.asked.window
    demands = Demands(
        scale=asked.get("scaling") or query.shape[-1] ** -0.5,
        window=window if window and window < layout.longest else None,
        cap=asked.get("softcap"),
        sinks=asked.get("s_aux"),
        dropout=asked.get("dropout", 0.0),
    )
    query, key, value = _as_autocast(query, key, value)
    if query.is_cuda and not demands.dropout:
        return _flex(module, (query, key, value), layout, demands), None
    plain = demands.window is None and demands.cap is None and not demands.dropout
    if plain and _fits_the_kernel(query, value):
        out = fused_attention(query, key, value, demands.sinks, (layout, demands.scale))
        return out, None
    return by_node(query, key, value, layout, demands), None


def by_node(query: Tensor, key: Tensor, value: Tensor, layout: Layout, demands: Demands) -> Tensor:
    """Tree attention node by node, with torch's own operations only."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    positions = layout.positions.to(query.device)
    parts: list[Tensor] = []
    for number, node in enumerate(layout.nodes):
        path = layout.path(number).to(query.device)
        if demands.window:
            path = path[max(0, node.depth - demands.window + 1) :]
        ahead = positions[node.start : node.end, None] - positions[path]
        sees = ahead >= 0
        if demands.window:
            sees &= ahead < demands.window
        own = query[:, :, node.start : node.end]
        parts.append(_attend(own, key[:, :, path], value[:, :, path], sees, demands))
    return torch.cat(parts, 2).transpose(1, 2).contiguous()


def _attend(query: Tensor, key: Tensor, value: Tensor, sees: Tensor, demands: Demands) -> Tensor:
    if demands.cap is None and demands.sinks is None:
        return functional.scaled_dot_product_attention(
            query, key, value, sees, demands.dropout, scale=demands.scale
        )
    scores = (query @ key.transpose(-1, -2)).float() * demands.scale
    if demands.cap is not None:
        scores = torch.tanh(scores / demands.cap) * demands.cap
    scores = scores.masked_fill(~sees, float("-inf"))
    if demands.sinks is not None:
        sinks = demands.sinks.float().view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sinks], -1)
    shares = torch.softmax(scores, -1)[..., : key.shape[-2]]
    shares = functional.dropout(shares, demands.dropout)
    return shares.to(value.dtype) @ value


def _flex(
    module: Any, states: tuple[Tensor, Tensor, Tensor], layout: Layout, demands: Demands
) -> Tensor:
    """FlexAttention with a mask of blocks, as transformers calls it: it skips empty blocks."""
    from transformers.integrations.flex_attention import flex_attention_forward

    out, _ = flex_attention_forward(
        module,
        *states,
        block_mask(layout, demands.window, states[0].device),
        scaling=demands.scale,
        softcap=demands.cap,
        s_aux=demands.sinks,
    )
    return out


def block_mask(layout: Layout, window: int | None, device: torch.device) -> Any:
    """The forest as a mask for FlexAttention; made once for all layers of one kind."""
    from torch.nn.attention.flex_attention import create_block_mask

    if window in layout.masks:
        return layout.masks[window]
    ends, positions = layout.subtree_ends.to(device), layout.positions.to(device)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        ancestor = (key <= query) & (ends[key] > query)
        if window is None:
            return ancestor
        return ancestor & (positions[query] - positions[key] < window)

    mask = create_block_mask(sees, None, None, len(layout), len(layout), device=str(device))
    layout.masks[window] = mask
    return mask


def _fits_the_kernel(query: Tensor, value: Tensor) -> bool:
    known = query.dtype in (torch.float32, torch.bfloat16)
    return query.device.type == "cpu" and known and query.shape[-1] == value.shape[-1]


def _as_autocast(*states: Tensor) -> list[Tensor]:
    """The states in one format: autocast's, where it is on, as it does for torch's attention."""
    kind = states[0].device.type
    dtype = states[-1].dtype
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
    return [state.to(dtype) for state in states]
