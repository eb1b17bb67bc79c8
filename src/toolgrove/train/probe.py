"""Whether a model can run forests: a small one is compared with its rows on the model itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.forest import grow
from toolgrove.models.head import causal
from toolgrove.models.quiet import quiet_transformers
from toolgrove.train.attention import NAME, register
from toolgrove.train.layout import Layout
from toolgrove.train.loss import WeightedLoss

ROWS = ([5, 7, 11, 6, 9, 5], [5, 7, 11, 6, 12, 8, 10], [5, 7, 11, 10, 6, 7, 9])
"""Three rows, sorted, that share a beginning; two of them stay together a little longer."""

LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.08, torch.float16: 0.02}
"""How far a token's logits may lie from those in its row, relative to their size.

This leaves room for rounding. A token that sees what it must not, or misses what it must see, is
off by far more (tests/unit/train/test_probe.py)."""


def set_to_forests(loss: WeightedLoss, longest: int) -> str:
    """Sets the model to tree attention if it then computes a forest as it computes its rows.

    ``longest`` is how many tokens the longest row has. Returns why the model cannot, which then
    is left as it was; nothing when it can.
    """
    register()
    inner = causal(loss.model)
    before, training = inner.config._attn_implementation, loss.training
    layout = Layout(grow([Encoded(list(ids), [0.0] * len(ids), []) for ids in ROWS]).nodes)
    loss.eval()
    try:
        with torch.no_grad(), quiet_transformers(), loss.autocast(loss.model.device):
            wanted = [_logits(loss.model, ids) for ids in ROWS]
            inner.set_attn_implementation(NAME)
            found = _of_forest(loss.model, layout)
        why = _difference(torch.cat(wanted), torch.cat(found), layout)
        window = None if layout.asked.window else _window(inner.config)
        if not why and window and longest > window:
            why = f"some layers see {window} tokens, the longest row has {longest}"
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
    finally:
        loss.train(training)
    if why:
        with quiet_transformers():
            inner.set_attn_implementation(before)
    return why


def _logits(model: Any, ids: list[int], **more: Any) -> Tensor:
    tokens = torch.tensor([ids], device=model.device)
    return model(input_ids=tokens, use_cache=False, **more).logits[0]


def _of_forest(model: Any, layout: Layout) -> list[Tensor]:
    """The logits of each row, taken out of the forest of all."""
    ids = torch.zeros(len(layout), dtype=torch.long)
    leaves = [n for n, node in enumerate(layout.nodes) if node.below == node.end]
    paths = [layout.path(leaf) for leaf in leaves]  # sorted, as ROWS are
    for path, row in zip(paths, ROWS, strict=True):
        ids[path] = torch.tensor(row)
    positions = layout.positions.unsqueeze(0).to(model.device)
    logits = _logits(model, ids.tolist(), position_ids=positions, forest=layout)
    return [logits[path.to(model.device)] for path in paths]


def _difference(wanted: Tensor, found: Tensor, layout: Layout) -> str:
    """Why the forest's logits are not those of its rows; empty when they are."""
    if not layout.asked.layers:
        return "its layers do not use transformers' attention interface"
    apart = (wanted.float() - found.float()).norm(dim=-1) / wanted.float().norm(dim=-1)
    worst = float(apart.max())
    if worst <= LIMITS[wanted.dtype]:
        return ""
    return f"in a forest a token's logits are {worst:.0%} off"


def _window(config: Any) -> int | None:
    """The window of layers that did not tell attention about one."""
    text = config.get_text_config()
    if set(getattr(text, "layer_types", None) or ()) == {"full_attention"}:
        return None
    if getattr(text, "use_sliding_window", True) is False:
        return getattr(text, "attention_chunk_size", None)
    sizes = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if size), default=None)
