"""Tree attention on a CPU: torch's fused kernel on triangles and rectangles, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolgrove.train.layout import Layout, Rectangle, Share
from toolgrove.train.side_by_side import for_all

_forward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

LOG2_E = 1.4426950408889634

LARGEST_TRIANGLE = 256
"""Tokens of a triangle that is computed as a square."""

PAIRS_AT_ONCE = 1 << 20
"""Pairs of tokens, of all heads, whose attention a thread has in its cache at a time."""


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, how: tuple[Layout, float]
) -> Tensor:
    """Attention of [1, heads, tokens, size] over a layout, with a scale; [1, tokens, heads, size].

    Each part's result is weighed by its normalizer (the logarithm of the sum of exponentials),
    which makes the whole exact; gradients of the parts follow from the normalizers of the whole.
    The kernel's own backward pass is not used: written as products of matrices it takes 70 to
    90 % of the time in float32, and far less than the kernel in bfloat16 on short nodes.
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
        grad = _fold(gradients[0], key.shape[1])
        grads = _gradients(grad, (folded, key, value, out), norm, *ctx.how)
        of_query, of_key, of_value = (part.to(key.dtype) for part in grads)
        of_sinks = None
        if sinks is not None:
            share = torch.exp(_of_heads(sinks, norm) - norm)
            lost = -(share * (grad.float() * out.float()).sum(-1))
            of_sinks = lost.sum(1).flatten().to(sinks.dtype)
        return None, _unfold(of_query).transpose(1, 2), of_key, of_value, of_sinks


def _compute(
    folded: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float
) -> tuple[Tensor, Tensor]:
    """The attention in float32, folded, and its normalizers [key heads, tokens, group]."""
    out = torch.empty(folded.shape, dtype=torch.float32)
    norm = torch.empty(folded.shape[:3], dtype=torch.float32)

    def work(share: Share) -> None:
        _attend((folded, key, value), (out, norm), share, scale)

    for_all(work, layout.shares(torch.get_num_threads()))
    return out, norm


def _attend(
    states: tuple[Tensor, Tensor, Tensor], into: tuple[Tensor, Tensor], share: Share, scale: float
) -> None:
    """Writes the attention of a share's queries, and their normalizers."""
    (folded, key, value), (out, norm) = states, into
    groups = folded.shape[2]
    for start, end in share.triangles:
        keys, values = (state[:, :, start:end].expand(groups, -1, -1, -1) for state in (key, value))
        part, own = _forward(_by_group(folded, start, end), keys, values, 0.0, True, scale=scale)
        out[:, start:end] = part.permute(1, 2, 0, 3)
        norm[:, start:end] = own.permute(1, 2, 0)
    for start, end, first, last in share.rectangles:
        keys, values = key[:, :, first:last], value[:, :, first:last]
        part, own = _forward(_flat(folded, start, end), keys, values, 0.0, False, scale=scale)
        before, own = norm[:, start:end], own.view(-1, end - start, groups)
        weight = torch.sigmoid(own - before).unsqueeze(-1)
        out[:, start:end].lerp_(part.view(out[:, start:end].shape).float(), weight)
        before.copy_(torch.logaddexp(before, own))


def _gradients(
    grad: Tensor, states: Sequence[Tensor], norm: Tensor, layout: Layout, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for the folded queries, the keys and the values, all in float32."""
    folded, key, value, out = states
    of_query = torch.empty(folded.shape, dtype=torch.float32)
    keys, values = key[0], value[0]

    def work(share: Share) -> _Sums:
        queries = slice(share.start, share.end)
        own, slopes = folded[:, queries], grad[:, queries]
        inner = (slopes.float() * out[:, queries].float()).sum(-1)
        parts = _Parts(share.start, own, keys, values, slopes, norm[:, queries] * LOG2_E, inner)
        sums = _Sums(*(torch.zeros(s.shape, dtype=torch.float32) for s in (own, keys, values)))
        halves = (part for start, end in share.triangles for part in _halved(start, end))
        for part in chain(halves, share.rectangles):
            _add(parts, sums, part, scale)
        of_query[:, queries] = sums.query.mul_(scale)
        return sums

    first, *others = for_all(work, layout.shares(torch.get_num_threads()))
    for other in others:
        first.key.add_(other.key)
        first.value.add_(other.value)
    return of_query, first.key.mul_(scale).unsqueeze(0), first.value.unsqueeze(0)


class _Parts(NamedTuple):
    """What a share's gradients follow from; its first query is token ``start``, ``norm`` is to the
    base of 2, and ``inner`` is each query's product of result and gradient."""

    start: int
    query: Tensor
    key: Tensor
    value: Tensor
    grad: Tensor
    norm: Tensor
    inner: Tensor


class _Sums(NamedTuple):
    """The gradients as far as they are added up; those of queries and keys still unscaled."""

    query: Tensor
    key: Tensor
    value: Tensor


def _add(parts: _Parts, sums: _Sums, what: Rectangle, scale: float) -> None:
    """Adds the gradients of a rectangle, or of a triangle: tokens that are their own keys.

    Products are taken in the states' format and added up in float32.
    """
    start, end, first, last = what
    key, value = parts.key[:, first:last].contiguous(), parts.value[:, first:last].contiguous()
    facing_key, facing_value = _facing(key), _facing(value)
    size = _tokens_at_once(parts.query, last - first)
    for begin in range(start, end, size):
        stop = min(begin + size, end)
        here = slice(begin - parts.start, stop - parts.start)
        query, grad, norm, inner = (
            state[:, here].flatten(1, 2).contiguous()
            for state in (parts.query, parts.grad, parts.norm, parts.inner)
        )
        shares = _less(query, facing_key, norm, scale * LOG2_E)
        shares.exp2_()  # takes a third of the time that torch's exp takes on some processors
        if start == first:
            ahead = torch.arange(first, last) > torch.arange(begin, stop).unsqueeze(1)
            shares.masked_fill_(ahead.repeat_interleave(parts.query.shape[2], 0), 0.0)
        slopes = _less(grad, facing_value, inner).mul_(shares)
        sums.value[:, first:last] += shares.mT @ grad
        sums.query[:, here] += (slopes @ key).view(sums.query[:, here].shape)
        sums.key[:, first:last] += slopes.mT @ query


def _less(rows: Tensor, facing: Tensor, numbers: Tensor, factor: float = 1.0) -> Tensor:
    """The products of rows and columns times a factor, less each row's number.

    Both are large, their difference is not: it is rounded to the states' format only after it was
    taken. In bfloat16, two further columns of the rows are therefore the number in two parts.
    """
    if rows.dtype == torch.float32:
        return torch.baddbmm(numbers.unsqueeze(2), rows, facing, beta=-1, alpha=factor)
    numbers = numbers / factor
    high = numbers.to(rows.dtype)
    ends = torch.stack([high, (numbers - high).to(rows.dtype)], -1)
    rows = torch.cat([rows, ends], -1)
    return torch.baddbmm(rows.new_empty(()), rows, facing, beta=0, alpha=factor)


def _facing(state: Tensor) -> Tensor:
    """The columns that ``_less`` takes, made of [heads, tokens, size]."""
    if state.dtype == torch.float32:
        return state.mT
    return torch.cat([state, state.new_full((*state.shape[:2], 2), -1.0)], -1).mT


def _halved(start: int, end: int) -> Iterator[Rectangle]:
    """A triangle as smaller ones and rectangles, so that little is computed in vain."""
    if end - start <= LARGEST_TRIANGLE:
        yield Rectangle(start, end, start, end)
        return
    middle = (start + end) // 2
    yield from _halved(start, middle)
    yield from _halved(middle, end)
    yield Rectangle(middle, end, start, middle)


def _tokens_at_once(folded: Tensor, keys: int) -> int:
    """For how many tokens pairs with so many keys are computed at a time: they stay in cache."""
    return max(16, PAIRS_AT_ONCE // (folded.shape[0] * folded.shape[2] * keys))


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
