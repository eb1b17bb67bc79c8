"""Whether a model can run forests: a small one is compared with its rows on the model itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.forest import grow
from toolgrove.models.head import body, causal
from toolgrove.models.prompted import is_prompted
from toolgrove.models.quiet import quiet_transformers
from toolgrove.models.scorer import is_scorer
from toolgrove.train.attention import NAME, register
from toolgrove.train.layout import Layout
from toolgrove.train.loss import Loss

_ROOT = [5, 7, 11, 6]
_KEPT = [
    [20, 9, 15, 8, 31, 12, 10, 9, 14, 6, 7],
    [20, 9, 15, 8, 31, 17, 6, 13, 12, 11, 5, 18, 7, 9],
]
_BEFORE, _BEHIND = ([19, 6, 12, 8, 16, 7, 10], [21, 13, 8, 5, 9, 30, 12])
FORESTS = tuple(
    [_ROOT + branch for branch in sorted([other, *_KEPT])] for other in (_BEFORE, _BEHIND)
)
"""Two forests, as sorted rows: two rows that part late, once behind another branch, once before."""

APART = {torch.float32: 1e-4, torch.bfloat16: 0.02, torch.float16: 0.005}
"""How far the logits of half of the tokens may move when another branch goes from before them to
behind them, relative to their size. A token that sees the other branch, or whose position comes
from its place in the sequence, moves by far more (tests/unit/train/test_probe.py)."""

ALIKE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.03}
"""How far the logits of half of the tokens may lie from those of the row run by itself with the
model's own attention. In bfloat16 two kernels round differently, and single tokens of a large
model may then be off by more than their size: that says nothing."""


def set_to_forests(loss: Loss, longest: int) -> str:
    """Sets the model to tree attention if it then computes a forest as it computes its rows.

    ``longest`` is how many tokens the longest row has. Returns why the model cannot, which then
    is left as it was; nothing when it can.
    """
    if is_prompted(loss.model):
        return "a learnt prompt stands before every row"
    register()
    inner = causal(loss.model)
    attention, training = inner.config._attn_implementation, loss.training
    loss.eval()
    try:
        with torch.no_grad(), quiet_transformers(), loss.autocast(loss.model.device):
            alone = torch.cat([_logits(loss.model, ids) for ids in FORESTS[1][:2]])
            inner.set_attn_implementation(NAME)
            (behind, _), (before, layout) = (_of_kept(loss.model, rows) for rows in FORESTS)
        why = _difference(alone, behind, before)
        if not layout.asked.layers:
            why = "its layers do not use transformers' attention interface"
        window = None if layout.asked.window else _window(inner.config)
        if not why and window and longest > window:
            why = f"some layers see {window} tokens, the longest row has {longest}"
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
    finally:
        loss.train(training)
    if why:
        with quiet_transformers():
            inner.set_attn_implementation(attention)
    return why


def _logits(model: Any, ids: list[int], **more: Any) -> Tensor:
    tokens = torch.tensor([ids], device=model.device)
    if is_scorer(model):  # it tells the last token's scores only: what they are made of is compared
        return body(model)(input_ids=tokens, use_cache=False, **more).last_hidden_state[0]
    return model(input_ids=tokens, use_cache=False, **more).logits[0]


def _of_kept(model: Any, rows: list[list[int]]) -> tuple[Tensor, Layout]:
    """The logits of the rows that are in both forests, out of a forest of all."""
    layout = Layout(grow([Encoded(ids, [0.0] * len(ids), []) for ids in rows]).nodes)
    leaves = [number for number, node in enumerate(layout.nodes) if node.below == node.end]
    paths = [layout.path(leaf) for leaf in leaves]  # in the order of the rows, which are sorted
    ids = torch.zeros(len(layout), dtype=torch.long)
    for path, row in zip(paths, rows, strict=True):
        ids[path] = torch.tensor(row)
    positions = layout.positions.unsqueeze(0).to(model.device)
    logits = _logits(model, ids.tolist(), position_ids=positions, forest=layout)
    kept = [p for p, row in zip(paths, rows, strict=True) if row[len(_ROOT) :] in _KEPT]
    return torch.cat([logits[path.to(model.device)] for path in kept]), layout


def _difference(alone: Tensor, behind: Tensor, before: Tensor) -> str:
    """Why a forest's logits are not those of its rows; empty when they are."""
    moved, off = _median(behind, before), _median(before, alone)
    if moved > APART[alone.dtype]:
        return f"another branch changes a token's logits by {moved:.0%}"
    if off > ALIKE[alone.dtype]:
        return f"in a forest a token's logits are {off:.0%} off"
    return ""


def _median(found: Tensor, wanted: Tensor) -> float:
    distance = (found.float() - wanted.float()).norm(dim=-1)
    return float((distance / wanted.float().norm(dim=-1)).median())


def _window(config: Any) -> int | None:
    """The window of layers that did not tell attention about one."""
    text = config.get_text_config()
    if set(getattr(text, "layer_types", None) or ()) == {"full_attention"}:
        return None
    if getattr(text, "use_sliding_window", True) is False:
        return getattr(text, "attention_chunk_size", None)
    sizes = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if size), default=None)
