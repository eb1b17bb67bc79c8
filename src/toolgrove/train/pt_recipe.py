"""The settings of a pre-training run."""

from __future__ import annotations

from pydantic import Field

from toolgrove.train.settings import TrainSettings


class PtSettings(TrainSettings):
    """Everything that decides a run on plain text; its recipe repeats the run."""

    dataset: list[str] = Field(min_length=1)
    """Plain text: rows with a column text, .txt files, folders, hf:, ms: or pypi: sources."""

    packing: bool = True
    """Put the texts one behind the other and cut them into blocks of max_length tokens; else each
    text has blocks of its own."""

    max_length: int | None = Field(None, ge=2)
    """Tokens in a block; left out, the model's own limit, but at most 4096."""

    document_end: str | None = None
    """The token that ends a text; left out, the tokenizer's own end token."""
