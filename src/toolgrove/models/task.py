"""What a model with a scoring head was trained to tell, kept beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

FILE = "task.json"


class Head(NamedTuple):
    """What the head says: ``task`` seq_cls or reward, so many numbers, of transformers' problem
    type."""

    task: str
    labels: int
    problem: str


def write_head(head: Head, folder: Path) -> None:
    """Writes ``task.json`` beside the weights."""
    (folder / FILE).write_text(json.dumps(head._asdict()) + "\n", encoding="utf-8")


def read_head(folder: Path) -> Head | None:
    """The head that a checkpoint was trained with; None for a model that writes."""
    file = folder / FILE
    return Head(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
