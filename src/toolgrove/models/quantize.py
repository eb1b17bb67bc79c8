"""Bases held in 4 or 8 bits, by bitsandbytes: how they are asked for, and which they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import torch

_FP4, _NF4 = "fp4", "nf4"


@dataclass(frozen=True, slots=True)
class Quantization:
    """The format of a quantized base. ``quant_type`` and ``double`` matter with 4 bits only."""

    bits: int
    quant_type: str = _NF4
    double: bool = True

    def __str__(self) -> str:
        if self.bits == 8:
            return "int8"
        return f"{self.quant_type}{' with double quantization' if self.double else ''}"

    def plain(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


def bits_config(quantization: Quantization, compute: torch.dtype) -> Any:
    """transformers' configuration for loading weights so; products are made in ``compute``.

    ConfigError when bitsandbytes is not installed.
    """
    import importlib.util

    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"holding the base in {quantization.bits} bits needs bitsandbytes",
            hint="pip install 'toolgrove[quant]'",
        )
    if quantization.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.quant_type,
        bnb_4bit_use_double_quant=quantization.double,
        bnb_4bit_compute_dtype=compute,
    )


def keep_exact(model: Any) -> None:
    """Keeps bitsandbytes' 4-bit layers on CPUs from repacking themselves in evaluation.

    The packed form rounds the scales of blocks to bfloat16 and is not undone by training, so that
    a frozen base would change when a run first validates.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def own_quantization(folder: Path) -> str | None:
    """The method that the weights in a model folder are quantized by, if they are."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = config.get("quantization_config") or config.get("text_config", {}).get(
        "quantization_config"
    )
    if not found:
        return None
    method = str(found.get("quant_method", "bitsandbytes"))
    bits = found.get("bits") or (4 if found.get("load_in_4bit") else None)
    return f"{method}, {bits} bits" if bits else method


def refuse_twice(folder: Path, quantization: Quantization | None) -> None:
    """ModelError when a base that is quantized already is to be quantized again."""
    own = own_quantization(folder) if quantization else None
    if own:
        raise ModelError(
            f"this base is quantized already ({own})",
            where=str(folder),
            hint="leave out --quant_bits to train on it as it is, or take its full weights",
        )


def quantization_of(model: Any) -> Quantization | None:
    """How a loaded model's weights were quantized by bitsandbytes; None when they were not."""
    config = getattr(model.config, "quantization_config", None)
    if config is None or not hasattr(config, "load_in_4bit"):
        return None
    if config.load_in_8bit:
        return Quantization(8)
    return Quantization(4, str(config.bnb_4bit_quant_type), bool(config.bnb_4bit_use_double_quant))
