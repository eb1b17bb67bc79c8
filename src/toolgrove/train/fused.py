"""Tree attention on a CPU: torch's fused kernel on triangles and rectangles, put together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolgrove.train.layout import Layout

_forward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, how: tuple[Layout, float]
) -> Tensor:
    """Attention of [1, heads, tokens, size] over a layout, with a scale; [1, tokens, heads, size].

    Each part's result is weighed by its normalizer (the logarithm of the sum of exponentials),
    which makes the whole exact; gradients of the parts follow from the normalizers of the whole.
    The kernel's backward pass runs in float32: in bfloat16 it is several times slower on short
    nodes and no faster on long ones.
    """
    return _Fused.apply(how, query, key, value, sinks)  # pyright: ignore


class _Fused(torch.autograd.Function):
    """Queries are folded to [key heads, tokens, group, size]: the groups of a stretch of tokens
    are then simply more queries for the same keys."""

    @staticmethod
    def forward(ctx: Any, how: tuple[Layout, float], *states: Any) -> Tensor:
        query, key, value, sinks = states
        layout, scale = how
        folded = _fold(query.transpose(1, 2), key.shape[1])
        out, norm = _compute(folded, key, value, layout, scale)
        if sinks is not None:
            whole = torch.logaddexp(norm, _of_heads(sinks, norm))
            out *= torch.exp(norm - whole).unsqueeze(-1)
            norm = whole
        kept = out.to(query.dtype)
        ctx.save_for_backward(folded, key, value, kept, norm, sinks)
        ctx.how = how
        return _unfold(kept)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        folded, key, value, out, norm, sinks = ctx.saved_tensors
        grad = _fold(gradients[0], key.shape[1]).float()
        states = [state.float() for state in (folded, key, value, out)]
        grads = _gradients(grad, states, norm, *ctx.how)
        of_query, of_key, of_value = (part.to(key.dtype) for part in grads)
        of_sinks = None
        if sinks is not None:
            share = torch.exp(_of_heads(sinks, norm) - norm)
            of_sinks = -(share * (grad * states[3]).sum(-1)).sum(1).flatten().to(sinks.dtype)
        return None, _unfold(of_query).transpose(1, 2), of_key, of_value, of_sinks


def _compute(
    folded: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float
) -> tuple[Tensor, Tensor]:
    """The attention in float32, folded, and its normalizers [key heads, tokens, group]."""
    groups = folded.shape[2]
    out = torch.empty(folded.shape, dtype=torch.float32)
    norm = torch.empty(folded.shape[:3], dtype=torch.float32)
    for start, end in layout.triangles:
        keys, values = (state[:, :, start:end].expand(groups, -1, -1, -1) for state in (key, value))
        part, own = _forward(_by_group(folded, start, end), keys, values, 0.0, True, scale=scale)
        out[:, start:end] = part.permute(1, 2, 0, 3)
        norm[:, start:end] = own.permute(1, 2, 0)
    for start, end, first, last in layout.rectangles:
        keys, values = key[:, :, first:last], value[:, :, first:last]
        part, own = _forward(_flat(folded, start, end), keys, values, 0.0, False, scale=scale)
        before, own = norm[:, start:end], own.view(-1, end - start, groups)
        share = torch.sigmoid(own - before).unsqueeze(-1)
        out[:, start:end].lerp_(part.view(out[:, start:end].shape).float(), share)
        before.copy_(torch.logaddexp(before, own))
    return out, norm


def _gradients(
    grad: Tensor, states: list[Tensor], norm: Tensor, layout: Layout, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for the folded queries, the keys and the values, all in float32."""
    folded, key, value, out = states
    groups = folded.shape[2]
    of_query, of_key, of_value = (torch.empty_like(state) for state in (folded, key, value))
    for start, end in layout.triangles:
        keys, values = (state[:, :, start:end].expand(groups, -1, -1, -1) for state in (key, value))
        d, q, o = (_by_group(state, start, end) for state in (grad, folded, out))
        own = norm[:, start:end].permute(2, 0, 1).contiguous()
        by_q, by_k, by_v = _backward(d, q, keys, values, o, own, 0.0, True, scale=scale)
        of_query[:, start:end] = by_q.permute(1, 2, 0, 3)
        of_key[:, :, start:end] = by_k.sum(0, keepdim=True)
        of_value[:, :, start:end] = by_v.sum(0, keepdim=True)
    for start, end, first, last in layout.rectangles:
        keys, values = key[:, :, first:last], value[:, :, first:last]
        d, q, o = (_flat(state, start, end) for state in (grad, folded, out))
        own = norm[:, start:end].reshape(1, len(norm), -1)
        by_q, by_k, by_v = _backward(d, q, keys, values, o, own, 0.0, False, scale=scale)
        of_query[:, start:end] += by_q.view(of_query[:, start:end].shape)
        of_key[:, :, first:last] += by_k
        of_value[:, :, first:last] += by_v
    return of_query, of_key, of_value


def _fold(state: Tensor, key_heads: int) -> Tensor:
    """[1, tokens, heads, size] as [key heads, tokens, group, size]."""
    _, tokens, heads, size = state.shape
    apart = state[0].reshape(tokens, key_heads, heads // key_heads, size)
    return apart.transpose(0, 1).contiguous()


def _unfold(folded: Tensor) -> Tensor:
    key_heads, tokens, groups, size = folded.shape
    return folded.transpose(0, 1).reshape(1, tokens, key_heads * groups, size)


def _by_group(folded: Tensor, start: int, end: int) -> Tensor:
    """A stretch as [group, key heads, tokens, size]: each group is causal by itself."""
    return folded[:, start:end].permute(2, 0, 1, 3)


def _flat(folded: Tensor, start: int, end: int) -> Tensor:
    """A stretch as [1, key heads, tokens * group, size]."""
    return folded[:, start:end].flatten(1, 2).unsqueeze(0)


def _of_heads(sinks: Tensor, norm: Tensor) -> Tensor:
    """A value for each head, shaped to meet normalizers [key heads, tokens, group]."""
    return sinks.float().view(len(norm), 1, norm.shape[2])
