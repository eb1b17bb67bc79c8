"""What scores of whole conversations are held against, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from toolgrove.data.labels import Problem
from toolgrove.train.notes import Notes

Objective: TypeAlias = Callable[[Tensor, Tensor, Notes], Tensor]
"""Scores [rows, numbers] and labels [samples, numbers] to the sum of the samples' losses."""


def single(scores: Tensor, labels: Tensor, notes: Notes) -> Tensor:
    """Cross-entropy of the class; notes how many are right."""
    wanted = labels[:, 0].long()
    notes.add("acc", (scores.argmax(-1) == wanted).sum(), len(wanted))
    return functional.cross_entropy(scores, wanted, reduction="sum")


def several(scores: Tensor, labels: Tensor, notes: Notes) -> Tensor:
    """Mean binary cross-entropy of the classes; notes how many samples are right in all of them."""
    right = ((scores > 0) == (labels > 0)).all(-1)
    notes.add("acc", right.sum(), len(right))
    each = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    return each.mean(-1).sum()


def numbers(scores: Tensor, labels: Tensor, _notes: Notes) -> Tensor:
    """Mean squared error."""
    return (scores - labels).square().mean(-1).sum()


def reward(center: float) -> Objective:
    """Bradley-Terry's loss of a chosen score over a rejected one, which follow each other: minus
    the log of the probability that the chosen one wins by the margin in ``labels``.

    ``center`` pulls the sum of both to 0 (arXiv 2312.09244). Notes how many pairs are right, and
    by how much.
    """

    def of(scores: Tensor, labels: Tensor, notes: Notes) -> Tensor:
        chosen, rejected = scores.view(-1, 2).unbind(-1)
        notes.add("acc", (chosen > rejected).sum(), len(chosen))
        notes.add("margin", (chosen - rejected).sum(), len(chosen))
        loss = -functional.logsigmoid(chosen - rejected - labels[:, 0]).sum()
        return loss + center * (chosen + rejected).square().sum() if center else loss

    return of


def objective(problem: str, center: float | None = None) -> Objective:
    """The objective of a problem; ``center`` only of reward models (None: another problem)."""
    if center is not None:
        return reward(center)
    return {Problem.SINGLE: single, Problem.MULTI: several, Problem.REGRESSION: numbers}[
        Problem(problem)
    ]


def none_of(hidden: Tensor) -> Tensor:
    """The loss of a batch without samples: 0, with the gradient of nothing."""
    return hidden.float().sum() * torch.zeros((), device=hidden.device)
