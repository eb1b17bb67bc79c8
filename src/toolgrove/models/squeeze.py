"""Weights in few bits, written to a model folder by the libraries that do it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.models.merge import copy_tokenizer
from toolgrove.models.quantize import Quantization, own_quantization

METHODS = {"bnb": (4, 8), "gptq": (2, 3, 4, 8), "awq": (4,), "int8": (8,), "int4": (4,)}
"""What can be asked for, and in how many bits; the first is the default (gptq: 4)."""

_NEEDS = {"gptq": "gptqmodel", "awq": "gptqmodel", "int8": "torchao", "int4": "torchao"}


class Squeeze(NamedTuple):
    """How weights become few bits. ``group`` weights share a scale; gptq and awq look at how the
    model reads the ``texts`` (token ids)."""

    method: str
    bits: int
    group: int = 128
    texts: Sequence[Sequence[int]] = ()


def squeeze_of(method: str, bits: int | None, group: int) -> Squeeze:
    """The method with its bits checked; ConfigError with the way out, also where the library or
    the hardware is not there."""
    known = METHODS[method]
    chosen = bits or (4 if 4 in known else known[0])
    if chosen not in known:
        raise ConfigError(
            f"--quant_method {method} has no {chosen} bits",
            hint=f"it has {' and '.join(str(k) for k in known)}",
        )
    package = _NEEDS.get(method, "bitsandbytes")
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"--quant_method {method} needs {package}", hint=f"pip install {package}")
    if package == "gptqmodel" and not _has_accelerator():
        raise ConfigError(
            f"--quant_method {method} needs a GPU to look at the model's activations",
            hint="on a CPU: --quant_method int8, int4 or bnb",
        )
    return Squeeze(method, chosen, group)


def write_squeezed(source: Path, out: Path, squeeze: Squeeze) -> None:
    """``out``: the model of ``source`` in few bits, ready to load, with its tokenizer's files."""
    own = own_quantization(source)
    if own:
        raise ModelError(
            f"this model is quantized already ({own})",
            where=str(source),
            hint="export its full weights",
        )
    if squeeze.method in ("gptq", "awq"):
        _by_activations(source, out, squeeze)
    else:
        _by_weights(source, out, squeeze)
    copy_tokenizer(source, out)


def _by_weights(source: Path, out: Path, squeeze: Squeeze) -> None:
    import torch

    from toolgrove.models.load import load_model
    from toolgrove.models.merge import stored_dtype
    from toolgrove.models.quiet import quiet_transformers

    stored = stored_dtype(source)
    dtype = torch.bfloat16 if stored is torch.float16 else stored
    if squeeze.method == "bnb":
        model: Any = load_model(source, dtype, quantization=Quantization(squeeze.bits))
    else:
        model = _torchao(source, dtype, squeeze)
    with quiet_transformers():
        model.save_pretrained(out)


def _torchao(source: Path, dtype: Any, squeeze: Squeeze) -> Any:
    from torchao.quantization import (  # pyright: ignore[reportMissingImports]
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
    )
    from transformers import AutoModelForCausalLM, TorchAoConfig

    from toolgrove.models.quiet import quiet_transformers

    if squeeze.bits == 8:
        kind: Any = Int8WeightOnlyConfig()
    else:
        import torch

        formats: Any = torch
        kind = IntxWeightOnlyConfig(weight_dtype=formats.int4, granularity=PerGroup(squeeze.group))
    try:
        with quiet_transformers():
            return AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, device_map="cpu", quantization_config=TorchAoConfig(kind)
            )
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"torchao cannot write this model in {squeeze.bits} bits: {error}",
            where=str(source),
            hint="another --quant_group_size, or --quant_method bnb",
        ) from error


def _by_activations(source: Path, out: Path, squeeze: Squeeze) -> None:
    from gptqmodel import GPTQModel, QuantizeConfig  # pyright: ignore[reportMissingImports]
    from gptqmodel.quantization import FORMAT, METHOD  # pyright: ignore[reportMissingImports]

    if not squeeze.texts:
        raise ConfigError(
            f"--quant_method {squeeze.method} must see how the model reads",
            hint="give --dataset FILE, rows like those that it was trained on",
        )
    more: dict[str, Any] = {}
    if squeeze.method == "awq":
        more = {"quant_method": METHOD.AWQ, "format": FORMAT.GEMM}
    config = QuantizeConfig(bits=squeeze.bits, group_size=squeeze.group, **more)
    model = GPTQModel.load(str(source), config)
    rows = [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in squeeze.texts]
    model.quantize(rows, batch_size=1)
    model.save(str(out))


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available() or torch.xpu.is_available()
