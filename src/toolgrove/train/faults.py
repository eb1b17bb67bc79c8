"""What a run leaves behind when its loss is no longer a number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolgrove.core.errors import ModelError

if TYPE_CHECKING:
    from toolgrove.encoding.encoded import Encoded

BAD_ROWS = "bad_rows.jsonl"
_SHOWN = 8


def not_finite(step: int, encoded: Sequence[Encoded], run: Path, tokenizer: Path) -> ModelError:
    """Writes the sequences of a batch without a finite loss to ``bad_rows.jsonl`` in the run's
    folder, with their places, texts, ids and weights; returns the error that says so."""
    from toolgrove.encoding.tokenizer import load_tokenizer

    file = run / BAD_ROWS
    decode = load_tokenizer(tokenizer).decode
    with file.open("w", encoding="utf-8") as out:
        for sequence in encoded:
            line = {
                "where": sequence.where,
                "step": step,
                "text": decode(sequence.ids),
                "ids": list(sequence.ids),
                "weights": list(sequence.weights),
            }
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    places = list(dict.fromkeys(sequence.where or "a row" for sequence in encoded))
    shown = ", ".join(places[:_SHOWN]) + (", ..." if len(places) > _SHOWN else "")
    return ModelError(
        f"the loss is not a number at step {step}; its rows are in {file}",
        where=shown,
        hint="lower --learning_rate, keep --max_grad_norm at 1, or use --torch_dtype float32;"
        " then go on from the last checkpoint with --resume true",
    )
