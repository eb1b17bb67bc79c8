"""Watchers at work: the model as it will be served, for a moment in the midst of its training."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from toolgrove.models.head import attention_of, causal
from toolgrove.models.quiet import quiet_transformers
from toolgrove.train.batches import Share
from toolgrove.train.loss import Loss
from toolgrove.train.watchers import Seen, Watcher

REPLIES = "replies"
"""The folder of a run for what its watchers saw, a file for each validation."""


class Watching:
    """The watchers of a run, and where they note what they saw.

    ``attention`` is the model's own kernel: forests have set it to another one.
    """

    def __init__(self, watchers: Sequence[Watcher], folder: Path, attention: str) -> None:
        self._watchers = watchers
        self._folder = folder / REPLIES
        self._attention = attention

    def look(self, loss: Loss, share: Share, step: int) -> dict[str, float]:
        """The means of all marks, over all processes; all must ask.

        Law: nothing of the training changes: weights, modes and random numbers are as before.
        """
        if not self._watchers:
            return {}
        seen: list[Seen] = []
        with as_served(loss, self._attention) as model:
            for watcher in self._watchers:
                seen += watcher.look(model, share)
        seen = sorted(_gathered(seen), key=lambda one: one.number)
        if share.rank == 0:
            self._folder.mkdir(exist_ok=True)
            lines = [json.dumps(one.line, ensure_ascii=False) + "\n" for one in seen]
            file = self._folder / f"step-{step}.jsonl"
            file.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        names = dict.fromkeys(name for one in seen for name in one.marks)
        return {
            name: _mean([one.marks[name] for one in seen if name in one.marks]) for name in names
        }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _gathered(own: list[Seen]) -> list[Seen]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return own
    every: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(every, own)
    return [one for each in every for one in each]


@contextmanager
def as_served(loss: Loss, attention: str) -> Iterator[Any]:
    """Inside, the model in the loss answers as it will when it is served.

    Behind it all is as before: modes, the kernel of attention, random numbers.
    """
    model, inner = loss.model, causal(loss.model)
    modes = [(module, module.training) for module in loss.modules()]
    during, dice = attention_of(model), random.getstate()
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), loss.autocast(model.device), quiet_transformers():
            loss.eval()
            _set(inner, during, attention)
            yield model
    finally:
        _set(inner, attention, during)
        for module, mode in modes:
            module.training = mode
        random.setstate(dice)


def _set(model: Any, before: str, after: str) -> None:
    if before != after:
        with quiet_transformers():
            model.set_attn_implementation(after)
