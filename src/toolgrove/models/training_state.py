"""What training an adapter goes on from beside the weights that are used: encoders and scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

FILE = "state.safetensors"

_SCORES = ("exp_avg_ipt", "exp_avg_unc")
_RANKS = "rank_pattern"


def is_adalora(model: Any) -> bool:
    """Whether the adapter shares its ranks out among the layers while it is trained (AdaLoRA)."""
    config = getattr(model, "peft_config", {}).get("default")
    return config is not None and str(config.peft_type.value) == "ADALORA"


def is_encoded(model: Any) -> bool:
    """Whether a network makes the learnt prompt: it goes on from its own weights, not from what it
    made."""
    encoder = getattr(model, "prompt_encoder", None)
    return encoder is not None and set(encoder["default"].state_dict()) != {"embedding.weight"}


def training_state(model: Any) -> dict[str, Tensor]:
    """The encoder that makes a learnt prompt, or AdaLoRA's scores; empty for other adapters."""
    if is_adalora(model):
        return _scores(model)
    return dict(model.prompt_encoder["default"].state_dict()) if is_encoded(model) else {}


def save_state(model: Any, folder: Path) -> None:
    """Writes the state into a folder, if the adapter has one."""
    from safetensors.torch import save_file

    held = training_state(model)
    if held:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.cpu().contiguous() for name, value in held.items()}, folder / FILE)


def load_state(model: Any, folder: Path) -> None:
    """Gives a freshly made model the state in a folder; ModelError where it has none."""
    from safetensors.torch import load_file

    if not (is_adalora(model) or is_encoded(model)):
        return
    if not (folder / FILE).is_file():
        raise ModelError(
            "the checkpoint lacks what its training goes on from", where=str(folder / FILE)
        )
    held = load_file(folder / FILE)
    if is_adalora(model):
        _set_scores(model, held)
    else:
        model.prompt_encoder["default"].load_state_dict(held)


def _scores(model: Any) -> dict[str, Tensor]:
    import torch

    allocator = model.base_model.rankallocator
    held = {f"{kind}/{n}": v for kind in _SCORES for n, v in getattr(allocator, kind).items()}
    kept = model.peft_config["default"].rank_pattern or {}
    return held | {f"{_RANKS}/{name}": torch.tensor(mask) for name, mask in kept.items()}


def _set_scores(model: Any, held: dict[str, Tensor]) -> None:
    allocator = model.base_model.rankallocator
    device = model.device
    for kind in _SCORES:
        found = {n.partition("/")[2]: v for n, v in held.items() if n.startswith(f"{kind}/")}
        setattr(allocator, kind, {name: value.to(device) for name, value in found.items()})
    allocator.ipt = dict(allocator.exp_avg_ipt)  # made anew at each step
    masks = {n.partition("/")[2]: v for n, v in held.items() if n.startswith(f"{_RANKS}/")}
    model.peft_config["default"].rank_pattern = {n: v.tolist() for n, v in masks.items()} or None
