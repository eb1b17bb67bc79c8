"""What a tuned model remembers of its base: which weights they were, and how they were held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ModelError
from toolgrove.models.head import causal
from toolgrove.models.quantize import Quantization, quantization_of

if TYPE_CHECKING:
    import torch

BASE = "base.json"
_ROWS = 64
_COLUMNS = 4
_ALIKE = 0.9
"""The share of sampled weights that must be equal: double rounding may change a few."""


class Base(NamedTuple):
    """A base: its size of vocabulary, its quantization, and some of its embeddings in bfloat16.

    ``grown`` is the size of the vocabulary that it was trained with, new tokens included.
    """

    vocabulary: int
    quantization: Quantization | None
    sample: list[float]
    grown: int


def base_of(model: Any) -> Base:
    """The base that a model without adapters is. Law: it does not depend on the format (float32,
    bfloat16, 4 bits, ...) that the weights are loaded in, but for ``quantization``."""
    weight: torch.Tensor = model.get_input_embeddings().weight
    size = len(weight)
    return Base(size, quantization_of(model), _sample(weight, size), size)


def write_base(base: Base, folder: Path) -> None:
    """Writes ``base.json`` beside an adapter."""
    held = base.quantization.plain() if base.quantization else None
    plain = {**base._asdict(), "quantization": held}
    (folder / BASE).write_text(json.dumps(plain) + "\n", encoding="utf-8")


def read_base(folder: Path) -> Base | None:
    """What an adapter says of its base; None when it was trained elsewhere and says nothing."""
    file = folder / BASE
    if not file.is_file():
        return None
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        held = plain["quantization"]
        quantization = Quantization(**held) if held else None
        return Base(**{**plain, "quantization": quantization})
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError("cannot be read", where=str(file), hint="it may be removed") from error


def check_base(model: Any, folder: Path) -> Base | None:
    """What the adapter in ``folder`` says of its base; ModelError unless the model is that base."""
    base = read_base(folder)
    if base is None:
        return None
    bare = causal(model)
    weight: torch.Tensor = _embedding(bare)
    here = _sample(weight, base.vocabulary) if len(weight) >= base.vocabulary else []
    same = sum(a == b for a, b in zip(here, base.sample, strict=False))
    if same < _ALIKE * len(base.sample):
        raise ModelError(
            "the adapter was trained on another base model",
            where=str(folder),
            hint=f"its base was {_named(folder)}",
        )
    held = quantization_of(bare)
    if held != base.quantization:
        raise ModelError(
            f"the adapter was trained on a base held in {base.quantization or 'full precision'},"
            f" this one is held in {held or 'full precision'}",
            where=str(folder),
            hint="load the base as it was held in training",
        )
    return base


def _embedding(model: Any) -> torch.Tensor:
    """The embedding's weights below whatever adapters are on it."""
    layer = model.get_input_embeddings()
    while not hasattr(layer, "weight") or hasattr(layer, "base_layer"):
        layer = layer.base_layer if hasattr(layer, "base_layer") else layer.original_module
    return layer.weight


def _sample(weight: torch.Tensor, vocabulary: int) -> list[float]:
    import torch

    rows = (torch.arange(_ROWS, device=weight.device) * 7919 + 5) % min(vocabulary, len(weight))
    columns = torch.arange(_COLUMNS, device=weight.device) * (weight.shape[1] // _COLUMNS)
    some = weight.detach()[rows][:, columns].to(torch.bfloat16)
    return [float(value) for value in some.float().flatten().cpu()]


def _named(folder: Path) -> str:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return str(config.get("base_model_name_or_path") or "not named")
