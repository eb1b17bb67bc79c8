"""Scored conversations in training: how batches of them become tensors and a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.forest import grow
from toolgrove.encoding.scored import Scored
from toolgrove.models.head import body
from toolgrove.models.scorer import scores_at
from toolgrove.train.layout import Layout
from toolgrove.train.loss import Loss, Tree
from toolgrove.train.objectives import Objective, none_of

Items = Sequence[tuple[int, Scored]]


class ScoredLoss(Loss):
    """A model with a scoring head that maps a batch to the sum of its samples' losses.

    The head runs on the last token of each sequence only. Law: value and gradients equal those of
    the sequences one by one.
    """

    def __init__(self, model: Any, dtype: torch.dtype, objective: Objective) -> None:
        super().__init__(model, dtype)
        self._objective = objective

    def forward(
        self, input_ids: Tensor, at: Tensor, labels: Tensor, tree: Tree | None = None
    ) -> Tensor:
        """The sum of losses; ``at`` are the places of the sequences' last tokens, line by line."""
        more: dict[str, Any] = {"use_cache": False}
        if tree is not None:
            more |= {"position_ids": tree["positions"].unsqueeze(0), "forest": tree["layout"]}
        with self.autocast(input_ids.device):
            hidden = body(self.model)(input_ids=input_ids, **more).last_hidden_state
            if not len(labels):
                return none_of(hidden)
            found = scores_at(self.model, hidden.flatten(0, 1)[at])
        return self._objective(found, labels, self.notes)


def collate_scored(items: Items) -> dict[str, Any]:
    """Sequences padded on the right."""
    rows = [row.ids for _, item in items for row in item.rows] or [[0]]
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for line, row in enumerate(rows):
        ids[line, : len(row)] = torch.tensor(row)
    at = [line * longest + len(row) - 1 for line, row in enumerate(rows)]
    return {"input_ids": ids, "at": torch.tensor(at if items else []).long(), **_told(items)}


def collate_scored_forest(items: Items, *, share: bool = True) -> dict[str, Any]:
    """Sequences as one forest: what they begin with in common is computed once."""
    rows = [row.ids for _, item in items for row in item.rows]
    # one more token names the sequence: what follows the last token of which one is looked for
    marked = [
        Encoded([*row, number], [0.0] * len(row) + [1.0], []) for number, row in enumerate(rows)
    ]
    forest = grow(marked or [Encoded([0], [0.0], [])], share=share)
    at = torch.zeros(len(rows), dtype=torch.long)
    for target in forest.targets:
        at[target.id] = target.at
    tree = {"positions": torch.tensor(forest.positions), "layout": Layout(forest.nodes)}
    return {"input_ids": torch.tensor([forest.ids]), "at": at, "tree": tree, **_told(items)}


def _told(items: Items) -> dict[str, Tensor]:
    samples = [item for _, item in items]
    tokens = sum(len(row) for item in samples for row in item.rows)
    return {
        "labels": torch.tensor([item.label for item in samples], dtype=torch.float32),
        "rows": torch.tensor([number for number, _ in items], dtype=torch.long),
        "tokens": torch.tensor(tokens),
        "trained": torch.tensor(len(samples)),
        "weight": torch.tensor(float(len(samples))),
    }
