"""What is told of a run beside its loss: means that a loss notes while it is computed."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


class Notes:
    """Sums by name, with their weights, until they are taken."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, total: Tensor, weight: Tensor | float) -> None:
        """Adds a sum over so much weight; nothing is learnt from it."""
        both = torch.stack([total.detach().float(), torch.as_tensor(weight).to(total).float()])
        self._sums[name] = self._sums[name] + both if name in self._sums else both

    def put_aside(self) -> dict[str, Tensor]:
        """All sums so far, which then begin anew."""
        held, self._sums = self._sums, {}
        return held

    def give_back(self, held: dict[str, Tensor]) -> None:
        """Sums that were put aside, in place of those that there are."""
        self._sums = held

    def take(self) -> dict[str, float]:
        """The means over all processes, which then begin anew. All processes must ask."""
        own = {name: both.tolist() for name, both in self._sums.items()}
        self._sums = {}
        every = [own]
        if distributed.is_available() and distributed.is_initialized():
            every = [{} for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(every, own)
        means: dict[str, float] = {}
        for name in sorted({name for each in every for name in each}):
            pairs = [each[name] for each in every if name in each]
            weight = sum(pair[1] for pair in pairs)
            if weight > 0:
                means[name] = sum(pair[0] for pair in pairs) / weight
        return means
