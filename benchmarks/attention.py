"""Tree attention on this CPU, beside one call of torch's attention with a mask of the whole forest.

Forward and backward pass of one layer in SmolLM2-135M's shape (9 heads, 3 of keys, size 64, in
bfloat16), in CPU milliseconds, the best of several runs by turns: other programs run here too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from toolgrove.encoding.forest import Node
from toolgrove.models.threads import prepare_torch, use_cores

HEADS, KEY_HEADS, SIZE = 9, 3, 64
SHAPES = {"1500 + 8 x 130": (1500, 8, 130), "500 + 8 x 300": (500, 8, 300), "5 x 800": (0, 5, 800)}
"""Tokens of a shared prefix, branches behind it, tokens of each."""


def star(prefix: int, branches: int, tokens: int) -> list[Node]:
    end = prefix + branches * tokens
    root = [Node(0, prefix, -1, 0, end)] if prefix else []
    starts = range(prefix, end, tokens)
    parent = 0 if prefix else -1
    return root + [Node(s, s + tokens, parent, prefix, s + tokens) for s in starts]


def measure(nodes: list[Node], runs: int) -> dict[str, float]:
    import torch

    from toolgrove.train.attention import Demands, by_node
    from toolgrove.train.fused import fused_attention
    from toolgrove.train.layout import Layout

    layout = Layout(nodes)
    dice = torch.Generator().manual_seed(0)

    def drawn(heads: int) -> Any:
        state = torch.randn(1, len(layout), heads, SIZE, generator=dice, dtype=torch.bfloat16)
        return state.transpose(1, 2).requires_grad_()

    query, key, value = drawn(HEADS), drawn(KEY_HEADS), drawn(KEY_HEADS)
    weigh = torch.randn(1, len(layout), HEADS, SIZE, generator=dice, dtype=torch.bfloat16)
    place = torch.arange(len(layout))
    sees = (place <= place.unsqueeze(1)) & (layout.subtree_ends > place.unsqueeze(1))
    scale = SIZE**-0.5

    def masked() -> torch.Tensor:
        wide = [state.repeat_interleave(HEADS // KEY_HEADS, 1) for state in (key, value)]
        out = torch.nn.functional.scaled_dot_product_attention(query, *wide, attn_mask=sees)
        return out.transpose(1, 2)

    ways: dict[str, Callable[[], torch.Tensor]] = {
        "tree": lambda: fused_attention(query, key, value, None, (layout, scale)),
        "mask": masked,
        "by node": lambda: by_node(query, key, value, layout, Demands(scale)),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(runs):
        for name, way in ways.items():
            begun = time.process_time()
            way().backward(weigh)
            best[name] = min(best[name], (time.process_time() - begun) * 1000)
    return best


def entries(runs: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, shape in SHAPES.items():
        took = measure(star(*shape), runs)
        for peer in ("mask", "by node"):
            found.append(
                {
                    "name": f"train/attention/{name}/{peer}",
                    "ours": round(took["tree"], 1),
                    "peer": round(took[peer], 1),
                    "ratio": round(took[peer] / took["tree"], 2),
                    "unit": "CPU ms",
                    "conditions": {
                        "runs": runs,
                        "python": platform.python_version(),
                        "torch": version("torch"),
                        "cores": len(os.sched_getaffinity(0)),
                        "load": round(os.getloadavg()[0], 1),
                    },
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="three runs of each")
    given = parser.parse_args()
    prepare_torch()
    use_cores()
    found = entries(3 if given.quick else 9)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for line in found:
        print(f"{line['name']}: {line['ours']} vs {line['peer']} CPU ms ({line['ratio']} x)")


if __name__ == "__main__":
    main()
