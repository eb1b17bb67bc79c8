"""LoRA adapters on a model: adding fresh ones, loading trained ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError, ModelError, did_you_mean

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, slots=True)
class Lora:
    """The shape of a LoRA adapter, in peft's terms."""

    rank: int = 8
    alpha: float = 32
    dropout: float = 0.05
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    modules_to_save: tuple[str, ...] = ()
    use_rslora: bool = False
    use_dora: bool = False


def add_lora(model: PreTrainedModel, lora: Lora) -> PeftModel:
    """The model with a fresh trainable adapter in float32; all other weights are frozen.

    Errors: ConfigError with the model's real module names when a target is not among them.
    """
    from peft import LoraConfig, get_peft_model

    from toolgrove.models.quiet import quiet_transformers

    targets = _targets(model, lora.target_modules)
    _check_names(model, lora.modules_to_save, "modules_to_save")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=targets,
        modules_to_save=list(lora.modules_to_save) or None,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        task_type="CAUSAL_LM",
    )
    with quiet_transformers():
        return get_peft_model(model, config)  # pyright: ignore[reportReturnType]


def load_adapter(model: PreTrainedModel, folder: Path, name: str = "default") -> PeftModel:
    """The model with the trained adapter of ``folder`` on it, for inference."""
    from peft import PeftModel

    from toolgrove.models.quiet import quiet_transformers

    check_adapter(folder)
    with adapter_errors(folder), quiet_transformers():
        return PeftModel.from_pretrained(
            model, str(folder), adapter_name=name, autocast_adapter_dtype=False
        )


def check_adapter(folder: Path) -> dict[str, Any]:
    """The adapter's own configuration; ModelError when ``folder`` holds no whole adapter."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        if not folder.is_dir():
            raise ModelError("no such adapter folder", where=str(folder), hint=_inside(folder))
        raise ModelError(
            "no adapter_config.json in this folder", where=str(folder), hint=_inside(folder)
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not JSON: {error}", where=str(file)) from error
    if not any((folder / f"adapter_model.{end}").is_file() for end in ("safetensors", "bin")):
        raise ModelError("the adapter's weights are missing", where=str(folder))
    return config


@contextmanager
def adapter_errors(folder: Path) -> Iterator[None]:
    """Turns what peft raises for an adapter that does not fit into a ModelError."""
    try:
        yield
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"the adapter does not fit this model: {first}",
            where=str(folder),
            hint="was it trained on another base model?",
        ) from error


def linear_names(model: nn.Module) -> list[str]:
    """The last names of all linear layers but the language-model head (``q_proj``, ...)."""
    from torch import nn

    head = _head(model)
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }
    )


def _targets(model: nn.Module, wanted: Sequence[str]) -> str | list[str]:
    if not wanted:
        raise ConfigError(
            "target_modules is empty", hint=f'"{ALL_LINEAR}" takes every linear layer'
        )
    if list(wanted) == [ALL_LINEAR]:
        return ALL_LINEAR
    if ALL_LINEAR in wanted:
        rest = [name for name in wanted if name != ALL_LINEAR]
        _check_names(model, rest, "target_modules")
        return [*linear_names(model), *rest]
    _check_names(model, wanted, "target_modules")
    return list(wanted)


def _check_names(model: nn.Module, wanted: Sequence[str], setting: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    for want in wanted:
        if any(name == want or name.endswith(f".{want}") for name in names):
            continue
        known = sorted({name.rpartition(".")[2] for name in names if not name[-1].isdigit()})
        near = did_you_mean(want, known)
        linear = ", ".join(linear_names(model))
        raise ConfigError(
            f'{setting}: the model has no module "{want}"',
            hint=f"{near + ' ' if near else ''}its linear layers: {linear}",
        )


def _head(model: nn.Module) -> nn.Module | None:
    find = getattr(model, "get_output_embeddings", None)
    return find() if callable(find) else None  # pyright: ignore[reportReturnType]


def _inside(folder: Path) -> str:
    """Where below ``folder`` adapters lie, as a hint."""
    found = sorted(folder.glob("**/adapter_config.json")) if folder.is_dir() else []
    if found:
        return f"there is one in {found[-1].parent}"
    return "give the folder that holds adapter_config.json (a run's checkpoint-N)"
